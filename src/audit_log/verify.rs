//! Proving a log from its first line to its last.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::chain::{Break, Chain, Head};

/// What was found in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Whole records, up to the first break.
    pub records: u64,
    /// The last one.
    pub head: Head,
    /// Where the chain is broken first, and in which file.
    pub broken: Option<(PathBuf, Break)>,
    /// Bytes behind the last newline: a record that is being written, or that a crash cut off before its effect.
    pub open_bytes: usize,
}

/// Follows the chain through these files, oldest first. `known`: the last record that the ledger knows of.
pub fn verify(files: &[PathBuf], known: Option<&Head>) -> io::Result<Verified> {
    let mut chain = Chain::default();
    let mut open_bytes = 0;
    let mut broken = None;
    for path in files {
        match follow(&mut chain, path)? {
            Ok(open) => open_bytes = open,
            Err(found) => {
                broken = Some((path.clone(), found));
                break;
            }
        }
    }
    if broken.is_none() {
        // behind what the ledger knows of there may be what a crash left; without that knowledge it cannot be told apart
        let end = known.map_or_else(|| chain.no_gap(), |known| chain.reaches(known));
        broken = end.err().map(|found| (files.last().cloned().unwrap_or_default(), found));
    }
    Ok(Verified { records: chain.records(), head: chain.head(), broken, open_bytes })
}

/// One file; the bytes behind its last newline are counted.
fn follow(chain: &mut Chain, path: &Path) -> io::Result<Result<usize, Break>> {
    if let Err(found) = chain.next_file() {
        return Ok(Err(found));
    }
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let Some(whole) = line.strip_suffix(b"\n") else {
            return Ok(Ok(line.len()));
        };
        if let Err(found) = chain.next(whole) {
            return Ok(Err(found));
        }
        line.clear();
    }
    Ok(Ok(0))
}
