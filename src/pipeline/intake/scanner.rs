//! The authoritative scan: finds every trigger, reading only directories that changed.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::FileType;

use crate::datadir::{self, DataDir, Entry, mtime_ns};
use crate::names::is_invalid;

use super::judge::is_trigger;

/// A directory that was modified less than this before it was read is read again: its time stamp may not move for a
/// change within the same tick of the clock that stamps it.
const SETTLED: Duration = Duration::from_secs(2);

/// What one scan cost and found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Directories whose entries were read.
    pub read: u64,
    /// Directories whose time stamp said that nothing changed.
    pub skipped: u64,
    /// Directories that could not be read.
    pub failed: u64,
}

/// What a scan tells as it goes.
pub(super) trait Visitor {
    /// A directory is about to be read: the moment to watch it, so that nothing falls between.
    fn entering(&mut self, directory: &Path);
    /// The triggers in a directory, complete.
    fn triggers(&mut self, directory: &Path, names: Vec<OsString>);
    /// A directory could not be read.
    fn unreadable(&mut self, directory: &Path, error: &datadir::Error);
    /// A directory is no longer there.
    fn gone(&mut self, directory: &Path);
    /// Asked before each directory, so that a long scan can show that it is at work: whether to stop early.
    fn stop(&self) -> bool;
}

#[derive(Debug)]
struct Known {
    mtime_ns: i64,
    inode: u64,
    settled: bool,
    subdirectories: Vec<OsString>,
}

/// Remembers the directories it has read. Memory grows with directories, not with files.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    known: HashMap<PathBuf, Known>,
}

impl Scanner {
    /// Scans the tree below `start`, which is relative to the data root.
    pub(super) fn scan(
        &mut self,
        data: &DataDir,
        start: &Path,
        visitor: &mut dyn Visitor,
    ) -> Result<Counts, datadir::Error> {
        let mut counts = Counts::default();
        let mut stack = vec![start.to_owned()];
        self.adopt(start);
        while let Some(directory) = stack.pop() {
            if visitor.stop() {
                break;
            }
            match self.visit(data, &directory, visitor, &mut counts) {
                Ok(subdirectories) => {
                    stack
                        .extend(subdirectories.into_iter().map(|name| directory.join(name)).filter(|d| !is_invalid(d)));
                }
                Err(error @ datadir::Error::Unavailable { .. }) => return Err(error),
                Err(error) => {
                    if error.is_missing() {
                        self.drop_tree(&directory, visitor);
                    } else {
                        self.forget(&directory);
                        counts.failed += 1;
                        visitor.unreadable(&directory, &error);
                    }
                }
            }
        }
        Ok(counts)
    }

    /// Makes the next scan read this directory whatever its time stamp says.
    pub(super) fn forget(&mut self, directory: &Path) {
        if let Some(known) = self.known.get_mut(directory) {
            known.settled = false;
        }
    }

    /// Makes the next scan read everything. The names of the directories stay: they tell which ones have gone.
    pub(super) fn forget_all(&mut self) {
        self.known.values_mut().for_each(|known| known.settled = false);
    }

    /// Forgets a directory that has gone, with everything below it.
    pub(super) fn drop_tree(&mut self, directory: &Path, visitor: &mut dyn Visitor) {
        let mut stack = vec![directory.to_owned()];
        while let Some(directory) = stack.pop() {
            if let Some(known) = self.known.remove(&directory) {
                stack.extend(known.subdirectories.into_iter().map(|name| directory.join(name)));
            }
            visitor.gone(&directory);
        }
    }

    /// A directory that is scanned before its parent is read again belongs to that parent all the same.
    fn adopt(&mut self, directory: &Path) {
        if let (Some(parent), Some(name)) = (directory.parent(), directory.file_name())
            && let Some(known) = self.known.get_mut(parent)
            && !known.subdirectories.iter().any(|known| known == name)
        {
            known.subdirectories.push(name.to_owned());
        }
    }

    /// Whether the directory has been read before.
    pub(super) fn knows(&self, directory: &Path) -> bool {
        self.known.contains_key(directory)
    }

    fn visit(
        &mut self,
        data: &DataDir,
        directory: &Path,
        visitor: &mut dyn Visitor,
        counts: &mut Counts,
    ) -> Result<Vec<OsString>, datadir::Error> {
        if let Some(known) = self.known.get(directory).filter(|known| known.settled) {
            let stat = data.stat(directory)?;
            if stat.is_some_and(|stat| mtime_ns(&stat) == known.mtime_ns && stat.st_ino == known.inode) {
                counts.skipped += 1;
                return Ok(known.subdirectories.clone());
            }
        }
        visitor.entering(directory);
        let read_at = SystemTime::now();
        let (stat, entries) = data.read(directory)?;
        counts.read += 1;
        let (triggers, subdirectories) = sort_out(data, directory, entries)?;
        let (mtime_ns, inode) = (mtime_ns(&stat), stat.st_ino);
        let settled = is_settled(mtime_ns, read_at);
        let known = Known { mtime_ns, inode, settled, subdirectories: subdirectories.clone() };
        if let Some(before) = self.known.insert(directory.to_owned(), known) {
            let present: HashSet<&OsString> = subdirectories.iter().collect();
            for name in before.subdirectories.iter().filter(|name| !present.contains(name)) {
                self.drop_tree(&directory.join(name), visitor);
            }
        }
        visitor.triggers(directory, triggers);
        Ok(subdirectories)
    }
}

fn sort_out(
    data: &DataDir,
    directory: &Path,
    entries: Vec<Entry>,
) -> Result<(Vec<OsString>, Vec<OsString>), datadir::Error> {
    let (mut triggers, mut subdirectories) = (Vec::new(), Vec::new());
    for entry in entries {
        if is_trigger(&entry.name) {
            triggers.push(entry.name);
            continue;
        }
        let kind = match entry.kind {
            // some file systems do not say
            FileType::Unknown => data
                .stat(&directory.join(&entry.name))?
                .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
            kind => kind,
        };
        if kind == FileType::Directory {
            subdirectories.push(entry.name);
        }
    }
    Ok((triggers, subdirectories))
}

/// A time stamp from the future never settles: the clock that stamps is not ours.
fn is_settled(mtime_ns: i64, read_at: SystemTime) -> bool {
    let read_ns = read_at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let settled_ns = SETTLED.as_nanos();
    u128::try_from(mtime_ns).is_ok_and(|mtime| mtime + settled_ns < read_ns)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[derive(Default)]
    struct Seen {
        entered: Vec<PathBuf>,
        triggers: Vec<PathBuf>,
        gone: Vec<PathBuf>,
    }

    impl Visitor for Seen {
        fn entering(&mut self, directory: &Path) {
            self.entered.push(directory.to_owned());
        }
        fn triggers(&mut self, directory: &Path, names: Vec<OsString>) {
            self.triggers.extend(names.into_iter().map(|name| directory.join(name)));
        }
        fn unreadable(&mut self, directory: &Path, error: &datadir::Error) {
            panic!("{}: {error}", directory.display());
        }
        fn gone(&mut self, directory: &Path) {
            self.gone.push(directory.to_owned());
        }
        fn stop(&self) -> bool {
            false
        }
    }

    fn age(path: &Path) {
        let old = SystemTime::now() - Duration::from_hours(1);
        fs::File::open(path).unwrap().set_modified(old).unwrap();
    }

    fn scan(scanner: &mut Scanner, data: &DataDir) -> (Seen, Counts) {
        let mut seen = Seen::default();
        let counts = scanner.scan(data, data.top(), &mut seen).unwrap();
        (seen, counts)
    }

    #[test]
    fn old_directories_are_not_read_again_and_changed_ones_are() {
        let root = tempfile::tempdir().unwrap();
        let day = root.path().join("ctao/acada/dl0");
        fs::create_dir_all(&day).unwrap();
        symlink("a", day.join("a.trigger")).unwrap();
        for path in ["ctao", "ctao/acada", "ctao/acada/dl0"] {
            age(&root.path().join(path));
        }
        let data = DataDir::new(root.path(), "ctao");
        let mut scanner = Scanner::default();
        let (seen, counts) = scan(&mut scanner, &data);
        assert_eq!(seen.triggers, [Path::new("ctao/acada/dl0/a.trigger")]);
        assert_eq!(counts, Counts { read: 3, skipped: 0, failed: 0 });
        assert_eq!(scan(&mut scanner, &data).1, Counts { read: 0, skipped: 3, failed: 0 });
        symlink("b", day.join("b.trigger")).unwrap();
        let (seen, counts) = scan(&mut scanner, &data);
        assert_eq!(seen.triggers.len(), 2);
        assert_eq!(counts, Counts { read: 1, skipped: 2, failed: 0 });
        // changed just now: it does not pass for settled yet
        assert_eq!(scan(&mut scanner, &data).1, Counts { read: 1, skipped: 2, failed: 0 });
    }

    #[test]
    fn invalid_is_never_entered_and_a_vanished_directory_is_told() {
        let root = tempfile::tempdir().unwrap();
        for path in ["ctao/acada/invalid/dl0", "ctao/acada/dl0/x", "ctao/acada/dl0/invalid"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        let data = DataDir::new(root.path(), "ctao");
        let mut scanner = Scanner::default();
        let (seen, _) = scan(&mut scanner, &data);
        assert!(!seen.entered.iter().any(|path| path.starts_with("ctao/acada/invalid")));
        // only the directory below the scope has that meaning
        assert!(seen.entered.contains(&PathBuf::from("ctao/acada/dl0/invalid")));
        fs::remove_dir(root.path().join("ctao/acada/dl0/x")).unwrap();
        for path in ["ctao", "ctao/acada"] {
            age(&root.path().join(path));
        }
        let (seen, _) = scan(&mut scanner, &data);
        assert!(!seen.entered.contains(&PathBuf::from("ctao/acada/dl0/x")));
    }

    #[test]
    fn a_directory_that_went_is_forgotten_with_all_below_it() {
        let root = tempfile::tempdir().unwrap();
        let below = |path: &str| root.path().join("ctao/acada").join(path);
        fs::create_dir_all(below("a/b/c")).unwrap();
        fs::create_dir_all(below("kept")).unwrap();
        let data = DataDir::new(root.path(), "ctao");
        let mut scanner = Scanner::default();
        scan(&mut scanner, &data);
        // one that a hint told of goes as well, and all of them though everything is to be read again
        fs::create_dir_all(below("hinted")).unwrap();
        scanner.scan(&data, Path::new("ctao/acada/hinted"), &mut Seen::default()).unwrap();
        scanner.forget_all();
        fs::remove_dir_all(below("a")).unwrap();
        fs::remove_dir(below("hinted")).unwrap();
        let (mut seen, _) = scan(&mut scanner, &data);
        seen.gone.sort();
        assert_eq!(seen.gone, ["a", "a/b", "a/b/c", "hinted"].map(|path| Path::new("ctao/acada").join(path)));
        let mut left: Vec<PathBuf> = scanner.known.into_keys().collect();
        left.sort();
        assert_eq!(left, ["ctao", "ctao/acada", "ctao/acada/kept"].map(PathBuf::from));
    }

    #[test]
    fn an_unmounted_tree_is_an_error_not_an_empty_tree() {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::new(root.path(), "ctao");
        let mut seen = Seen::default();
        let scanned = Scanner::default().scan(&data, data.top(), &mut seen);
        assert!(matches!(scanned, Err(datadir::Error::Unavailable { .. })));
    }
}
