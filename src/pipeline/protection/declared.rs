//! On-site replicas that were declared bad, by a person or by one of Rucio's own tools.
//!
//! Rucio takes a declaration for the truth. Within a minute its necromancer has another copy copied over the file, or, if there
//! is none, gives the file up as lost: all its locks go, whatever rules stand, and the reaper deletes what lies on disk. So
//! declarations are asked for often. A file that reads as it was verified is not bad, and the declaration is taken back.

use std::time::Duration;

use crate::config::Config;
use crate::custody::invariants::{Violation, same_content};
use crate::custody::{HoldCode, State, in_millis};
use crate::engine::{Context, StageError, blocking, job};
use crate::ledger::{FileRow, now};
use crate::look::on_disk;
use crate::reading::{Reading, contents, read_once};
use crate::rules::find;
use crate::rules::on_site::order_beside;
use rucio_client::{Declared, Did};

/// The longest time between two questions. The necromancer rests for a minute.
const REST_MAX: Duration = Duration::from_secs(20);
/// Declarations are of interest for so long: what Rucio has given up for longer is deleted.
const OF_INTEREST: Duration = Duration::from_hours(24);

/// Runs until shutdown.
pub async fn run(context: Context) {
    let rest = |config: &Config| config.confirm.poll.min(REST_MAX);
    job::rounds(&context, "declared", rest, || check(&context)).await;
}

async fn check(context: &Context) -> Result<(), StageError> {
    if !context.ledger.any_protected().await? {
        return Ok(());
    }
    let since = jiff::Timestamp::from_millisecond(now() - in_millis(OF_INTEREST)).unwrap_or_default();
    let since = since.strftime("%Y-%m-%dT%H:%M:%S.0").to_string();
    let mut trouble = None;
    for bad in context.rucio.bad_replicas(&context.config().onsite_rse, &since).await? {
        if !matches!(bad.declared, Declared::Bad | Declared::Lost) {
            continue;
        }
        let Some(row) = protected(context, &bad.did).await? else { continue };
        match look_after(context, &row, bad.declared).await {
            Err(error) if context.leaves_others(&error) => trouble = trouble.or(Some(error)),
            done => done?,
        }
    }
    trouble.map_or(Ok(()), Err)
}

/// The file, if it is one of ours that is still needed on site.
async fn protected(context: &Context, did: &Did) -> Result<Option<FileRow>, StageError> {
    let Some(row) = context.ledger.by_lfn(&did.name).await?.filter(|row| row.did() == *did) else { return Ok(None) };
    let Some(rule) = &row.on_site_rule else { return Ok(None) };
    Ok(context.ledger.protected_by(row.id, rule).await?)
}

async fn look_after(context: &Context, row: &FileRow, declared: Declared) -> Result<(), StageError> {
    // once it is held again, by us or after Rucio's administrators undid it, that it was given up is history
    if declared == Declared::Lost && is_held_in_rucio(context, row).await? {
        return Ok(());
    }
    let rse = &context.config().onsite_rse;
    let news = || context.memory.reported.is_news(&row.lfn, "declared bad");
    match read(context, row).await? {
        // whoever looks at the file next finds that
        None => return Ok(()),
        Some(Ok(())) => {}
        Some(Err(violation)) => {
            let reason =
                format!("its replica at {rse} was declared bad, and the file on site differs: {}", violation.why);
            if row.state != State::Held {
                context.hold(row, HoldCode::Changed, &reason).await?;
            } else if news() {
                tracing::error!(lfn = row.lfn, "a file that is held: {reason}");
            }
            return Ok(());
        }
    }
    context.rucio.replica_is_available(rse, &row.did()).await?;
    if news() {
        context.metrics.rule_trouble("declared-bad");
    }
    if declared == Declared::Bad {
        tracing::error!(
            lfn = row.lfn,
            rse,
            "the on-site replica was declared bad by somebody, for which Rucio would have deleted or overwritten the file; it \
             reads as it was verified, and the declaration is taken back. To keep files, use dl0-ingest hold"
        );
        return Ok(());
    }
    let held_by = match order_beside(context, row).await? {
        Some(rule) => format!("rule {rule} keeps the reaper away from it"),
        None => "the reaper may delete it at any moment".to_owned(),
    };
    let reason = format!(
        "its replica at {rse} was declared bad, and Rucio has given the file up as LOST; it is on site as it was verified, and \
         {held_by}. Save it, and have Rucio's administrators set it AVAILABLE again in their database, or deliver it under \
         another name"
    );
    if row.state != State::Held {
        return context.hold(row, HoldCode::Unprotected, &reason).await;
    }
    Ok(())
}

/// Whether the rule on record has the lock that keeps the reaper away.
async fn is_held_in_rucio(context: &Context, row: &FileRow) -> Result<bool, StageError> {
    let Some(rule) = &row.on_site_rule else { return Ok(false) };
    Ok(find(context, rule).await?.is_some_and(|rule| rule.locks_ok > 0))
}

/// Whether the file on site reads as it was verified; `None` if nothing can be said now.
async fn read(context: &Context, row: &FileRow) -> Result<Option<Result<(), Violation>>, StageError> {
    let Some(there) = on_disk(context, row).await? else { return Ok(None) };
    let (data, name, options) = (context.data.clone(), row.name()?, context.reading_options());
    match blocking(move || read_once(&data, &name, there, &options)).await {
        Reading::Read(report) => {
            context.metrics.bytes_read(report.fixity.bytes);
            Ok(Some(same_content(&row.contents()?, &contents(&report))))
        }
        Reading::Changed(_) | Reading::Missing | Reading::Cancelled => Ok(None),
        Reading::Failed(reason) => Err(StageError::Wait(reason)),
    }
}
