//! Second deliveries of registered files: identical content is fine, other content is held (invariant I7).

use std::time::Duration;

use crate::custody::State;
use crate::custody::invariants::same_content;
use crate::ledger::Redelivery;

use super::verify::{Reading, contents, options, read_once};
use super::{Context, StageError, blocking, register};

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
        if context.shutdown.is_cancelled() {
            break;
        }
        match redelivery.row.state {
            // on its way out with its old copy; what was delivered is compared when that is settled
            State::Releasing => context.ledger.redelivery_later(&redelivery.row, POLL).await?,
            State::Registered | State::Replicated | State::Confirmed | State::Released | State::Held => {
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
                    context.ledger.redelivery_settled(row, "delivered-again-different", &reason).await?;
                    if row.state != State::Held && context.ledger.hold(row, "other-content", &reason).await? {
                        tracing::error!(lfn = row.lfn, "file held: {reason}");
                    }
                }
            }
        }
        // intake sees the trigger again when its file is settled
        Reading::Changed(found) => {
            context.ledger.redelivery_changed(row, found).await?;
        }
        Reading::Missing => {
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
