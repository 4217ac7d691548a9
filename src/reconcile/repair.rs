//! Mending what can be mended without deciding anything: nothing here removes data.

use crate::custody::invariants::trigger_may_go;
use crate::custody::{HoldCode, State};
use crate::datadir;
use crate::engine::triggers::trigger_path;
use crate::names::Lfn;
use crate::reading::Reading;

use super::finding::{Finding, Repair};
use super::gather;
use super::judge::{Facts, OnDisk, findings_about};
use super::rebuild::{Restoration, restoration};
use super::sources::{Error, Options, Sources, examine};

/// What became of a repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// It is done.
    Done,
    /// It was left alone, and why.
    Not(String),
}

fn not(why: impl Into<String>) -> Repaired {
    Repaired::Not(why.into())
}

/// Carries out what a finding proposes, if a third look finds the same.
pub async fn repair(sources: &Sources, options: Options, finding: &Finding) -> Result<Repaired, Error> {
    let (Some(proposed), Ok(name)) = (finding.repair, Lfn::try_from(finding.file.as_str())) else {
        return Ok(not("nothing safe can be done about it"));
    };
    // of this file alone: another repair may have come before, and took its time
    let background = gather::Background::default();
    let Some(facts) = gather::facts_of(sources, &background, &name).await? else {
        return Ok(not("it is gone meanwhile"));
    };
    if !findings_about(&facts, options.yardstick()).contains(finding) {
        return Ok(not("it has changed meanwhile"));
    }
    match proposed {
        Repair::RemoveTrigger => remove_trigger(sources, &facts, &name).await,
        Repair::MakeTrigger => make_trigger(sources, &facts, name).await,
        Repair::Restore => restore(sources, &facts).await,
    }
}

async fn remove_trigger(sources: &Sources, facts: &Facts, name: &Lfn) -> Result<Repaired, Error> {
    let Some(row) = &facts.row else { return Ok(not("the ledger does not know it")) };
    if let Err(violation) = trigger_may_go(row.state, row.on_site_rule.as_deref()) {
        // the daemon, which counts them, is another process; the breaker is for both
        if let Some(ledger) = &sources.ledger {
            ledger.trip(HoldCode::Invariant.as_str(), &violation.to_string(), Some(&row.lfn)).await?;
        }
        return Ok(not(violation.to_string()));
    }
    // Rucio was asked since: a trigger that was made anew meanwhile announces something that nobody has seen
    let trigger = trigger_path(name);
    let file = sources.data.stat(name.relative())?.map(|stat| datadir::identity(&stat));
    let made = sources.data.stat(&trigger)?.map(|stat| gather::changed_at(&stat));
    if file != facts.disk.and_then(OnDisk::identity) || made != facts.trigger {
        return Ok(not("it has changed meanwhile"));
    }
    sources.data.remove_trigger(&trigger)?;
    sources.data.sync_beside(name.relative())?;
    Ok(Repaired::Done)
}

async fn make_trigger(sources: &Sources, facts: &Facts, name: Lfn) -> Result<Repaired, Error> {
    let Some(found) = facts.disk.and_then(OnDisk::identity) else { return Ok(not("it is no plain file")) };
    match examine(sources, name.clone(), found).await {
        Reading::Read(report) if report.accepted() => {
            sources.data.make_trigger(name.relative())?;
            Ok(Repaired::Done)
        }
        Reading::Read(report) => {
            let reasons: Vec<&str> = report.reasons.iter().map(|reason| reason.message.as_str()).collect();
            Ok(not(format!("it is not sound: {}", reasons.join("; "))))
        }
        Reading::Failed(why) => Ok(not(why)),
        Reading::Changed(_) | Reading::Missing | Reading::Cancelled => Ok(not("it changed while it was read")),
    }
}

async fn restore(sources: &Sources, facts: &Facts) -> Result<Repaired, Error> {
    let Some(ledger) = &sources.ledger else { return Ok(not("there is no ledger")) };
    match restoration(sources, facts).await? {
        Restoration::Custody(restored) if restored.state == State::Held => {
            Ok(not(restored.reason.map_or_else(String::new, |(_, reason)| reason)))
        }
        Restoration::Custody(restored) => {
            ledger.restore(std::slice::from_ref(restored.as_ref())).await?;
            Ok(Repaired::Done)
        }
        Restoration::Leave { why, .. } => Ok(not(why)),
    }
}
