//! What disk, ledger and Rucio say of the files of one directory. One directory is in memory at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};

use crate::config::Config;
use crate::custody::invariants::world::Protection;
use crate::custody::{Copies, State, UnixMillis};
use crate::datadir::{self, DataDir, identity};
use crate::engine::blocking;
use crate::ledger::OnRecord;
use crate::names::is_invalid;
use crate::names::{Did, Lfn, TRIGGER_SUFFIX};
use crate::rules::{Offsite, Survey, no_site, with_on_site};
use rucio_client::{Kind, ReplicaListing, ReplicaQuery, ReplicaState};

use super::judge::{Facts, OffSite, OnDisk, Replica};
use super::sources::{Error, Sources};

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

/// What is known before the first directory.
#[derive(Default)]
pub(super) struct Background {
    /// Our rules on the on-site RSE.
    pub(super) survey: Survey,
    /// The data centres, if their copies are asked for.
    pub(super) offsite: Option<Offsite>,
}

impl Background {
    pub(super) async fn ask(sources: &Sources, copies: bool) -> Result<Self, Error> {
        let offsite = if copies { Some(Offsite::ask(&sources.rucio, &sources.config).await?) } else { None };
        if offsite.as_ref().is_some_and(|offsite| offsite.on_site.is_none()) {
            return Err(Error::OnSiteUnknown(no_site(&sources.config)));
        }
        Ok(Self { survey: Survey::of(&sources.rucio, &sources.config.onsite_rse).await?, offsite })
    }

    /// Where replicas are asked for.
    fn expression(&self, config: &Config) -> String {
        match &self.offsite {
            Some(_) => with_on_site(config),
            None => config.onsite_rse.clone(),
        }
    }
}

/// The facts of all names in a directory, by name. Unless it is `listed` as a dataset, Rucio is asked for the names on
/// disk and in the ledger alone.
pub(super) async fn facts(
    sources: &Sources,
    background: &Background,
    directory: &Path,
    listed: bool,
) -> Result<Vec<Facts>, Error> {
    gather(sources, background, directory, listed, None).await
}

/// The same of one file, which is asked for by its name.
pub(super) async fn facts_of(sources: &Sources, background: &Background, name: &Lfn) -> Result<Option<Facts>, Error> {
    let directory = name.relative().parent().unwrap_or(Path::new(""));
    Ok(gather(sources, background, directory, false, Some(name.as_str())).await?.pop())
}

async fn gather(
    sources: &Sources,
    background: &Background,
    directory: &Path,
    listed: bool,
    only: Option<&str>,
) -> Result<Vec<Facts>, Error> {
    let mut found: BTreeMap<String, Facts> = BTreeMap::new();
    let expression = background.expression(&sources.config);
    let dataset = dataset_of(directory);
    if let Some(dataset) = &dataset {
        // Rucio first, the disk last: what is on its road moves from disk to Rucio, and is seen at least once
        let query = ReplicaQuery {
            dids: std::slice::from_ref(dataset),
            rse_expression: Some(&expression),
            all_states: true,
            schemes: &[],
        };
        if listed {
            take_replicas(sources, background, &mut found, sources.rucio.replicas(&query).await?);
        }
        if let Some(ledger) = &sources.ledger {
            for row in ledger.on_record(dataset).await? {
                let facts = entry(&mut found, &row.lfn);
                facts.row = Some(row);
            }
        }
    }
    let (data, path) = (sources.data.clone(), directory.to_owned());
    for (name, seen) in blocking(move || seen_in(&data, &path)).await? {
        let lfn = format!("/{}", directory.join(&name).to_string_lossy());
        let facts = entry(&mut found, &lfn);
        (facts.disk, facts.trigger) = (seen.disk, seen.trigger);
    }
    // what was released by a ledger that is lost is off site and nobody's business here
    found.retain(|_, facts| {
        facts.row.is_some() || facts.disk.is_some() || facts.trigger.is_some() || facts.replica.is_some()
    });
    if let Some(only) = only {
        found.retain(|lfn, _| lfn == only);
    }
    if let Some(dataset) = &dataset {
        by_name(sources, background, dataset, &mut found, only.is_some()).await?;
    }
    for facts in found.values_mut() {
        let Some(row) = &facts.row else { continue };
        facts.protection = protection(sources, &background.survey, row).await?;
    }
    Ok(found.into_values().collect())
}

fn entry<'f>(found: &'f mut BTreeMap<String, Facts>, lfn: &str) -> &'f mut Facts {
    found.entry(lfn.to_owned()).or_insert_with(|| Facts { lfn: lfn.to_owned(), ..Facts::default() })
}

fn take_replicas(
    sources: &Sources,
    background: &Background,
    found: &mut BTreeMap<String, Facts>,
    listings: Vec<ReplicaListing>,
) {
    for listing in listings {
        let off_site = background.offsite.as_ref().map(|offsite| OffSite {
            bytes: listing.bytes,
            adler32: listing.adler32.clone(),
            sites: sites(&listing, offsite),
        });
        let on_site = listing.states.get(&sources.config.onsite_rse);
        if on_site.is_none() && off_site.is_none() {
            continue;
        }
        let facts = entry(found, &listing.did.name);
        facts.off_site = off_site;
        if let Some(&state) = on_site {
            facts.replica = Some(Replica { state, bytes: listing.bytes, adler32: listing.adler32 });
        }
    }
}

/// Sites with a copy that Rucio does not rule out.
fn sites(listing: &ReplicaListing, offsite: &Offsite) -> u32 {
    let counts = |state: &ReplicaState| matches!(state, ReplicaState::Available | ReplicaState::TemporaryUnavailable);
    let there = listing.states.iter().filter(|(_, state)| counts(state));
    let sites: BTreeSet<&str> = there.filter_map(|(rse, _)| offsite.site(rse)).collect();
    u32::try_from(sites.len()).unwrap_or(u32::MAX)
}

/// A file that was detached from its dataset is asked for by its name before anything is said of it. `all`: whatever it is
/// expected to be.
async fn by_name(
    sources: &Sources,
    background: &Background,
    dataset: &Did,
    found: &mut BTreeMap<String, Facts>,
    all: bool,
) -> Result<(), Error> {
    let copies_missing = |facts: &Facts| {
        let sites = facts.off_site.as_ref().map_or(0, |copies| copies.sites);
        background.offsite.is_some() && sites < Copies::MIN.get()
    };
    let unseen = found.values().filter(|facts| {
        let expected = match &facts.row {
            Some(row) => match row.state {
                State::Registered | State::Replicated | State::Confirmed => facts.replica.is_none(),
                State::Releasing | State::Released => copies_missing(facts),
                _ => false,
            },
            None => facts.replica.is_none() && facts.trigger.is_none(),
        };
        (expected || all) && Lfn::try_from(facts.lfn.as_str()).is_ok()
    });
    let dids: Vec<Did> = unseen.map(|facts| Did::new(dataset.scope.clone(), facts.lfn.clone())).collect();
    if !dids.is_empty() {
        let expression = background.expression(&sources.config);
        let query = ReplicaQuery { dids: &dids, rse_expression: Some(&expression), all_states: true, schemes: &[] };
        take_replicas(sources, background, found, sources.rucio.replicas(&query).await?);
    }
    if background.offsite.is_some() {
        // of what Rucio does not even know there is no copy
        for facts in found.values_mut() {
            facts.off_site.get_or_insert_default();
        }
    }
    Ok(())
}

/// Whether the on-site rule stands. One that the survey does not have is asked for: it may be younger.
async fn protection(sources: &Sources, survey: &Survey, row: &OnRecord) -> Result<Option<Protection>, Error> {
    let expected = match row.state {
        State::Registered | State::Replicated | State::Confirmed | State::Releasing => true,
        State::Held => row.release_ordered_at.is_none(),
        _ => false,
    };
    let Some(rule) = row.on_site_rule.as_ref().filter(|_| expected) else { return Ok(None) };
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

fn seen_in(data: &DataDir, directory: &Path) -> Result<BTreeMap<PathBuf, Seen>, datadir::Error> {
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
pub(super) fn changed_at(stat: &Stat) -> UnixMillis {
    (stat.st_mtime as i64).max(stat.st_ctime as i64).saturating_mul(1000)
}
