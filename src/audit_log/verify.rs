//! Proving a log from its first line to its last.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::chain::{self, Break, Chain, Head, Restart};

/// What was found in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Whole records, up to the first break.
    pub records: u64,
    /// The last one.
    pub head: Head,
    /// Where what came before was found broken and put away: it is in none of these files.
    pub restarts: Vec<Restart>,
    /// Where the chain is broken first, and in which file.
    pub broken: Option<(PathBuf, Break)>,
    /// Bytes behind the last newline: a record that is being written, or that a crash cut off before its effect.
    pub open_bytes: usize,
}

/// Follows the chain through these files, oldest first. `known`: the last record that the ledger knows of.
pub fn verify(files: &[PathBuf], known: Option<&Head>) -> io::Result<Verified> {
    let mut chain = Chain::holding(known.cloned());
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
        broken = chain.ends_well().err().map(|found| (files.last().cloned().unwrap_or_default(), found));
    }
    let restarts = chain.restarts().to_vec();
    Ok(Verified { records: chain.records(), head: chain.head(), restarts, broken, open_bytes })
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
            // a record that lacks only its newline counts; the next one begins with it
            let counts = chain::link(&line).is_some();
            let next = if counts { chain.next(&line) } else { Ok(()) };
            return Ok(next.map(|()| if counts { 0 } else { line.len() }));
        };
        if let Err(found) = chain.next(whole) {
            return Ok(Err(found));
        }
        line.clear();
    }
    Ok(Ok(0))
}
