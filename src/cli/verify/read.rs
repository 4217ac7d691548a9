//! Reads one file, and says in words when that cannot be done.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::fixity::{Finding, Options, Report, examine};

/// Code of the warnings in which CFITSIO and we disagree.
pub(super) const CROSS_CHECK: &str = "cross-check";
/// Code of the warning that CFITSIO could not be asked.
pub(super) const NOT_CROSS_CHECKED: &str = "not-cross-checked";

/// Why a file could not be read to its end, as itself. Says nothing about whether it is sound.
#[derive(Clone, Debug)]
pub(super) struct Unread {
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// Reads the file as the daemon would.
pub(super) fn read(path: &Path, options: &Options, cross: bool) -> Result<Report, Unread> {
    let file = open(path)?;
    let unreadable = |error: io::Error| Unread { code: "unreadable", message: format!("cannot be read: {error}") };
    let before = file.metadata().map_err(unreadable)?;
    let mut report = examine(&file, options).map_err(unreadable)?;
    if cross {
        report.warnings.extend(second_opinion(&file));
    }
    let after = file.metadata().map_err(unreadable)?;
    let identity = |stat: &std::fs::Metadata| (stat.len(), stat.mtime(), stat.mtime_nsec());
    if identity(&before) != identity(&after) || report.fixity.bytes != after.len() {
        let message = "changed while it was read; verify it again when its writer has finished".to_owned();
        return Err(Unread { code: "changed-while-read", message });
    }
    Ok(report)
}

/// What CFITSIO sees otherwise, or why it was of no use.
#[cfg(feature = "cfitsio-system")]
fn second_opinion(file: &File) -> Vec<Finding> {
    match crate::crosscheck::apart::opinion(file) {
        Ok(found) => found.iter().map(|found| Finding { code: CROSS_CHECK, message: found.to_string() }).collect(),
        Err(why) => vec![Finding { code: NOT_CROSS_CHECKED, message: why.to_string() }],
    }
}

/// Whoever asks for it is told before that this build has none.
#[cfg(not(feature = "cfitsio-system"))]
fn second_opinion(_: &File) -> Vec<Finding> {
    Vec::new()
}

/// Opens a regular file. Symlinks are followed; a FIFO or device is refused without waiting for it or waking it up.
fn open(path: &Path) -> Result<File, Unread> {
    let failed = |error: io::Error| {
        let (code, message) = match error.kind() {
            io::ErrorKind::NotFound => ("not-found", "there is no such file".to_owned()),
            io::ErrorKind::PermissionDenied => ("permission-denied", "this user may not read it".to_owned()),
            _ => ("unreadable", format!("cannot be opened: {error}")),
        };
        Unread { code, message }
    };
    let regular = |stat: &std::fs::Metadata| {
        let refusal = || Unread { code: "not-a-file", message: format!("is {}, not a file", kind(stat)) };
        stat.is_file().then_some(()).ok_or_else(refusal)
    };
    // before opening, since opening a device may already do something to it; and after, since names move
    regular(&path.metadata().map_err(failed)?)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let descriptor = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    let file = File::from(descriptor);
    regular(&file.metadata().map_err(failed)?)?;
    Ok(file)
}

fn kind(stat: &std::fs::Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = stat.file_type();
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn a_file_that_grows_or_shrinks_while_it_is_read_has_no_verdict() {
        // long enough to be under way still when the first bytes have been counted; sparse, so it costs no disk
        const LONG: u64 = 1 << 30;
        for length in [LONG + 2880, 2880] {
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(LONG).unwrap();
            let progress = Arc::new(AtomicU64::new(0));
            let options = Options { progress: Some(Arc::clone(&progress)), ..Options::default() };
            let error = thread::scope(|scope| {
                scope.spawn(|| {
                    while progress.load(Ordering::Relaxed) == 0 {
                        thread::yield_now();
                    }
                    file.as_file().set_len(length).unwrap();
                });
                read(file.path(), &options, false).unwrap_err()
            });
            assert_eq!(error.code, "changed-while-read");
            assert!(progress.load(Ordering::Relaxed) > 0);
        }
    }
}
