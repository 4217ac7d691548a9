//! Custody restored from Rucio and the disk when the ledger is lost.
//!
//! A row is written in the state that can be proven now, never beyond Replicated, so that the evidence for every release
//! is gathered anew. What contradicts itself is held; what Rucio is deleting is left to it.

use std::path::Path;

use futures_util::stream::{self, StreamExt};

use crate::config::Config;
use crate::custody::brakes::Target;
use crate::custody::{Contents, FileIdentity, HoldCode, State};
use crate::fixity::Report;
use crate::ledger::{Operator, Restored};
use crate::names::{Did, Lfn};
use crate::reading::{Reading, contents};
use crate::rules::{is_first_copy_rule, is_further_copies_rule, is_on_site_rule};
use rucio_client::{Kind, ReplicaQuery, ReplicaState, Rule};

use super::gather::{self, Background, Places};
use super::invalid::{self, SetAside};
use super::judge::{Facts, OnDisk, Replica};
use super::sources::{Error, Sources, examine};

/// Rows written in one transaction.
const BATCH: usize = 100;

/// What a rebuild tells while it goes.
#[derive(Debug)]
pub enum Rebuilt {
    /// So many directories are to be looked at.
    Directories(u64),
    /// One more was looked at.
    Directory,
    /// A file is in custody again, in this state.
    Custody {
        /// The file.
        lfn: String,
        /// Its state.
        state: State,
        /// Why it is held or rejected.
        reason: Option<String>,
    },
    /// A file that nothing was written for.
    Left {
        /// The file.
        lfn: String,
        /// Stable, kebab-case.
        code: &'static str,
        /// Why.
        why: String,
    },
}

/// What one file's facts come to.
pub(super) enum Restoration {
    /// This row can be written.
    Custody(Box<Restored>),
    /// Nothing is to be written.
    Leave {
        /// Stable, kebab-case.
        code: &'static str,
        /// Why.
        why: String,
    },
}

/// Restores custody of every file that Rucio has on site for us. With no ledger in `sources`, only tells what it would do.
///
/// Releases stay stopped afterwards by a hold on everything in the name of `operator`: what operators had held before is
/// lost with the ledger.
pub async fn rebuild(sources: &Sources, operator: &Operator, mut tell: impl FnMut(Rebuilt)) -> Result<(), Error> {
    let background = Background::ask(sources, false).await?;
    if let Some(ledger) = &sources.ledger {
        if !ledger.holds_only_restored().await? {
            return Err(Error::NotEmpty { path: ledger.path().to_owned() });
        }
        ledger.place_hold(&Target::All, operator).await?;
        // the ledger that is lost had placed them, or one before it
        for lost in background.survey.signed().keys() {
            ledger.take_over(lost, operator).await?;
        }
    }
    let places = Places::find(sources, &background.survey).await?;
    tell(Rebuilt::Directories((places.data.len() + places.invalid.len()) as u64));
    for (place, &listed) in &places.data {
        let facts = gather::facts(sources, &background, place, listed).await?;
        let lost: Vec<Facts> = facts.into_iter().filter(|facts| facts.row.is_none()).collect();
        if lost.iter().any(|facts| facts.replica.is_some())
            && let Some(dataset) = gather::dataset_of(place)
        {
            first_copy_rule(sources, &dataset).await?;
        }
        for batch in lost.chunks(BATCH) {
            restore(sources, batch, &mut tell).await?;
        }
        tell(Rebuilt::Directory);
    }
    for place in &places.invalid {
        let restored = rejected(sources, place).await?;
        write(sources, restored, &mut tell).await?;
        tell(Rebuilt::Directory);
    }
    Ok(())
}

async fn restore(sources: &Sources, batch: &[Facts], tell: &mut impl FnMut(Rebuilt)) -> Result<(), Error> {
    let threads = sources.config.verify.threads;
    let mut restorations =
        stream::iter(batch.iter().map(|facts| async move { (facts, restoration_if_any(sources, facts).await) }))
            .buffered(threads);
    let mut rows = Vec::new();
    while let Some((facts, restoration)) = restorations.next().await {
        match restoration? {
            None => {}
            Some(Restoration::Custody(restored)) => rows.push(*restored),
            Some(Restoration::Leave { code, why }) => tell(Rebuilt::Left { lfn: facts.lfn.clone(), code, why }),
        }
    }
    write(sources, rows, tell).await
}

async fn write(sources: &Sources, rows: Vec<Restored>, tell: &mut impl FnMut(Rebuilt)) -> Result<(), Error> {
    if let Some(ledger) = &sources.ledger {
        ledger.restore(&rows).await?;
    }
    for row in rows {
        let reason = row.reason.map(|(_, reason)| reason);
        tell(Rebuilt::Custody { lfn: row.lfn.as_str().to_owned(), state: row.state, reason });
    }
    Ok(())
}

async fn restoration_if_any(sources: &Sources, facts: &Facts) -> Result<Option<Restoration>, Error> {
    match (&facts.replica, facts.disk, facts.trigger) {
        (Some(_), _, _) => restoration(sources, facts).await.map(Some),
        (None, Some(OnDisk::File(..)), None) => {
            let why = "it is on disk, Rucio does not know it, and it has no trigger; see 'dl0-ingest audit'".to_owned();
            Ok(Some(Restoration::Leave { code: "dark", why }))
        }
        // the daemon takes what has a trigger
        _ => Ok(None),
    }
}

/// The row that the facts of a file prove, of which Rucio has an on-site replica.
pub(super) async fn restoration(sources: &Sources, facts: &Facts) -> Result<Restoration, Error> {
    let leave = |code, why: String| Ok(Restoration::Leave { code, why });
    let name = match Lfn::try_from(facts.lfn.as_str()) {
        Ok(name) => name,
        Err(error) => return leave("name", error.to_string()),
    };
    let Some(replica) = &facts.replica else { return leave("unregistered", "Rucio has no replica on site".to_owned()) };
    if replica.state == ReplicaState::BeingDeleted {
        return departing(sources, &name, "Rucio is deleting the on-site copy").await;
    }
    let rules = match sources.rucio.did_rules(&name.did()).await {
        Ok(rules) => rules,
        Err(error) if error.kind() == Kind::NotFound => {
            return leave("departing", "Rucio has just removed it".to_owned());
        }
        Err(error) => return Err(error.into()),
    };
    let rules = Rules::of(&sources.config, rules);
    if rules.on_site.is_none() && rules.ending {
        let why = "its release was ordered: the rule that protected it has ended, and Rucio will delete it";
        return departing(sources, &name, why).await;
    }
    let found = facts.disk.and_then(OnDisk::identity);
    let custody = Custody { sources, facts, name, replica, rules };
    let Some(found) = found else {
        return Ok(custody.held(
            FileIdentity { bytes: replica.bytes, mtime_ns: 0, inode: 0 },
            None,
            HoldReason::missing(facts),
        ));
    };
    custody.of_file(found).await
}

/// A file whose on-site copy Rucio gives up, which nobody can take back. Whoever ordered it, its copies must be there.
async fn departing(sources: &Sources, name: &Lfn, why: &str) -> Result<Restoration, Error> {
    let (config, did) = (&sources.config, name.did());
    let query = ReplicaQuery {
        dids: std::slice::from_ref(&did),
        rse_expression: Some(&config.offsite.expression),
        all_states: true,
        schemes: &[],
    };
    let listed = sources.rucio.replicas(&query).await?;
    let states = listed.first().map(|listing| &listing.states);
    let counts =
        |(rse, state): &(&String, &ReplicaState)| **rse != config.onsite_rse && **state == ReplicaState::Available;
    let copies = states.map_or(0, |states| states.iter().filter(counts).count());
    let wanted = config.offsite.copies.get();
    Ok(if copies < wanted as usize {
        let why = format!("{why}, and has {copies} of {wanted} copies of it off site: save what is on disk now");
        Restoration::Leave { code: "endangered", why }
    } else {
        Restoration::Leave { code: "departing", why: format!("{why}; it has {copies} copies off site") }
    })
}

/// Our rules on a file.
struct Rules {
    /// The on-site rule, not given up.
    on_site: Option<String>,
    /// There is a rule like it that ends now, as at a release.
    ending: bool,
    /// The further-copies rule and its source.
    further_copies: Option<(String, String)>,
}

impl Rules {
    fn of(config: &Config, rules: Vec<Rule>) -> Self {
        let mut ours = Self { on_site: None, ending: false, further_copies: None };
        for rule in rules {
            if is_on_site_rule(config, &rule) {
                match rule.expires_at {
                    None => ours.on_site = Some(rule.id),
                    // somebody else's doing, which the daemon takes back: we end rules at once, and have the copy deleted
                    Some(_) if rule.ends_later() || !rule.purge_replicas => drop(ours.on_site.get_or_insert(rule.id)),
                    Some(_) => ours.ending = true,
                }
            } else if is_further_copies_rule(config, &rule)
                && let Some(source) = rule.source_replica_expression
            {
                ours.further_copies = Some((rule.id, source));
            }
        }
        ours
    }
}

/// Why a file is held.
struct HoldReason {
    code: HoldCode,
    reason: String,
}

impl HoldReason {
    fn missing(facts: &Facts) -> Self {
        let what = if facts.disk.is_some() { "what is on disk is no plain file" } else { "it is not on disk" };
        Self { code: HoldCode::Vanished, reason: format!("Rucio has it on site, {what}") }
    }
}

struct Custody<'a> {
    sources: &'a Sources,
    facts: &'a Facts,
    name: Lfn,
    replica: &'a Replica,
    rules: Rules,
}

impl Custody<'_> {
    async fn of_file(self, found: FileIdentity) -> Result<Restoration, Error> {
        if self.replica.state != ReplicaState::Available {
            let reason = format!("Rucio's replica on site is {:?}", self.replica.state);
            return Ok(self.held(found, None, HoldReason { code: HoldCode::ReplicaState, reason }));
        }
        if found.bytes != self.replica.bytes {
            let reason = format!("Rucio has it with {} bytes, {} bytes are on disk", self.replica.bytes, found.bytes);
            return Ok(self.held(found, None, HoldReason { code: HoldCode::OtherContent, reason }));
        }
        let report = match examine(self.sources, self.name.clone(), found).await {
            Reading::Read(report) => report,
            Reading::Failed(why) => return Ok(Restoration::Leave { code: "unreadable", why }),
            Reading::Changed(_) | Reading::Missing | Reading::Cancelled => {
                let why = "it changed while it was read; run the rebuild again".to_owned();
                return Ok(Restoration::Leave { code: "changed", why });
            }
        };
        let read = contents(&report);
        match &self.replica.adler32 {
            Some(adler32) if *adler32 == *read.adler32 => Ok(self.in_custody(found, &report, read).await?),
            other => {
                let theirs =
                    other.as_ref().map_or_else(|| "no adler32".to_owned(), |adler32| format!("adler32 {adler32}"));
                let reason = format!("Rucio has it with {theirs}, the file on disk has adler32 {}", read.adler32);
                Ok(self.held(found, Some(&report), HoldReason { code: HoldCode::OtherContent, reason }))
            }
        }
    }

    /// The file is what Rucio says. How far it has come: not even protected, protected, or with its further copies ordered.
    async fn in_custody(self, found: FileIdentity, report: &Report, read: Contents) -> Result<Restoration, Error> {
        let first_copy_rule = first_copy_rule(self.sources, &self.name.dataset()).await?;
        let state = match (&self.rules.on_site, &self.rules.further_copies) {
            (Some(_), Some(_)) if first_copy_rule.is_some() => State::Replicated,
            (Some(_), _) => State::Registered,
            // registered anew, which changes nothing in Rucio but brings the rule
            (None, _) if report.accepted() => State::Verified,
            (None, _) => {
                let why = report.reasons.first().map_or("", |reason| reason.message.as_str());
                let reason = format!("no rule of ours protects it, and it would be rejected today: {why}");
                return Ok(self.held(found, Some(report), HoldReason { code: HoldCode::Unprotected, reason }));
            }
        };
        let replicated = state == State::Replicated;
        let (further_copies_rule, on_site_rule) =
            (self.rules.further_copies.clone().filter(|_| replicated), self.rules.on_site.clone());
        // one that it comes to later is ours, whoever has signed it
        let earlier_further_copies_rule =
            self.rules.further_copies.clone().map(|(rule, _)| rule).filter(|_| !replicated);
        let row = Restored {
            state,
            contents: Some(read),
            further_copies_rule,
            earlier_further_copies_rule,
            on_site_rule,
            ..self.row(found, Some(report))
        };
        Ok(Restoration::Custody(Box::new(row)))
    }

    fn held(&self, found: FileIdentity, report: Option<&Report>, why: HoldReason) -> Restoration {
        let reason = Some((why.code.as_str().to_owned(), why.reason));
        let on_site_rule = self.rules.on_site.clone();
        Restoration::Custody(Box::new(Restored { state: State::Held, reason, on_site_rule, ..self.row(found, report) }))
    }

    fn row(&self, identity: FileIdentity, report: Option<&Report>) -> Restored {
        let metadata = report.and_then(|report| report.metadata.clone());
        Restored {
            lfn: self.name.clone(),
            state: State::Held,
            identity,
            contents: None,
            metadata: metadata.map(|metadata| serde_json::Value::Object(metadata).to_string()),
            valid_fits_checksum: report.and_then(|report| report.valid_fits_checksum),
            trigger: self.facts.trigger.is_some(),
            on_site_rule: None,
            further_copies_rule: None,
            earlier_further_copies_rule: None,
            invalid_path: None,
            reason: None,
        }
    }
}

/// The first-copy rule of a dataset, as remembered or as Rucio has it, which is remembered then: it is ours, whoever has
/// signed it.
async fn first_copy_rule(sources: &Sources, dataset: &Did) -> Result<Option<String>, Error> {
    let Some(ledger) = &sources.ledger else { return find_first_copy_rule(sources, dataset).await };
    if let Some(known) = ledger.first_copy_rule(dataset).await? {
        return Ok(Some(known));
    }
    let found = find_first_copy_rule(sources, dataset).await?;
    if let Some(rule) = &found {
        ledger.set_first_copy_rule(dataset, rule).await?;
    }
    Ok(found)
}

async fn find_first_copy_rule(sources: &Sources, dataset: &Did) -> Result<Option<String>, Error> {
    match sources.rucio.did_rules(dataset).await {
        Ok(rules) => Ok(rules.into_iter().find(|rule| is_first_copy_rule(&sources.config, rule)).map(|rule| rule.id)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Files that were set aside with a reason, unless their name is in custody again.
async fn rejected(sources: &Sources, directory: &Path) -> Result<Vec<Restored>, Error> {
    let mut rows = Vec::new();
    for SetAside { path, identity, reason } in invalid::files(sources, directory).await? {
        let Some(reason) = reason else { continue };
        let Some(Ok(lfn)) = reason["lfn"].as_str().map(Lfn::try_from) else { continue };
        let known = match &sources.ledger {
            Some(ledger) => ledger.by_lfn(lfn.as_str()).await?.is_some(),
            None => false,
        };
        // a file of that name may have been delivered in its place: its trigger or Rucio says so
        if known || in_use(sources, &lfn).await? {
            continue;
        }
        let first = &reason["reasons"][0];
        let word = |key: &str| first[key].as_str().unwrap_or("unknown").to_owned();
        rows.push(Restored {
            lfn,
            state: State::Rejected,
            identity,
            contents: None,
            metadata: None,
            valid_fits_checksum: None,
            trigger: false,
            on_site_rule: None,
            further_copies_rule: None,
            earlier_further_copies_rule: None,
            invalid_path: Some(path.to_string_lossy().into_owned()),
            reason: Some((word("code"), word("message"))),
        });
    }
    Ok(rows)
}

async fn in_use(sources: &Sources, lfn: &Lfn) -> Result<bool, Error> {
    match sources.rucio.did(&lfn.did()).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == Kind::NotFound => {
            let trigger = crate::engine::triggers::trigger_path(lfn);
            Ok(sources.data.stat(&trigger)?.is_some())
        }
        Err(error) => Err(error.into()),
    }
}
