//! The audit record: one line of JSON for every irreversible effect, on disk before the effect, chained by SHA-256.
//!
//! `docs/audit-log.md` defines the format. Only the end of the log is read at the start; `verify` reads all of it.

mod chain;
mod files;
mod tail;
#[cfg(test)]
mod tests;
mod verify;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::crash;

use chain::Link;

pub use chain::{Break, Chain, Flaw, Head, Restart};
pub use files::of as files;
pub use verify::{Verified, verify};

/// Version of the format, in every record.
const FORMAT: u32 = 1;
/// A file larger than this is followed by a new one, in bytes.
const FULL: u64 = 256 << 20;

/// Why a record could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk refused. Nothing may be deleted now.
    #[error(
        "cannot {action} the audit record {path}: {source}; nothing is deleted or set aside without it, free or mend its disk"
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// From the system.
        source: io::Error,
    },
    /// The end of the log is not what was written.
    #[error("the audit record {path} is not as it was written: {why}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Error {
    /// In words that anybody may read: no paths.
    pub fn in_brief(&self) -> String {
        match self {
            Self::Io { source, .. } => source.to_string(),
            Self::Broken { why, .. } => why.clone(),
        }
    }
}

/// The log of one daemon, which alone writes it.
#[derive(Debug)]
pub struct AuditLog {
    directory: PathBuf,
    full: u64,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
    head: Head,
    /// Number of the file's first record.
    first: u64,
    torn: Option<String>,
    unended: bool,
    /// The file before, until a record names it.
    continues: Option<String>,
}

impl AuditLog {
    /// The log in a directory. Nothing is read or written yet.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), full: FULL, open: None }
    }

    /// Reads the end of the log, holds it against the last record the ledger knows of, and returns the last one there is.
    pub fn check(&mut self, known: Option<&Head>) -> Result<Head, Error> {
        let open = self.load(known)?;
        Ok(self.open.insert(open).head.clone())
    }

    /// Writes a record and returns when it is on disk. `known`: the last record that the ledger knows of.
    ///
    /// After an error nothing may be carried out. What was written in part is dealt with by the next record.
    pub fn append(&mut self, known: Option<&Head>, record: Map<String, Value>) -> Result<Head, Error> {
        // taken: after a failure in the middle of a line, or when another file has its name, only another look can tell what
        // is there
        let mut open = match self.open.take() {
            Some(open) if self.is_current(&open)? => open,
            _ => self.load(known)?,
        };
        if open.size > self.full && open.torn.is_none() && !open.unended {
            open = self.rotate(&open)?;
        }
        self.write(&mut open, record)?;
        Ok(self.open.insert(open).head.clone())
    }

    /// Puts a broken log away under a name of its own and begins a new one, whose first record says so.
    pub fn restart(&mut self, known: Option<&Head>, why: &str) -> Result<Head, Error> {
        self.open = None;
        let current = self.current();
        let put_away = self.directory.join(format!("audit-broken-{}.jsonl", jiff::Timestamp::now().as_millisecond()));
        let found = match std::fs::rename(&current, &put_away) {
            Ok(()) => put_away.file_name().map(|name| name.to_string_lossy().into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(Error::Io { action: "put away", path: current, source }),
        };
        let head = match known {
            Some(known) => known.clone(),
            // the numbers of full files are taken
            None => self.before()?.0,
        };
        let mut open = self.create(head)?;
        open.continues = found;
        let mut record = Map::new();
        record.insert("effect".to_owned(), json!(chain::RESTARTED));
        record.insert("reason".to_owned(), json!(why));
        self.write(&mut open, record)?;
        Ok(self.open.insert(open).head.clone())
    }

    fn load(&self, known: Option<&Head>) -> Result<Open, Error> {
        let path = self.current();
        let found = match open_options(false).open(&path) {
            Ok(file) => Some((tail::read(&file).map_err(failed("read", &path))?, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(Error::Io { action: "open", path, source }),
        };
        if let Some((tail, _)) = &found {
            if tail.broken {
                return Err(self.broken("its last records do not follow each other".to_owned()));
            }
            if known.is_none() && tail.head.is_some() && tail.ended_garbage {
                return Err(self.broken("its last line is not a record".to_owned()));
            }
        }
        let (head, continues) = match found.as_ref().and_then(|(tail, _)| tail.head.clone()) {
            Some(head) => (head, None),
            None => self.before()?,
        };
        self.compare(&head, found.as_ref().map_or(&[], |(tail, _)| tail.links.as_slice()), known)?;
        let Some((tail, file)) = found else {
            return Ok(Open { continues, ..self.create(head)? });
        };
        let size = file.metadata().map_err(failed("look at", &path))?.len();
        let first = first_record(&path).map_err(failed("read", &path))?.unwrap_or(head.seq + 1);
        Ok(Open { file, size, head, first, torn: tail.torn, unended: tail.unended, continues })
    }

    /// The end of the newest full file, with its name, for a current one without a record.
    fn before(&self) -> Result<(Head, Option<String>), Error> {
        let current = self.current();
        let files = files::of(&self.directory).map_err(failed("look for", &self.directory))?;
        let Some(last) = files.into_iter().rfind(|path| *path != current) else { return Ok((Head::default(), None)) };
        let tail = File::open(&last).and_then(|file| tail::read(&file)).map_err(failed("read", &last))?;
        let name = last.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok((tail.head.unwrap_or_default(), name))
    }

    /// What the ledger knows was written must be there. `links`: the records that were read, if any.
    fn compare(&self, found: &Head, links: &[Link], known: Option<&Head>) -> Result<(), Error> {
        let Some(known) = known else { return Ok(()) };
        let flaw = if found.seq < known.seq {
            Flaw::Shortened { found: found.seq, known: known.seq }
        } else if (found.seq == known.seq && found.hash != known.hash) || links.iter().any(|link| link.replaces(known))
        {
            Flaw::Replaced { seq: known.seq }
        } else {
            return Ok(());
        };
        Err(self.broken(flaw.to_string()))
    }

    fn create(&self, head: Head) -> Result<Open, Error> {
        let path = self.current();
        let made = open_options(true).open(&path).and_then(|file| {
            // the name must survive a power cut as well as the content
            File::open(&self.directory)?.sync_all()?;
            Ok(file)
        });
        let file = made.map_err(|source| Error::Io { action: "make", path, source })?;
        Ok(Open { file, size: 0, first: head.seq + 1, head, torn: None, unended: false, continues: None })
    }

    /// Gives the full file a name of its own and begins the next.
    fn rotate(&self, open: &Open) -> Result<Open, Error> {
        use rustix::fs::{CWD, RenameFlags};
        let (path, name) = (self.current(), files::full(open.first));
        rustix::fs::renameat_with(CWD, &path, CWD, self.directory.join(&name), RenameFlags::NOREPLACE)
            .map_err(|errno| failed("rotate", &path)(errno.into()))?;
        Ok(Open { continues: Some(name), ..self.create(open.head.clone())? })
    }

    fn write(&self, open: &mut Open, record: Map<String, Value>) -> Result<(), Error> {
        let mut members = Map::new();
        members.insert("format".to_owned(), json!(FORMAT));
        members.insert("seq".to_owned(), json!(open.head.seq + 1));
        members.insert("at".to_owned(), json!(format!("{:.3}", jiff::Timestamp::now())));
        members.extend(record);
        members.insert("previous".to_owned(), json!(open.head.hash));
        if let Some(torn) = &open.torn {
            members.insert("torn".to_owned(), json!(torn));
        }
        if let Some(continues) = &open.continues {
            members.insert("continues".to_owned(), json!(continues));
        }
        let (line, hash) = chain::seal(members);
        let mut bytes = Vec::with_capacity(line.len() + 2);
        if open.unended {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(&line);
        bytes.push(b'\n');
        // data and length; the time of the last change does not matter
        crash::before("audit", "record");
        let written = open.file.write_all(&bytes).and_then(|()| {
            crash::before("audit", "sync");
            open.file.sync_data()
        });
        written.map_err(|source| Error::Io { action: "write", path: self.current(), source })?;
        crash::after("audit", "record");
        open.size += bytes.len() as u64;
        open.head = Head { seq: open.head.seq + 1, hash };
        (open.torn, open.unended, open.continues) = (None, false, None);
        Ok(())
    }

    /// Whether a file that is open is the one a later reader will find, and as it was written. What goes into another one is
    /// lost.
    fn is_current(&self, open: &Open) -> Result<bool, Error> {
        let path = self.current();
        let named = match std::fs::symlink_metadata(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(Error::Io { action: "look for", path, source }),
        };
        let ours = open.file.metadata().map_err(failed("look at", &path))?;
        Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino()) && ours.len() == open.size)
    }

    fn current(&self) -> PathBuf {
        self.directory.join(files::CURRENT)
    }

    fn broken(&self, why: String) -> Error {
        Error::Broken { path: self.current(), why }
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

fn open_options(create: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create_new(create).mode(0o640);
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// Number of the first record in a file.
fn first_record(path: &Path) -> io::Result<Option<u64>> {
    let mut lines = io::BufRead::split(io::BufReader::new(File::open(path)?), b'\n');
    lines.find_map(|line| line.map(|line| chain::link(&line).map(|link| link.seq)).transpose()).transpose()
}
