//! Our decoders against protozfits, ACADA's own library: the same files, column by column.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fits_verify::Walker;
use fits_verify::zfits::Rows;
use md5::{Digest, Md5};
use serde::Deserialize;

use super::fixtures;

/// A column as `tests/testbed/columns.py` tells it.
#[derive(Debug, Deserialize)]
struct Told {
    path: PathBuf,
    table: String,
    column: String,
    rows: u64,
    md5: String,
}

/// Rows and digest of every column, by table and name.
pub(crate) type Columns = BTreeMap<(String, String), (u64, String)>;

/// What `tests/testbed/columns.py` says with these words.
pub(crate) fn run(python: &Path, words: &[&Path]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/columns.py");
    let output = Command::new(python).args(["-B", script]).args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What protozfits reads in files, by file.
pub(crate) fn theirs(python: &Path, paths: &[PathBuf]) -> BTreeMap<PathBuf, Columns> {
    let words: Vec<&Path> = [Path::new("read")].into_iter().chain(paths.iter().map(PathBuf::as_path)).collect();
    columns(&run(python, &words))
}

/// What `tests/testbed/columns.py` tells, by file.
pub(crate) fn columns(lines: &str) -> BTreeMap<PathBuf, Columns> {
    let mut files = BTreeMap::<_, Columns>::new();
    for line in lines.lines() {
        let told: Told = serde_json::from_str(line).unwrap();
        files.entry(told.path).or_default().insert((told.table, told.column), (told.rows, told.md5));
    }
    files
}

/// The compressed fixtures.
pub(crate) fn compressed_fixtures() -> Vec<PathBuf> {
    let files = fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "fz")).collect()
}

/// Every column of these files is the same for both.
pub(crate) fn compare(paths: &[PathBuf], theirs: impl Fn(&Path) -> Columns) {
    for path in paths {
        let ours = ours(path);
        assert!(ours.len() >= 7, "{} columns of {}", ours.len(), path.display());
        assert_eq!(ours, theirs(path), "{}", path.display());
    }
}

fn ours(path: &Path) -> Columns {
    let (send, blocks) = std::sync::mpsc::channel();
    let mut walker = Walker::new().giving_blocks(move |block| send.send(block).unwrap());
    walker.feed(&fs::read(path).unwrap());
    let walk = walker.finish();
    assert_eq!((walk.problems, walk.warnings), (vec![], vec![]), "{}", path.display());
    let mut columns = BTreeMap::<_, (u64, Md5)>::new();
    for block in blocks {
        let name = (block.table.name.clone().unwrap(), block.column().name.clone());
        let (count, digest) = columns.entry(name).or_default();
        let values = block.decode().unwrap();
        for row in Rows::of(block.column(), block.rows, &values).unwrap().to_vec().unwrap() {
            digest.update(u32::try_from(row.len()).unwrap().to_le_bytes());
            digest.update(row);
            *count += 1;
        }
    }
    let hex = |digest: Md5| format!("{:032x}", u128::from_be_bytes(digest.finalize().into()));
    columns.into_iter().map(|(name, (rows, digest))| (name, (rows, hex(digest)))).collect()
}
