//! The files of a log: the one being written, and those it was before.

use std::io;
use std::path::{Path, PathBuf};

/// The file that is written.
pub(super) const CURRENT: &str = "audit.jsonl";

/// The name of a file that was full, by its first record.
pub(super) fn full(first: u64) -> String {
    format!("audit-{first}.jsonl")
}

/// The files of the chain in a directory, oldest first. What was put away as broken is not among them.
pub fn of(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut full: Vec<(u64, PathBuf)> = Vec::new();
    let mut current = None;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name == CURRENT {
            current = Some(path);
        } else if let Some(first) = first_of(name) {
            full.push((first, path));
        }
    }
    full.sort();
    Ok(full.into_iter().map(|(_, path)| path).chain(current).collect())
}

fn first_of(name: &str) -> Option<u64> {
    name.strip_prefix("audit-")?.strip_suffix(".jsonl")?.parse().ok()
}
