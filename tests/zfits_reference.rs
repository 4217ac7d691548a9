//! Our decoders against protozfits, ACADA's own library: the same files, column by column. What it read in the fixtures is
//! on record in `fixtures/columns`; on the real stack it reads them again, and files with every compression besides.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
#[cfg(feature = "testbed")]
use std::process::Command;

use fits_verify::Walker;
use fits_verify::zfits::Rows;
use md5::{Digest, Md5};
use serde::Deserialize;

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
type Columns = BTreeMap<(String, String), (u64, String)>;

#[cfg(feature = "testbed")]
/// The Python that has protozfits; `None` where the testbed could not install it.
fn python() -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Endpoints {
        python: Option<PathBuf>,
    }
    let testbed = std::env::var("TESTBED").unwrap_or_else(|_| "/var/tmp/dl0-testbed".to_owned());
    let path = Path::new(&testbed).join("endpoints.json");
    let text = fs::read(&path)
        .unwrap_or_else(|error| panic!("no testbed: {}: {error}; start it with `make testbed-up`", path.display()));
    serde_json::from_slice::<Endpoints>(&text).unwrap().python
}

#[cfg(feature = "testbed")]
fn run(python: &Path, words: &[&Path]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/columns.py");
    let output = Command::new(python).args(["-B", script]).args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[cfg(feature = "testbed")]
fn theirs(python: &Path, paths: &[PathBuf]) -> BTreeMap<PathBuf, Columns> {
    let words: Vec<&Path> = [Path::new("read")].into_iter().chain(paths.iter().map(PathBuf::as_path)).collect();
    columns(&run(python, &words))
}

/// What `tests/testbed/columns.py` tells, by file.
fn columns(lines: &str) -> BTreeMap<PathBuf, Columns> {
    let mut files = BTreeMap::<_, Columns>::new();
    for line in lines.lines() {
        let told: Told = serde_json::from_str(line).unwrap();
        files.entry(told.path).or_default().insert((told.table, told.column), (told.rows, told.md5));
    }
    files
}

/// The compressed fixtures.
fn fixtures() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dl0");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "fz")).collect()
}

fn compare(paths: &[PathBuf], theirs: impl Fn(&Path) -> Columns) {
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

#[test]
fn every_column_of_the_fixtures_is_what_protozfits_has_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/columns/protozfits-2.13.1.jsonl");
    let record = columns(&fs::read_to_string(path).unwrap());
    let fixtures = fixtures();
    assert_eq!(fixtures.len(), 4);
    compare(&fixtures, |path| record[Path::new(path.file_name().unwrap())].clone());
}

#[cfg(feature = "testbed")]
#[test]
fn every_column_is_what_protozfits_reads() {
    let Some(python) = python() else {
        println!("compared with the record only: there is no Python with protozfits on this machine");
        return;
    };
    let mut paths = fixtures();
    let written = tempfile::tempdir().unwrap();
    paths.extend(run(&python, &[Path::new("write"), written.path()]).lines().map(PathBuf::from));
    assert_eq!(paths.len(), 4 + 4);
    let theirs = theirs(&python, &paths);
    compare(&paths, |path| theirs[path].clone());
}
