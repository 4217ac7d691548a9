//! The end of a log file: its last record, and what a crash left behind it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::chain::{self, Head, Link};

/// Read from the end of a file. Far more than any two records.
const TAIL: u64 = 4 << 20;

/// The end of a file as far as the next record needs it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// The last record; `None` when there is none.
    pub(super) head: Option<Head>,
    /// SHA-256 of the bytes behind it, if there are any.
    pub(super) torn: Option<String>,
    /// The file ends in the middle of a line.
    pub(super) unended: bool,
    /// Everything behind the last record ended in a newline once: more than an interrupted write leaves.
    pub(super) ended_garbage: bool,
    /// The last two records do not follow each other.
    pub(super) broken: bool,
    /// All records that were read.
    pub(super) links: Vec<Link>,
}

pub(super) fn read(file: &File) -> io::Result<Tail> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL);
    let mut bytes = vec![0; usize::try_from(length - from).unwrap_or(0)];
    file.read_exact_at(&mut bytes, from)?;
    Ok(of(&bytes, from == 0))
}

/// The end of these bytes; `whole`: they are the whole file.
pub(super) fn of(bytes: &[u8], whole: bool) -> Tail {
    let unended = bytes.last().is_some_and(|last| *last != b'\n');
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut lines: Vec<&[u8]> = if text.is_empty() { Vec::new() } else { text.split(|byte| *byte == b'\n').collect() };
    if !whole && !lines.is_empty() {
        // the first one was cut by us
        lines.remove(0);
    }
    let links: Vec<Option<Link>> = lines.iter().map(|line| chain::link(line)).collect();
    let last = links.iter().rposition(Option::is_some);
    let garbage = &lines[last.map_or(0, |at| at + 1)..];
    let before = last.and_then(|at| links[..at].iter().flatten().next_back());
    let follows =
        |link: &Link| before.is_none_or(|b| b.hash == link.previous && b.seq.checked_add(1) == Some(link.seq));
    let link = last.and_then(|at| links[at].as_ref());
    Tail {
        head: link.map(|link| Head { seq: link.seq, hash: link.hash.clone() }),
        torn: (!garbage.is_empty()).then(|| chain::sha256(&garbage.join(&b'\n'))),
        unended,
        ended_garbage: garbage.len() > usize::from(unended),
        broken: link.is_some_and(|link| !follows(link)) || (!whole && link.is_none()),
        links: links.into_iter().flatten().collect(),
    }
}
