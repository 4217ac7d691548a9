//! `hold` and `release-hold`: operators keep on-site copies, and let them go again.

use std::io::Write;
use std::path::Path;

use clap::Args;

use super::exit::{Exit, Failure};
use super::ledger::{Reader, lfn_of};
use super::operator::{Reason, change};
use super::why::unknown;
use crate::custody::brakes::Target;
use crate::ledger::TooLate;
use crate::telemetry::human;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// LFNs or paths of files, or datasets as scope:name
    #[arg(value_name = "LFN|PATH|DATASET", required_unless_present = "all", conflicts_with = "all")]
    targets: Vec<String>,
    /// Everything
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    reason: Reason,
}

/// Places holds.
pub(super) fn place(arguments: &Arguments, config: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    let operator = arguments.reason.signed();
    let placed = change(config, |opened| async move {
        let mut placed = Vec::new();
        for target in targets(arguments, &opened).await? {
            let late = opened.ledger.place_hold(&target, &operator).await?;
            placed.push((target, late));
        }
        Ok(placed)
    })?;
    let mut exit = Exit::Good;
    for (target, TooLate { ordered, perhaps, gone }) in placed {
        if gone > 0 && matches!(target, Target::File(_)) {
            writeln!(out, "{target}: too late, it has left the site; it is held if it is delivered again")?;
            exit = Exit::Bad;
            continue;
        }
        writeln!(out, "{target}: held, the on-site copies stay until release-hold")?;
        if gone > 0 && matches!(target, Target::Dataset(_)) {
            writeln!(out, "  {} left the site before", human::count(gone, "file"))?;
        }
        if ordered > 0 {
            writeln!(out, "  too late for {}, whose release is ordered already", human::count(ordered, "file"))?;
        }
        if perhaps > 0 {
            let see = "dl0-ingest list --state releasing";
            writeln!(out, "  perhaps too late for {} on the way out just now: {see}", human::count(perhaps, "file"))?;
        }
        if ordered + perhaps > 0 {
            exit = Exit::Bad;
        }
    }
    Ok(exit)
}

/// Lifts holds.
pub(super) fn lift(arguments: &Arguments, config: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    let operator = arguments.reason.signed();
    let lifted = change(config, |opened| async move {
        let mut lifted = Vec::new();
        for target in targets(arguments, &opened).await? {
            let was_held = opened.ledger.lift_hold(&target, &operator).await?;
            lifted.push((target, was_held));
        }
        Ok(lifted)
    })?;
    let mut exit = Exit::Good;
    for (target, was_held) in lifted {
        if was_held {
            writeln!(out, "{target}: the hold is lifted")?;
        } else {
            writeln!(out, "{target}: there is no hold on exactly that, see dl0-ingest status")?;
            exit = Exit::Bad;
        }
    }
    Ok(exit)
}

/// What is meant; all of it is known before anything is changed.
async fn targets(arguments: &Arguments, opened: &Reader) -> Result<Vec<Target>, Failure> {
    if arguments.all {
        return Ok(vec![Target::All]);
    }
    let mut targets = Vec::new();
    for given in &arguments.targets {
        let is_did = given.split_once(':').is_some_and(|(scope, name)| !scope.contains('/') && name.starts_with('/'));
        if is_did {
            if !opened.ledger.has_dataset(given).await? {
                return Err(Failure::bad(format!("no file of a dataset {given} is on record")));
            }
            targets.push(Target::Dataset(given.clone()));
            continue;
        }
        let lfn = lfn_of(&opened.config, given)?;
        if opened.ledger.by_lfn(lfn.as_str()).await?.is_none() {
            return Err(unknown(opened, &lfn).await?.into_failure());
        }
        targets.push(Target::File(lfn.as_str().to_owned()));
    }
    Ok(targets)
}
