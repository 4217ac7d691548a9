//! Replicated → Confirmed: evidence for every copy, at two looks at least the hold time apart.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::config::Config;
use crate::custody::{Doubt, Evidence, HoldCode, KeepReason, State, in_millis};
use crate::engine::{Context, Pace, Stage, StageError, hold_unless_on_site};
use crate::ledger::{FileRow, Postpone, now};
use crate::look::read_back::{self, Unread};
use crate::look::{self, Looks};
use crate::rules;

const UNREAD: &str = "not read back";
const TURN: &str = "its turn to have its copies read back";

/// Gathers evidence.
#[derive(Default)]
pub struct Confirm {
    /// Whoever reads copies back, which may take long.
    reading: Mutex<()>,
}

impl Stage for Confirm {
    const NAME: &'static str = "confirm";
    const STATE: State = State::Replicated;
    const NEEDS_RUCIO: bool = true;

    fn parallel(&self, _config: &Config) -> usize {
        // one may be reading copies back
        2
    }

    async fn work(&self, context: &Context, rows: Vec<FileRow>) -> Result<(), StageError> {
        let Looks { copies, rules } = look::off_site_copies(context, &rows).await?;
        rules::mend(context, &rules).await?;
        let sites = rules.offsite.known_sites();
        let (mut waiting, mut sampled) = (Vec::new(), Vec::new());
        for (row, found) in rows.into_iter().zip(copies) {
            match found {
                Ok(evidence) if seen(context, &row, &evidence, &sites, &mut waiting).await? => {
                    if read_back::is_wanted(context, &row)? {
                        sampled.push((row, evidence));
                    } else {
                        confirmed(context, &row, &evidence).await?;
                    }
                }
                Ok(_) => {}
                Err(doubt) => unseen(context, &row, doubt, &sites, &mut waiting).await?,
            }
        }
        context.ledger.postpone(&waiting).await?;
        // what takes long comes last, so that no other file waits for it
        match self.reading.try_lock() {
            _ if sampled.is_empty() => Ok(()),
            Ok(_reading) => read_back_each(context, sampled).await,
            Err(_) => {
                let wait = |(row, _): (FileRow, Evidence)| later(context, &row, TURN.to_owned());
                Ok(context.ledger.postpone(&sampled.into_iter().map(wait).collect::<Vec<_>>()).await?)
            }
        }
    }
}

/// Once a storage does not deliver, the others of the sample wait: each would wait as long for nothing. Those that failed
/// before come last, so that what is wrong with one file keeps no other from being read.
async fn read_back_each(context: &Context, mut sampled: Vec<(FileRow, Evidence)>) -> Result<(), StageError> {
    sampled.sort_by_key(|(row, _)| row.copies_unreadable);
    let mut silent = false;
    for (row, evidence) in sampled {
        let read = if silent {
            Err(Doubt::Unknown("the storages, which did not deliver another file just now".to_owned()).into())
        } else {
            read_back::read(context, &row, &evidence).await?
        };
        match read {
            Ok(found) => {
                context.ledger.remark(&row, "read-back", &found.to_string()).await?;
                context.memory.reported.is_over(&row.lfn, UNREAD);
                confirmed(context, &row, &evidence).await?;
            }
            Err(Unread { doubt: Doubt::Contradiction(reason), .. }) => {
                context.hold(&row, HoldCode::Evidence, &reason).await?;
            }
            Err(Unread { doubt, own, silent: now_silent }) => {
                let reason = doubt.reason().to_owned();
                let is_news = !context.shutdown.is_cancelled() && context.memory.reported.is_news(&row.lfn, UNREAD);
                if is_news && context.memory.troubles.is_first("a copy cannot be read back", &row.lfn) {
                    tracing::warn!(lfn = row.lfn, "the file waits to be confirmed, and is tried again: {reason}");
                }
                silent |= now_silent;
                let wait = later(context, &row, reason);
                if own {
                    context.ledger.postpone_unreadable(wait).await?;
                } else {
                    context.ledger.postpone(&[wait]).await?;
                }
            }
        }
    }
    Ok(())
}

/// All copies are proven now: the first time, or (`true`) long enough after it.
async fn seen(
    context: &Context,
    row: &FileRow,
    evidence: &Evidence,
    sites: &BTreeMap<String, String>,
    waiting: &mut Vec<Postpone>,
) -> Result<bool, StageError> {
    let config = context.config().confirm;
    let Some(first) = look::first_look(row, sites)? else {
        context.remember_first_look(row, evidence).await?;
        tracing::info!(lfn = row.lfn, copies = evidence.copies().len(), "off-site copies proven, first look");
        return Ok(false);
    };
    match evidence.stands_since(&first, context.config().offsite.copies) {
        Ok(()) => {}
        Err(KeepReason::SeenOnce { .. }) => return context.remember_first_look(row, evidence).await.map(|()| false),
        // more copies are required than when the look began
        Err(reason @ (KeepReason::Undecided { .. } | KeepReason::TooFewSites { .. })) => {
            waiting.push(later(context, row, reason.to_string()));
            return Ok(false);
        }
        Err(reason) => return context.hold(row, HoldCode::Evidence, &reason.to_string()).await.map(|()| false),
    }
    let due = first.at + in_millis(config.hold);
    if evidence.at() < due {
        let delay = Duration::from_millis(u64::try_from(due - now()).unwrap_or(0));
        let waits_for = "the hold time between the two looks".to_owned();
        waiting.push(Postpone { id: row.id, delay, waits_for, failed: false });
        return Ok(false);
    }
    Ok(true)
}

async fn confirmed(context: &Context, row: &FileRow, evidence: &Evidence) -> Result<(), StageError> {
    if context.ledger.confirmed(row, &serde_json::json!(evidence).to_string()).await? {
        tracing::info!(lfn = row.lfn, "off-site copies proven again, file confirmed");
        context.wake(State::Confirmed);
    }
    Ok(())
}

async fn unseen(
    context: &Context,
    row: &FileRow,
    doubt: Doubt,
    sites: &BTreeMap<String, String>,
    waiting: &mut Vec<Postpone>,
) -> Result<(), StageError> {
    match doubt {
        Doubt::Contradiction(reason) => context.hold(row, HoldCode::Evidence, &reason).await,
        doubt if look::has_regressed(row, &doubt, sites)? => {
            context.hold(row, HoldCode::Evidence, &look::regressed(&doubt)).await
        }
        Doubt::NotYet(_) | Doubt::TooFew { .. } | Doubt::Unheld { .. }
            if !hold_unless_on_site(context, row, look::as_registered(context, row).await?).await? =>
        {
            Ok(())
        }
        doubt => {
            waiting.push(later(context, row, doubt.reason().to_owned()));
            Ok(())
        }
    }
}

fn later(context: &Context, row: &FileRow, waits_for: String) -> Postpone {
    let delay = Pace::of_copies(&context.config()).after(row.state_since);
    Postpone { id: row.id, delay, waits_for, failed: false }
}
