//! Second deliveries of registered files: identical content is fine, other content is held (invariant I7).

use std::time::Duration;

use crate::custody::State;
use crate::custody::invariants::same_content;
use crate::ledger::Redelivery;

use super::verify::{Reading, contents, options, read_once};
use super::{Context, StageError, blocking, register, set_aside};

/// Between two looks at the queue, which is nearly always empty.
const POLL: Duration = Duration::from_secs(2);
/// Compared in one go.
const BATCH: i64 = 64;

/// Runs until shutdown.
pub async fn run(context: Context) {
    let mut trouble = super::runner::Trouble::default();
    loop {
        context.health.heartbeat("redelivery");
        super::runner::pause(&context, POLL).await;
        if context.shutdown.is_cancelled() {
            break;
        }
        let done = async {
            compare_due(&context).await?;
            register::remove_left_triggers(&context).await
        };
        match done.await {
            Ok(()) => trouble.over("redelivery"),
            Err(error) => trouble.say("redelivery", &error.to_string()),
        }
    }
    context.health.retire("redelivery");
}

async fn compare_due(context: &Context) -> Result<(), StageError> {
    for redelivery in context.ledger.redeliveries(BATCH).await? {
        context.health.heartbeat("redelivery");
        if context.shutdown.is_cancelled() {
            break;
        }
        match redelivery.row.state {
            State::Releasing
            | State::Registered
            | State::Replicated
            | State::Confirmed
            | State::Released
            | State::Held => {
                compare(context, &redelivery).await?;
            }
            State::Discovered | State::Verified | State::Rejected => {
                let why = "the file is being verified anyway";
                context.ledger.redelivery_settled(&redelivery.row, "delivered-again-moot", why).await?;
            }
        }
    }
    Ok(())
}

async fn compare(context: &Context, redelivery: &Redelivery) -> Result<(), StageError> {
    let row = &redelivery.row;
    let (data, name, identity, options) = (context.data.clone(), row.name()?, redelivery.identity, options(context));
    let reading = blocking(move || read_once(&data, &name, identity, &options)).await;
    match reading {
        Reading::Read(report) => {
            context.metrics.bytes_read(report.fixity.bytes);
            match same_content(&row.contents()?, &contents(&report)) {
                // on its way out with its old copy; the road begins again when that is settled
                Ok(()) if row.release_ordered_at.is_some() && row.state == State::Releasing => {
                    context.ledger.redelivery_later(row, POLL).await?;
                }
                Ok(()) if row.state == State::Held => {
                    let why = "identical content, but the file is held";
                    context.ledger.redelivery_settled(row, "delivered-again-held", why).await?;
                }
                Ok(()) => {
                    if context.ledger.redelivery_identical(redelivery).await? {
                        tracing::info!(lfn = row.lfn, state = %row.state, "delivered again with identical content");
                        context.wake(State::Verified);
                    }
                }
                Err(violation) => {
                    let reason = format!("delivered again with other content: {}", violation.why);
                    other_content(context, redelivery, &reason).await?;
                }
            }
        }
        Reading::Changed(found) => {
            context.ledger.redelivery_changed(row, found).await?;
        }
        Reading::Missing => {
            if matches!(row.state, State::Releasing | State::Released) {
                tracing::error!(lfn = row.lfn, "what was delivered again vanished before it could be compared");
            }
            context.ledger.redelivery_settled(row, "delivered-again-vanished", "the file is gone again").await?;
        }
        Reading::Failed(reason) => {
            tracing::warn!(lfn = row.lfn, "cannot compare the second delivery: {reason}");
            context.ledger.redelivery_later(row, Duration::from_secs(30)).await?;
        }
        Reading::Cancelled => {}
    }
    Ok(())
}

/// Other content under a registered name: held, or moved away from under the reaper's hands. Settled only when that is done.
async fn other_content(context: &Context, redelivery: &Redelivery, reason: &str) -> Result<(), StageError> {
    let row = &redelivery.row;
    match row.state {
        State::Held => {}
        State::Releasing => set_aside::save_from_deletion(context, row, redelivery.identity, reason).await?,
        _ => {
            if !context.ledger.hold(row, "other-content", reason).await? {
                // the file moved on while it was compared: the next look sees it where it is now
                return Ok(context.ledger.redelivery_later(row, POLL).await?);
            }
            tracing::error!(lfn = row.lfn, code = "other-content", "file held: {reason}");
        }
    }
    Ok(context.ledger.redelivery_settled(row, "delivered-again-different", reason).await?)
}
