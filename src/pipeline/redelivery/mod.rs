//! Second deliveries of registered files: identical content is fine, other content is held (invariant I7).

mod rescue;

use std::time::Duration;

use crate::custody::invariants::same_content;
use crate::custody::{Contents, HoldCode, State};
use crate::engine::triggers::remove_left_triggers;
use crate::engine::{Context, StageError, blocking, job};
use crate::ledger::Redelivery;
use crate::reading::{Reading, contents, read_once};

/// Between two looks at the queue, which is nearly always empty.
const POLL: Duration = Duration::from_secs(2);
/// Compared in one go.
const BATCH: i64 = 64;
/// The reaper may be at work on the name meanwhile.
const MOST_PATIENCE: Duration = Duration::from_secs(30);

/// Runs until shutdown.
pub async fn run(context: Context) {
    loop {
        context.health.heartbeat("redelivery");
        job::pause(&context, POLL).await;
        if context.shutdown.is_cancelled() {
            break;
        }
        let done = async {
            compare_due(&context).await?;
            remove_left_triggers(&context).await
        };
        match job::alive(&context.health, "redelivery", done).await {
            Ok(()) => context.memory.reported.job_works("redelivery"),
            Err(error) => context.memory.reported.job_fails("redelivery", &error.to_string()),
        }
    }
    context.health.retire("redelivery");
}

async fn compare_due(context: &Context) -> Result<(), StageError> {
    for redelivery in context.ledger.redeliveries(BATCH).await? {
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
                // one that cannot be dealt with keeps no other waiting
                if let Err(error) = compare(context, &redelivery).await {
                    let lfn = &redelivery.row.lfn;
                    let is_news = context.memory.reported.is_news(lfn, "second delivery");
                    if is_news && context.memory.troubles.is_first("a second delivery cannot be compared", lfn) {
                        tracing::warn!(
                            lfn = redelivery.row.lfn,
                            "the second delivery waits, and is tried again: {error}"
                        );
                    }
                    context.ledger.redelivery_later(&redelivery.row, patience(context)).await?;
                }
            }
            State::Discovered | State::Verified | State::Rejected => {
                let why = "the file is being verified anyway";
                context.ledger.redelivery_settled(&redelivery.row, "delivered-again-moot", why).await?;
            }
        }
    }
    Ok(())
}

/// Until a comparison that did not succeed is tried again.
fn patience(context: &Context) -> Duration {
    context.config().retry.max.min(MOST_PATIENCE)
}

async fn compare(context: &Context, redelivery: &Redelivery) -> Result<(), StageError> {
    let row = &redelivery.row;
    let (data, name, identity, options) =
        (context.data.clone(), row.name()?, redelivery.identity, context.reading_options());
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
                    other_content(context, redelivery, &contents(&report), &reason).await?;
                }
            }
        }
        Reading::Changed(found) => {
            context.ledger.redelivery_changed(row, found).await?;
        }
        Reading::Missing if row.state == State::Releasing && rescue::finish(context, redelivery).await? => {
            let why = "other content, which was moved into invalid/ before a stop";
            context.ledger.redelivery_settled(row, "delivered-again-different", why).await?;
        }
        Reading::Missing => {
            if matches!(row.state, State::Releasing | State::Released) {
                tracing::error!(lfn = row.lfn, "what was delivered again vanished before it could be compared");
            }
            context.ledger.redelivery_settled(row, "delivered-again-vanished", "the file is gone again").await?;
        }
        Reading::Failed(reason) => {
            tracing::warn!(lfn = row.lfn, "cannot compare the second delivery: {reason}");
            context.ledger.redelivery_later(row, patience(context)).await?;
        }
        Reading::Cancelled => {}
    }
    Ok(())
}

/// Other content under a registered name: held, or moved away from under the reaper's hands. Settled only when that is done.
async fn other_content(
    context: &Context,
    redelivery: &Redelivery,
    delivered: &Contents,
    reason: &str,
) -> Result<(), StageError> {
    let row = &redelivery.row;
    match row.state {
        State::Held => {}
        State::Releasing => rescue::from_deletion(context, redelivery, delivered, reason).await?,
        _ => {
            if !context.ledger.hold(row, HoldCode::OtherContent, reason).await? {
                // the file moved on while it was compared: the next look sees it where it is now
                return Ok(context.ledger.redelivery_later(row, POLL).await?);
            }
            tracing::error!(lfn = row.lfn, code = HoldCode::OtherContent.as_str(), "file held: {reason}");
        }
    }
    Ok(context.ledger.redelivery_settled(row, "delivered-again-different", reason).await?)
}
