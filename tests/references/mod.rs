//! What is built in, against the implementations that others have published.

use std::fs;
use std::path::{Path, PathBuf};

use crate::e2e::stack::Stack;
use crate::testkit::columns::{compare, compressed_fixtures, run, theirs};

#[test]
fn the_embedded_model_is_the_published_one() {
    let python = Stack::find().python.expect("the testbed has a python with ctao-datamodel");
    let product = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/product");
    let output = std::process::Command::new(python).arg("-B").arg(product.join("generate_model.py")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let embedded = fs::read_to_string(product.join("model-1.4.tsv")).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), embedded);
}

#[test]
fn every_column_is_what_protozfits_reads() {
    let Some(python) = Stack::find().python else {
        println!("compared with the record only: there is no Python with protozfits on this machine");
        return;
    };
    let mut paths = compressed_fixtures();
    let written = tempfile::tempdir().unwrap();
    paths.extend(run(&python, &[Path::new("write"), written.path()]).lines().map(PathBuf::from));
    assert_eq!(paths.len(), 4 + 4);
    let theirs = theirs(&python, &paths);
    compare(&paths, |path| theirs[path].clone());
}
