//! What protozfits has read in the fixtures is on record in `fixtures/columns`; on the real stack it reads them again.

use std::fs;
use std::path::Path;

use crate::testkit::columns::{columns, compare, compressed_fixtures};

#[test]
fn every_column_of_the_fixtures_is_what_protozfits_has_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/columns/protozfits-2.13.1.jsonl");
    let record = columns(&fs::read_to_string(path).unwrap());
    let fixtures = compressed_fixtures();
    assert_eq!(fixtures.len(), 4);
    compare(&fixtures, |path| record[Path::new(path.file_name().unwrap())].clone());
}
