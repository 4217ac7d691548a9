//! Disk, ledger and Rucio held against each other, and custody restored from what is left of them.
//!
//! Everything goes directory by directory. In memory are the names of the directories, 16 bytes for each rule that
//! protects a file on site, up to 20 for each suspicion, and the facts of the directory at hand.

mod finding;
mod gather;
mod invalid;
mod judge;
mod rebuild;
mod repair;
mod sources;

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::names::Lfn;
use crate::reading::{Reading, contents};

pub use finding::{Code, Finding, Repair};
pub use rebuild::{Rebuilt, rebuild};
pub use repair::{Repaired, repair};
pub use sources::{Error, Options, Sources};

use gather::{Background, Places};
use judge::{Facts, OnDisk, findings_about};
use sources::examine;

/// What an audit reports while it goes.
#[derive(Debug)]
pub enum Progress {
    /// So many directories are to be looked at.
    Directories(u64),
    /// One more was looked at.
    Directory,
    /// Something is wrong.
    Found(Finding),
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audited {
    /// Directories.
    pub directories: u64,
    /// Names known to at least one of disk, ledger and Rucio's on-site replicas.
    pub files: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Findings.
    pub findings: u64,
}

/// Compares everything and reports what is wrong, each thing only after a second look at it.
pub async fn audit(sources: &Sources, options: Options, mut tell: impl FnMut(Progress)) -> Result<Audited, Error> {
    let background = Background::ask(sources, options.copies).await?;
    let places = Places::find(sources, &background.survey).await?;
    let mut audited = Audited { directories: (places.data.len() + places.invalid.len()) as u64, ..Audited::default() };
    tell(Progress::Directories(audited.directories));
    let mut auditor = Auditor { sources, background: &background, options, audited: &mut audited };
    let mut suspicions = Suspicions::default();
    for (place, kind) in places.each() {
        for (finding, version) in auditor.compare(place, kind, None).await? {
            suspicions.raise(place, kind, &finding, version);
        }
        tell(Progress::Directory);
    }
    if !suspicions.found.is_empty() {
        tokio::time::sleep(options.settle).await;
    }
    for (place, kind) in &suspicions.places {
        for (finding, version) in auditor.compare(place, *kind, Some(&suspicions)).await? {
            if suspicions.confirmed(&finding, version) {
                auditor.audited.findings += 1;
                tell(Progress::Found(finding));
            }
        }
    }
    Ok(audited)
}

/// What a directory is to be held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PlaceKind {
    /// Data; `listed` as a dataset.
    Data { listed: bool },
    /// Below `invalid/`.
    Invalid,
}

impl Places {
    /// All places in the order of their names, data first.
    fn each(&self) -> impl Iterator<Item = (&Path, PlaceKind)> {
        let data = self.data.iter().map(|(place, &listed)| (place.as_path(), PlaceKind::Data { listed }));
        data.chain(self.invalid.iter().map(|place| (place.as_path(), PlaceKind::Invalid)))
    }
}

/// What looked wrong at the first look. A file that has moved on between the looks is not the same suspicion.
#[derive(Default)]
struct Suspicions {
    found: HashSet<u64>,
    /// Files whose content was suspicious.
    contents: HashSet<String>,
    places: BTreeSet<(PathBuf, PlaceKind)>,
}

/// What tells a row from the same row after a move.
type Version = Option<(i64, i64)>;

impl Suspicions {
    fn raise(&mut self, place: &Path, kind: PlaceKind, finding: &Finding, version: Version) {
        self.found.insert(key(finding, version));
        if matches!(finding.code, Code::WrongContent | Code::Unreadable) {
            self.contents.insert(finding.file.clone());
        }
        self.places.insert((place.to_owned(), kind));
    }

    fn confirmed(&self, finding: &Finding, version: Version) -> bool {
        self.found.contains(&key(finding, version))
    }
}

fn key(finding: &Finding, version: Version) -> u64 {
    let mut hasher = DefaultHasher::new();
    (finding, version).hash(&mut hasher);
    hasher.finish()
}

struct Auditor<'a> {
    sources: &'a Sources,
    background: &'a Background,
    options: Options,
    audited: &'a mut Audited,
}

impl Auditor<'_> {
    /// What is wrong in one place. At the second look, only what was suspicious is read again.
    async fn compare(
        &mut self,
        place: &Path,
        kind: PlaceKind,
        again: Option<&Suspicions>,
    ) -> Result<Vec<(Finding, Version)>, Error> {
        let PlaceKind::Data { listed } = kind else {
            let findings = invalid::unexplained(self.sources, place).await?;
            return Ok(findings.into_iter().map(|finding| (finding, None)).collect());
        };
        let facts = gather::facts(self.sources, self.background, place, listed).await?;
        if again.is_none() {
            self.audited.files += facts.len() as u64;
        }
        let yardstick = self.options.yardstick();
        let mut found = Vec::new();
        for facts in facts {
            let version = facts.row.as_ref().map(|row| (row.state_since, row.delivery));
            let mut findings = findings_about(&facts, yardstick);
            if self.options.read && again.is_none_or(|suspicions| suspicions.contents.contains(&facts.lfn)) {
                let read = self.read(&facts).await;
                findings.extend(read);
            }
            found.extend(findings.into_iter().map(|finding| (finding, version)));
        }
        Ok(found)
    }

    /// Reads a file that is on site as it was verified, and compares.
    async fn read(&mut self, facts: &Facts) -> Option<Finding> {
        let row = facts.row.as_ref()?;
        let (on_record, name) = (row.blake3.clone()?, Lfn::try_from(facts.lfn.as_str()).ok()?);
        let found = facts.disk.and_then(OnDisk::identity).filter(|found| *found == row.identity())?;
        let (code, message) = match examine(self.sources, name, found).await {
            Reading::Read(report) => {
                self.audited.bytes_read += report.fixity.bytes;
                let blake3 = contents(&report).blake3;
                if blake3 == on_record {
                    return None;
                }
                let message =
                    format!("BLAKE3 {on_record} was verified, {blake3} is on disk, with the same size, inode and time");
                (Code::WrongContent, message)
            }
            Reading::Failed(why) => (Code::Unreadable, why),
            // it moved on while it was read
            Reading::Changed(_) | Reading::Missing | Reading::Cancelled => return None,
        };
        let (file, state, invariant) = (facts.lfn.clone(), Some(row.state), code.invariant());
        Some(Finding { code, file, state, invariant, message, repair: None })
    }
}
