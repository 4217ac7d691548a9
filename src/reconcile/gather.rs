//! What disk, ledger and Rucio say of the files of one directory. One directory is in memory at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};

use crate::custody::State;
use crate::custody::UnixMillis;
use crate::custody::invariants::world::Protection;
use crate::datadir::{self, DataDir, identity};
use crate::ledger::OnRecord;
use crate::names::{Did, Lfn, TRIGGER_SUFFIX};
use crate::pipeline::blocking;
use crate::pipeline::intake::is_invalid;
use crate::rucio::{Kind, ReplicaListing, ReplicaQuery, Survey};

use super::judge::{Facts, OnDisk, Replica};
use super::{Error, Sources};

/// The directories to look at, by path: data directories, and those below `invalid/`.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Each with whether it is a dataset whose replicas are to be listed: a container would list all that is below it.
    pub(super) data: BTreeMap<PathBuf, bool>,
    pub(super) invalid: BTreeSet<PathBuf>,
}

impl Places {
    /// Every directory on disk, and every dataset that the ledger or a rule of ours has files in.
    pub(super) async fn find(sources: &Sources, survey: &Survey) -> Result<Self, Error> {
        let data = sources.data.clone();
        let mut places = blocking(move || on_disk(&data)).await?;
        places.data.extend(survey.datasets().map(|dataset| (directory_of(dataset), true)));
        if let Some(ledger) = &sources.ledger {
            places.data.extend(ledger.datasets().await?.iter().map(|dataset| (directory_of(dataset), true)));
        }
        Ok(places)
    }
}

fn directory_of(dataset: &Did) -> PathBuf {
    PathBuf::from(dataset.name.trim_start_matches('/'))
}

/// The dataset that files in a directory belong to; `None` if its name cannot be one.
pub(super) fn dataset_of(directory: &Path) -> Option<Did> {
    Lfn::from_relative(&directory.join("x")).ok().map(|name| name.dataset())
}

fn on_disk(data: &DataDir) -> Result<Places, datadir::Error> {
    let mut places = Places::default();
    let mut open = vec![data.top().to_owned()];
    while let Some(directory) = open.pop() {
        let entries = match data.read(&directory) {
            // removed since its parent was read
            Err(error) if error.is_missing() => continue,
            read => read?.1,
        };
        for entry in entries {
            let path = directory.join(&entry.name);
            let is_directory = match entry.kind {
                FileType::Directory => true,
                FileType::Unknown => data.stat(&path)?.is_some_and(|stat| kind(&stat) == FileType::Directory),
                _ => false,
            };
            if is_directory {
                open.push(path);
            }
        }
        if is_invalid(&directory) {
            places.invalid.insert(directory);
        } else {
            places.data.insert(directory, false);
        }
    }
    Ok(places)
}

/// The facts of all names in a directory, by name. Unless it is `listed` as a dataset, Rucio is asked for the names on
/// disk and in the ledger alone.
pub(super) async fn facts(
    sources: &Sources,
    survey: &Survey,
    directory: &Path,
    listed: bool,
) -> Result<Vec<Facts>, Error> {
    let mut found: BTreeMap<String, Facts> = BTreeMap::new();
    let dataset = dataset_of(directory);
    if let Some(dataset) = &dataset {
        // Rucio first, the disk last: what is on its road moves from disk to Rucio, and is seen at least once
        let query = ReplicaQuery {
            dids: std::slice::from_ref(dataset),
            rse_expression: Some(&sources.config.onsite_rse),
            all_states: true,
            schemes: &[],
        };
        if listed {
            take_replicas(sources, &mut found, sources.rucio.replicas(&query).await?);
        }
        if let Some(ledger) = &sources.ledger {
            for row in ledger.on_record(dataset).await? {
                let facts = entry(&mut found, &row.lfn);
                facts.row = Some(row);
            }
        }
    }
    let (data, path) = (sources.data.clone(), directory.to_owned());
    for (name, seen) in blocking(move || look(&data, &path)).await? {
        let lfn = format!("/{}", directory.join(&name).to_string_lossy());
        let facts = entry(&mut found, &lfn);
        (facts.disk, facts.trigger) = (seen.disk, seen.trigger);
    }
    if let Some(dataset) = &dataset {
        by_name(sources, dataset, &mut found).await?;
    }
    for facts in found.values_mut() {
        let Some(row) = &facts.row else { continue };
        facts.protection = protection(sources, survey, row).await?;
    }
    Ok(found.into_values().collect())
}

fn entry<'f>(found: &'f mut BTreeMap<String, Facts>, lfn: &str) -> &'f mut Facts {
    found.entry(lfn.to_owned()).or_insert_with(|| Facts { lfn: lfn.to_owned(), ..Facts::default() })
}

fn take_replicas(sources: &Sources, found: &mut BTreeMap<String, Facts>, listings: Vec<ReplicaListing>) {
    for listing in listings {
        if let Some(&state) = listing.states.get(&sources.config.onsite_rse) {
            let replica = Replica { state, bytes: listing.bytes, adler32: listing.adler32 };
            entry(found, &listing.did.name).replica = Some(replica);
        }
    }
}

/// A file that was detached from its dataset is asked for by its name before anything is said of it.
async fn by_name(sources: &Sources, dataset: &Did, found: &mut BTreeMap<String, Facts>) -> Result<(), Error> {
    let unseen = found.values().filter(|facts| {
        let expected = match &facts.row {
            Some(row) => matches!(row.state, State::Registered | State::Replicated | State::Confirmed),
            None => facts.trigger.is_none(),
        };
        facts.replica.is_none() && expected && Lfn::try_from(facts.lfn.as_str()).is_ok()
    });
    let dids: Vec<Did> = unseen.map(|facts| Did::new(dataset.scope.clone(), facts.lfn.clone())).collect();
    if !dids.is_empty() {
        let rse = Some(sources.config.onsite_rse.as_str());
        let query = ReplicaQuery { dids: &dids, rse_expression: rse, all_states: true, schemes: &[] };
        take_replicas(sources, found, sources.rucio.replicas(&query).await?);
    }
    Ok(())
}

/// Whether rule C stands. One that the survey does not have is asked for: it may be younger.
async fn protection(sources: &Sources, survey: &Survey, row: &OnRecord) -> Result<Option<Protection>, Error> {
    let expected = matches!(row.state, State::Registered | State::Replicated | State::Confirmed | State::Releasing);
    let Some(rule) = row.rule_c.as_ref().filter(|_| expected) else { return Ok(None) };
    let stands = match survey.stands(rule) {
        Some(true) => true,
        _ => match sources.rucio.rule(rule).await {
            Ok(rule) => rule.expires_at.is_none(),
            Err(error) if error.kind() == Kind::NotFound => false,
            Err(error) => return Err(error.into()),
        },
    };
    Ok(Some(if stands { Protection::Holds } else { Protection::Ended }))
}

#[derive(Clone, Copy, Default)]
struct Seen {
    disk: Option<OnDisk>,
    trigger: Option<UnixMillis>,
}

fn look(data: &DataDir, directory: &Path) -> Result<BTreeMap<PathBuf, Seen>, datadir::Error> {
    let mut seen: BTreeMap<PathBuf, Seen> = BTreeMap::new();
    let entries = match data.read(directory) {
        Err(error) if error.is_missing() => return Ok(seen),
        read => read?.1,
    };
    for entry in entries {
        let Some(stat) = data.stat(&directory.join(&entry.name))? else { continue };
        let bytes = entry.name.as_encoded_bytes();
        match bytes.strip_suffix(TRIGGER_SUFFIX.as_bytes()).map(|stem| String::from_utf8_lossy(stem).into_owned()) {
            // what announces no file is a wrong trigger, which 'status' shows
            Some(stem) if stem.is_empty() => {}
            Some(stem) => seen.entry(stem.into()).or_default().trigger = Some(changed_at(&stat)),
            None => {
                let disk = match kind(&stat) {
                    FileType::Directory => continue,
                    FileType::RegularFile => OnDisk::File(identity(&stat), changed_at(&stat)),
                    _ => OnDisk::Special,
                };
                seen.entry(entry.name.into()).or_default().disk = Some(disk);
            }
        }
    }
    Ok(seen)
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Last change of content or of the entry itself. A copied file keeps its old modification time, but not this.
#[allow(clippy::unnecessary_cast, clippy::cast_possible_wrap, clippy::cast_lossless)] // widths differ between platforms
fn changed_at(stat: &Stat) -> UnixMillis {
    (stat.st_mtime as i64).max(stat.st_ctime as i64).saturating_mul(1000)
}
