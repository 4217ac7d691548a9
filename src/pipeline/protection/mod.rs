//! The rules that keep Rucio's reaper from files that are still needed on site: do they all stand?
//!
//! One list of all of them, now and then, instead of a question for each file. Rucio carries an end that somebody asked for
//! out after an hour.

pub mod declared;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::config::Config;
use crate::custody::State;
use crate::engine::{Context, StageError, job};
use crate::ledger::UNSIGNED;
use crate::rules::{OwnLedgers, Survey, in_the_way, on_site, standing};

/// The longest time between two lists; shorter if evidence is looked at more often.
const REST_MAX: Duration = Duration::from_mins(10);
/// Looks at a file's copies, for one list.
const LOOKS: u32 = 10;

/// Runs until shutdown.
pub async fn run(context: Context) {
    let rest = |config: &Config| (config.confirm.poll_max * LOOKS).min(REST_MAX);
    let begun = AtomicBool::new(false);
    job::rounds(&context, "protection", rest, || check(&context, &begun)).await;
}

async fn check(context: &Context, begun: &AtomicBool) -> Result<(), StageError> {
    // once at the start in any case: another ledger's rules are there whatever this one has
    if !context.ledger.any_protected().await? && begun.load(Ordering::Relaxed) {
        return Ok(());
    }
    // the list first: a file that is registered meanwhile is asked for by itself, and is all right
    let survey = Survey::of(&context.rucio, &context.config().onsite_rse).await?;
    tell_of_others(context, &survey).await?;
    begun.store(true, Ordering::Relaxed);
    let mut trouble = None;
    for (id, rule) in context.ledger.protected().await? {
        if survey.stands(&rule) == Some(true) {
            continue;
        }
        if context.shutdown.is_cancelled() {
            break;
        }
        match look_after(context, id, &rule).await {
            // a file that cannot be protected now leaves no other unprotected
            Err(error) if context.leaves_others(&error) => {
                let is_news = context.memory.reported.is_news(&format!("mending {rule}"), "unmended");
                if is_news && context.memory.troubles.is_first("the rule of an on-site copy cannot be mended", &rule) {
                    tracing::warn!(
                        rule_id = rule,
                        "the rule of an on-site copy cannot be mended; trying again: {error}"
                    );
                }
                trouble = trouble.or(Some(error));
            }
            done => done?,
        }
    }
    trouble.map_or(Ok(()), Err)
}

/// Rules on site that other ledgers' daemons have placed. Those that name none are ours if they are on record, and are met
/// one by one if not.
async fn tell_of_others(context: &Context, survey: &Survey) -> Result<(), StageError> {
    let ours = OwnLedgers::of(&context.ledger).await?;
    let others: Vec<(&String, &u64)> =
        survey.signed().iter().filter(|(ledger, _)| !ours.include(ledger) && *ledger != UNSIGNED).collect();
    let words =
        |(ledger, rules): &(&String, &u64)| format!("{rules} rules on site are not ours: {}", in_the_way(ledger));
    for other in &others {
        if context.memory.reported.is_news("rules of other ledgers", other.0) {
            tracing::error!(ledger = other.0, "{}", words(other));
        }
    }
    context.health.notices("protection", others.iter().map(|other| ("other ledgers".to_owned(), words(other))));
    Ok(())
}

/// One rule that may not be as it was placed.
async fn look_after(context: &Context, id: i64, rule: &str) -> Result<(), StageError> {
    let found = standing(context, rule).await?;
    // it may be on its way out by now, and its rule with it
    let Some(row) = context.ledger.protected_by(id, rule).await? else { return Ok(()) };
    if row.state == State::Releasing {
        // whoever carries the release out knows whether this is its own doing
        if found.is_ending() && context.ledger.hasten_interrupted(&row).await? {
            context.wake(State::Releasing);
        }
        return Ok(());
    }
    on_site::mend(context, &row, rule, found).await
}
