//! The kill switch: a file whose existence stops all releases. Its content is the reason, for humans.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Read of the reason, in bytes.
const MOST: u64 = 500;

/// Why releases are stopped; `None` only if it is certain that there is no such file.
pub fn reason(path: &Path) -> Option<String> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(format!("{} cannot be looked at: {error}", path.display())),
        Ok(_) => Some(content(path).unwrap_or_else(|error| format!("{} cannot be read: {error}", path.display()))),
    }
}

fn content(path: &Path) -> std::io::Result<String> {
    // a FIFO under this name must not hold us up
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    Ok(if words.is_empty() { "it gives no reason".to_owned() } else { words.join(" ") })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_a_file_that_is_certainly_not_there_lets_releases_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stop-releases");
        assert_eq!(reason(&path), None);
        fs::write(&path, "  storage work\nuntil\u{7} noon\n").unwrap();
        assert_eq!(reason(&path).unwrap(), "storage work until noon");
        fs::write(&path, "").unwrap();
        assert_eq!(reason(&path).unwrap(), "it gives no reason");
        fs::remove_file(&path).unwrap();
        // a link that leads nowhere is a file of this name
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        assert!(reason(&path).unwrap().contains("cannot be read"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(reason(&path).unwrap().contains("cannot be read"));
        // what stands in the way of looking counts as present
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(reason(&file.join("stop-releases")).unwrap().contains("cannot be looked at"));
    }

    #[test]
    fn a_fifo_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stop-releases");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(reason(&path).unwrap(), "it gives no reason");
    }
}
