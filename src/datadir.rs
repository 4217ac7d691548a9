//! The interface directory: every touch of the data files goes through here.
//!
//! Paths are relative to the root and resolved with `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)`, so that nothing
//! a producer does with symlinks leads outside. Data files are opened for reading only; they are moved aside without ever
//! replacing anything, and removed only as the very file that was verified.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::crash;
use crate::custody::FileIdentity;
use crate::names::TRIGGER_SUFFIX;

mod lock;
pub use lock::{Lock, LockError};

/// What can go wrong with the interface directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The root, or the observatory's directory in it, is not there: unmounted, or a wrong path.
    #[error("the data directory {root} has no directory '{vo}': is it mounted? (check data_path and vo)")]
    Unavailable {
        /// Configured data path.
        root: PathBuf,
        /// Configured virtual organisation.
        vo: String,
    },
    /// A symlink, or a path that leads outside.
    #[error("{path} is a symbolic link or leads through one; data files must be plain files below the data directory")]
    Symlink {
        /// Relative path.
        path: PathBuf,
    },
    /// Not a regular file.
    #[error("{path} is a {kind}, not a regular file")]
    NotAFile {
        /// Relative path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// The file at this place is another one than expected.
    #[error("{path} is not the file that was verified any more; it was left alone")]
    AnotherFile {
        /// Relative path.
        path: PathBuf,
    },
    /// The daemon's user lacks rights, or the file system is read-only.
    #[error(
        "cannot {action} {path}: {source}; the user of the daemon (uid {uid}) must be able to read, write and search the \
         data directory and all below it"
    )]
    Unusable {
        /// What was tried.
        action: &'static str,
        /// Absolute path.
        path: PathBuf,
        /// Who tried.
        uid: u32,
        /// From the system.
        source: io::Error,
    },
    /// Anything else the system says.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Relative path.
        path: PathBuf,
        /// From the system.
        source: io::Error,
    },
}

impl Error {
    /// Whether the file simply is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// The interface directory, by path: the root is opened at every use, so that a remount is seen.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
    vo: String,
}

/// One entry of a directory.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: std::ffi::OsString,
    /// Type as the directory states it; unknown on some file systems.
    pub kind: FileType,
}

impl DataDir {
    /// The interface directory at `root`, with the observatory's tree below `root/vo`.
    pub fn new(root: impl Into<PathBuf>, vo: impl Into<String>) -> Self {
        Self { root: root.into(), vo: vo.into() }
    }

    /// Absolute path of the root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The observatory's tree, relative to the root.
    pub fn top(&self) -> &Path {
        Path::new(&self.vo)
    }

    /// Absolute path of something below the root.
    pub fn absolute(&self, relative: &Path) -> PathBuf {
        self.root.join(relative)
    }

    /// Checks that the tree is there and that files can be read, made and removed in it.
    pub fn check(&self) -> Result<(), Error> {
        self.probe().map_err(|error| match error {
            Error::Io { action, path, source } => {
                let uid = rustix::process::geteuid().as_raw();
                Error::Unusable { action, path: self.absolute(&path), uid, source }
            }
            other => other,
        })
    }

    fn probe(&self) -> Result<(), Error> {
        let top = self.open_directory(self.top())?;
        let probe = ".dl0-ingest.probe";
        let path = self.top().join(probe);
        rustix::fs::openat(&top, probe, OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
            .map_err(|e| io_error("create a file in", self.top(), e))?;
        rustix::fs::unlinkat(&top, probe, AtFlags::empty()).map_err(|e| io_error("remove", &path, e))
    }

    fn open_root(&self) -> Result<OwnedFd, Error> {
        let unavailable = || Error::Unavailable { root: self.root.clone(), vo: self.vo.clone() };
        let root = rustix::fs::open(&self.root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| if e == Errno::NOENT { unavailable() } else { io_error("open", &self.root, e) })?;
        // an empty mount point must never pass for "all files are gone"
        match rustix::fs::statat(&root, self.vo.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => Ok(root),
            Ok(_) | Err(Errno::NOENT) => Err(unavailable()),
            Err(e) => Err(io_error("look at", self.top(), e)),
        }
    }

    fn open_beneath(&self, relative: &Path, flags: OFlags) -> Result<OwnedFd, Error> {
        let root = self.open_root()?;
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&root, relative, flags | OFlags::CLOEXEC, Mode::empty(), resolve).map_err(|e| match e {
            Errno::LOOP | Errno::XDEV => Error::Symlink { path: relative.to_owned() },
            e => io_error("open", relative, e),
        })
    }

    fn open_directory(&self, relative: &Path) -> Result<OwnedFd, Error> {
        self.open_beneath(relative, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    fn open_parent<'p>(&self, relative: &'p Path) -> Result<(OwnedFd, &'p OsStr), Error> {
        let name = relative.file_name().ok_or_else(|| io_error("open", relative, Errno::INVAL))?;
        let parent = relative.parent().unwrap_or(Path::new(""));
        Ok((self.open_beneath(parent, OFlags::PATH | OFlags::DIRECTORY)?, name))
    }

    /// Opens a data file for reading. A FIFO or device never blocks and is refused.
    pub fn open(&self, relative: &Path) -> Result<(File, FileIdentity), Error> {
        let fd = self.open_beneath(relative, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| io_error("look at", relative, e))?;
        let identity = regular(relative, &stat)?;
        Ok((File::from(fd), identity))
    }

    /// Identity of an open file as it is now.
    pub fn identity_of(file: &File, relative: &Path) -> Result<FileIdentity, Error> {
        let stat = rustix::fs::fstat(file).map_err(|e| io_error("look at", relative, e))?;
        regular(relative, &stat)
    }

    /// Identity of the data file at a path, without following a link at its end. `None`: there is nothing.
    pub fn identity(&self, relative: &Path) -> Result<Option<FileIdentity>, Error> {
        match self.stat(relative)? {
            Some(stat) => regular(relative, &stat).map(Some),
            None => Ok(None),
        }
    }

    /// When what lies at a path was last changed in any way, as the kernel has it (ctime), in nanoseconds since 1970 UTC.
    pub fn changed_ns(&self, relative: &Path) -> Result<Option<i64>, Error> {
        Ok(self.stat(relative)?.map(|stat| changed_ns(&stat)))
    }

    /// `lstat` below the root. `None`: there is nothing, and the data directory itself is there.
    pub fn stat(&self, relative: &Path) -> Result<Option<Stat>, Error> {
        let (parent, name) = match self.open_parent(relative) {
            Err(e) if e.is_missing() => return Ok(None),
            other => other?,
        };
        match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(io_error("look at", relative, e)),
        }
    }

    /// Where a symlink points, as written in it.
    pub fn link_target(&self, relative: &Path) -> Result<PathBuf, Error> {
        let (parent, name) = self.open_parent(relative)?;
        let target =
            rustix::fs::readlinkat(&parent, name, Vec::new()).map_err(|e| io_error("read the link", relative, e))?;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes())))
    }

    /// The entries of a directory and the directory's own status, taken before it is read.
    pub fn read(&self, relative: &Path) -> Result<(Stat, Vec<Entry>), Error> {
        let fd = self.open_directory(relative)?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| io_error("look at", relative, e))?;
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::new(fd).map_err(|e| io_error("read", relative, e))? {
            let entry = entry.map_err(|e| io_error("read", relative, e))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let name = std::ffi::OsString::from_vec(name.to_vec());
                entries.push(Entry { name, kind: entry.file_type() });
            }
        }
        Ok((stat, entries))
    }

    /// Removes a trigger; one that is gone already is fine. Refuses everything not named like a trigger. A power cut may
    /// bring it back until [`sync_beside`](Self::sync_beside), which does for all triggers of a directory at once.
    pub fn remove_trigger(&self, relative: &Path) -> Result<(), Error> {
        if !relative.as_os_str().as_encoded_bytes().ends_with(TRIGGER_SUFFIX.as_bytes()) {
            return Err(io_error("remove as a trigger", relative, Errno::INVAL));
        }
        let (parent, name) = match self.open_parent(relative) {
            Err(e) if e.is_missing() => return Ok(()),
            other => other?,
        };
        crash::before("disk", "remove-trigger");
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(io_error("remove", relative, e)),
        }
        crash::after("disk", "remove-trigger");
        Ok(())
    }

    /// Makes durable what was made, renamed and removed in the directory of `relative`.
    pub fn sync_beside(&self, relative: &Path) -> Result<(), Error> {
        match self.sync_directory(relative.parent().unwrap_or(Path::new(""))) {
            Err(e) if e.is_missing() => Ok(()),
            other => other,
        }
    }

    /// Makes the trigger of the file beside it, a relative link; an existing one is left alone (`EEXIST`).
    pub fn make_trigger(&self, file: &Path) -> Result<(), Error> {
        let (parent, name) = self.open_parent(file)?;
        let mut trigger = name.to_owned();
        trigger.push(TRIGGER_SUFFIX);
        rustix::fs::symlinkat(name, &parent, trigger).map_err(|e| io_error("make the trigger of", file, e))?;
        self.sync_directory(file.parent().unwrap_or(Path::new("")))
    }

    /// Moves a file, making directories as needed and never replacing anything (`EEXIST` then).
    pub fn move_aside(&self, from: &Path, to: &Path, expected: FileIdentity) -> Result<(), Error> {
        self.make_directories(to.parent().unwrap_or(Path::new("")))?;
        if self.identity(from)? != Some(expected) {
            return Err(Error::AnotherFile { path: from.to_owned() });
        }
        let (from_parent, from_name) = self.open_parent(from)?;
        let (to_parent, to_name) = self.open_parent(to)?;
        crash::before("disk", "move-aside");
        rename_new((&from_parent, from_name), (&to_parent, to_name)).map_err(|e| io_error("move aside to", to, e))?;
        crash::after("disk", "move-aside");
        self.sync_directory(to.parent().unwrap_or(Path::new("")))?;
        self.sync_directory(from.parent().unwrap_or(Path::new("")))
    }

    /// Writes a small new file durably; an existing one is left alone (`EEXIST`). Under its name it is whole or not there
    /// at all: until then it is called `.<name>.part`, and what a crash leaves of that is replaced by the next attempt.
    pub fn write_new(&self, relative: &Path, content: &[u8]) -> Result<(), Error> {
        self.make_directories(relative.parent().unwrap_or(Path::new("")))?;
        let (parent, name) = self.open_parent(relative)?;
        let mut part = OsString::from(".");
        part.push(name);
        part.push(".part");
        crash::before("disk", "write-new");
        match rustix::fs::unlinkat(&parent, &part, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(io_error("replace what a crash left of", relative, e)),
        }
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&parent, &part, flags, mode).map_err(|e| io_error("create", relative, e))?;
        let mut file = File::from(fd);
        crash::before("disk", "fill-new");
        let written = file.write_all(content).and_then(|()| {
            crash::after("disk", "fill-new");
            file.sync_all()
        });
        written.map_err(|source| Error::Io { action: "write", path: relative.to_owned(), source })?;
        crash::before("disk", "name-new");
        let named = rename_new((&parent, &part), (&parent, name));
        if named.is_err() {
            // whatever is in the way, nobody needs this one; what stays is replaced by the next attempt
            let _ = rustix::fs::unlinkat(&parent, &part, AtFlags::empty());
        }
        named.map_err(|e| io_error("create", relative, e))?;
        crash::after("disk", "name-new");
        self.sync_directory(relative.parent().unwrap_or(Path::new("")))?;
        crash::after("disk", "write-new");
        Ok(())
    }

    /// Removes a data file that Rucio has given up and left behind: only the very file that was verified.
    pub fn remove_leftover(&self, relative: &Path, expected: FileIdentity) -> Result<(), Error> {
        if self.identity(relative)? != Some(expected) {
            return Err(Error::AnotherFile { path: relative.to_owned() });
        }
        let (parent, name) = self.open_parent(relative)?;
        crash::before("disk", "remove-leftover");
        rustix::fs::unlinkat(&parent, name, AtFlags::empty()).map_err(|e| io_error("remove", relative, e))?;
        crash::after("disk", "remove-leftover");
        self.sync_directory(relative.parent().unwrap_or(Path::new("")))
    }

    fn make_directories(&self, relative: &Path) -> Result<(), Error> {
        let mut made = PathBuf::new();
        for component in relative.components() {
            made.push(component);
            let (parent, name) = self.open_parent(&made)?;
            match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) => crash::after("disk", "make-directory"),
                Err(Errno::EXIST) => {}
                Err(e) => return Err(io_error("make the directory", &made, e)),
            }
        }
        Ok(())
    }

    fn sync_directory(&self, relative: &Path) -> Result<(), Error> {
        let fd = self.open_directory(relative)?;
        rustix::fs::fsync(&fd).map_err(|e| io_error("sync", relative, e))
    }
}

/// Renames and never replaces anything (`EEXIST`).
fn rename_new(from: (&OwnedFd, &OsStr), to: (&OwnedFd, &OsStr)) -> rustix::io::Result<()> {
    let ((from_parent, from_name), (to_parent, to_name)) = (from, to);
    match rustix::fs::renameat_with(from_parent, from_name, to_parent, to_name, RenameFlags::NOREPLACE) {
        // some network file systems cannot rename without replacing; a link never replaces anything either
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            rustix::fs::linkat(from_parent, from_name, to_parent, to_name, AtFlags::empty())
                .and_then(|()| rustix::fs::unlinkat(from_parent, from_name, AtFlags::empty()))
        }
        renamed => renamed,
    }
}

pub(crate) fn regular(path: &Path, stat: &Stat) -> Result<FileIdentity, Error> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(identity(stat)),
        FileType::Symlink => return Err(Error::Symlink { path: path.to_owned() }),
        FileType::Directory => "directory",
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        _ => "device",
    };
    Err(Error::NotAFile { path: path.to_owned(), kind })
}

/// The identity in a file's status.
#[allow(clippy::unnecessary_cast, clippy::cast_possible_wrap, clippy::cast_sign_loss)] // widths differ between platforms
pub fn identity(stat: &Stat) -> FileIdentity {
    FileIdentity { bytes: stat.st_size as u64, mtime_ns: mtime_ns(stat), inode: stat.st_ino }
}

/// Last change of any kind in nanoseconds since 1970 UTC; no program sets it.
#[allow(clippy::unnecessary_cast, clippy::cast_possible_wrap)] // widths differ between platforms
pub fn changed_ns(stat: &Stat) -> i64 {
    (stat.st_ctime as i64).saturating_mul(1_000_000_000).saturating_add(stat.st_ctime_nsec as i64)
}

/// Last modification in nanoseconds since 1970 UTC.
#[allow(clippy::unnecessary_cast, clippy::cast_possible_wrap)] // widths differ between platforms
pub fn mtime_ns(stat: &Stat) -> i64 {
    (stat.st_mtime as i64).saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as i64)
}

fn io_error(action: &'static str, path: &Path, errno: Errno) -> Error {
    Error::Io { action, path: path.to_owned(), source: errno.into() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn directory() -> (tempfile::TempDir, DataDir) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("ctao/acada/dl0")).unwrap();
        let data = DataDir::new(root.path(), "ctao");
        (root, data)
    }

    fn write(data: &DataDir, path: &str, content: &str) -> FileIdentity {
        fs::write(data.absolute(Path::new(path)), content).unwrap();
        data.identity(Path::new(path)).unwrap().unwrap()
    }

    #[test]
    fn symlinks_are_never_followed_anywhere_on_the_way() {
        let (root, data) = directory();
        write(&data, "ctao/acada/dl0/a", "content");
        symlink("a", root.path().join("ctao/acada/dl0/link")).unwrap();
        symlink("dl0", root.path().join("ctao/acada/other")).unwrap();
        for path in ["ctao/acada/dl0/link", "ctao/acada/other/a"] {
            assert!(matches!(data.open(Path::new(path)), Err(Error::Symlink { .. })), "{path}");
        }
        assert!(data.open(Path::new("ctao/../../../../etc/passwd")).is_err());
        assert!(data.open(Path::new("ctao/acada/dl0/a")).is_ok());
    }

    #[test]
    fn a_missing_tree_is_not_a_missing_file() {
        let (root, data) = directory();
        assert_eq!(data.identity(Path::new("ctao/acada/dl0/a")).unwrap(), None);
        assert_eq!(data.identity(Path::new("ctao/nowhere/at/all")).unwrap(), None);
        fs::remove_dir_all(root.path().join("ctao")).unwrap();
        assert!(matches!(data.identity(Path::new("ctao/acada/dl0/a")), Err(Error::Unavailable { .. })));
    }

    #[test]
    fn a_fifo_under_a_data_files_name_is_refused_without_waiting() {
        let (root, data) = directory();
        let path = root.path().join("ctao/acada/dl0/pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert!(matches!(data.open(Path::new("ctao/acada/dl0/pipe")), Err(Error::NotAFile { kind: "FIFO", .. })));
    }

    #[test]
    fn moving_aside_replaces_nothing_and_moves_only_the_expected_file() {
        let (_root, data) = directory();
        let from = Path::new("ctao/acada/dl0/a");
        let to = Path::new("ctao/acada/invalid/dl0/a");
        let identity = write(&data, "ctao/acada/dl0/a", "first");
        data.move_aside(from, to, identity).unwrap();
        let second = write(&data, "ctao/acada/dl0/a", "second");
        assert!(matches!(data.move_aside(from, to, identity), Err(Error::AnotherFile { .. })));
        assert!(data.move_aside(from, to, second).is_err());
        assert_eq!(fs::read_to_string(data.absolute(to)).unwrap(), "first");
        assert_eq!(fs::read_to_string(data.absolute(from)).unwrap(), "second");
    }

    #[test]
    fn a_new_file_is_whole_or_not_there_whatever_a_crash_left_of_the_last_attempt() {
        let (_root, data) = directory();
        let path = Path::new("ctao/acada/invalid/a.reason.json");
        let part = data.absolute(Path::new("ctao/acada/invalid/.a.reason.json.part"));
        fs::create_dir(part.parent().unwrap()).unwrap();
        fs::write(&part, "{\"lfn\": \"/cta").unwrap();
        data.write_new(path, b"{}").unwrap();
        assert_eq!(fs::read_to_string(data.absolute(path)).unwrap(), "{}");
        let again = data.write_new(path, b"other").unwrap_err();
        assert!(matches!(&again, Error::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists), "{again}");
        assert_eq!(fs::read_to_string(data.absolute(path)).unwrap(), "{}");
        assert!(!part.exists());
    }

    #[test]
    fn only_the_verified_file_is_removed_and_only_triggers_as_triggers() {
        let (_root, data) = directory();
        let path = Path::new("ctao/acada/dl0/a");
        let old = write(&data, "ctao/acada/dl0/a", "one");
        fs::remove_file(data.absolute(path)).unwrap();
        let new = write(&data, "ctao/acada/dl0/a", "other");
        assert!(matches!(data.remove_leftover(path, old), Err(Error::AnotherFile { .. })));
        assert!(data.remove_trigger(path).is_err());
        data.remove_leftover(path, new).unwrap();
        assert_eq!(data.identity(path).unwrap(), None);
        data.remove_trigger(Path::new("ctao/acada/dl0/a.trigger")).unwrap();
    }
}
