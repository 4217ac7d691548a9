//! From what the command line names to the files that are read.

use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::read::Unread;

/// Names of FITS files, as directories are searched for them.
const ENDINGS: [&str; 3] = [".fits", ".fits.fz", ".fits.gz"];

/// A file to read, or why there is none where one was expected.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) path: PathBuf,
    /// Its size, for the progress bar only.
    pub(super) bytes: u64,
    pub(super) trouble: Option<Unread>,
}

/// Files as they are named; directories with every FITS file below them, in the order of their names. Symlinks within
/// directories are not followed: triggers are symlinks to files that are found anyway.
pub(super) fn collect(paths: &[PathBuf]) -> Vec<Item> {
    paths.iter().flat_map(|path| if path.is_dir() { below(path) } else { vec![file(path.clone())] }).collect()
}

fn file(path: PathBuf) -> Item {
    let bytes = path.metadata().map_or(0, |stat| stat.len());
    Item { path, bytes, trouble: None }
}

fn below(directory: &Path) -> Vec<Item> {
    let mut items = Vec::new();
    for entry in WalkDir::new(directory).sort_by_file_name() {
        match entry {
            Ok(entry) if is_fits(&entry) => items.push(file(entry.into_path())),
            Ok(_) => {}
            Err(error) => {
                let path = error.path().unwrap_or(directory).to_owned();
                let why = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                let trouble = Unread { code: "unreadable", message: format!("cannot be searched: {why}") };
                items.push(Item { path, bytes: 0, trouble: Some(trouble) });
            }
        }
    }
    if items.is_empty() {
        let message = format!("no file below it ends in {}", ENDINGS.join(", "));
        let trouble = Some(Unread { code: "nothing-to-read", message });
        items.push(Item { path: directory.to_owned(), bytes: 0, trouble });
    }
    items
}

fn is_fits(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    // a FIFO under such a name is told of; a directory is gone into, and a symlink leads elsewhere
    let leads_on = entry.file_type().is_dir() || entry.file_type().is_symlink();
    !leads_on && ENDINGS.iter().any(|ending| name.ends_with(ending))
}
