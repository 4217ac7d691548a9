//! What others did to one of our rules: reported once, and mended where that is safe.
//!
//! A rule that was given an end loses it, one that is stuck is boosted. One that is suspended was stopped by a person, or by
//! Rucio after two weeks of failures: its files wait, and `why` says so. One that was removed is placed again by its own file.

use std::collections::BTreeSet;

use crate::custody::RuleStanding;
use crate::engine::{Context, StageError};
use rucio_client::{Kind, LockState};

/// Reports how a rule was found, unless that is known. `what` it is for; `name` of its file or dataset.
pub(super) async fn report(context: &Context, what: &str, rule: &str, name: &str, standing: RuleStanding) {
    let reported = &context.memory.reported;
    let (found, then) = match standing {
        RuleStanding::Sound => {
            reported.all_is_well(rule);
            return;
        }
        RuleStanding::Stuck => ("is STUCK: its transfers failed", "it is boosted; 'dl0-ingest why' tells more"),
        RuleStanding::Suspended => ("is SUSPENDED", "its files wait; set it to STUCK in Rucio when they may go on"),
        RuleStanding::Ending => {
            ("was given an end by somebody", "the end is taken away; to keep files, use dl0-ingest hold")
        }
        RuleStanding::Gone => ("was removed by somebody", "it is placed again"),
    };
    if reported.has_changed(rule, standing.as_str()) {
        context.metrics.rule_trouble(standing.as_str());
        if !context.memory.troubles.is_first(&format!("the rule of {what} {found}"), &format!("rule {rule}")) {
            return;
        }
        let at = if standing == RuleStanding::Stuck { stuck_at(context, rule).await } else { String::new() };
        tracing::warn!(rule_id = rule, name, trouble = standing.as_str(), "the rule of {what} {found}{at}; {then}");
    }
}

/// Where the transfers of a rule fail, in words; nothing if Rucio does not say.
async fn stuck_at(context: &Context, rule: &str) -> String {
    let locks = context.rucio.rule_locks(rule).await.unwrap_or_default();
    let stuck = locks.into_iter().filter(|lock| lock.state == LockState::Stuck).map(|lock| lock.rse);
    let rses: Vec<String> = stuck.collect::<BTreeSet<_>>().into_iter().collect();
    if rses.is_empty() { String::new() } else { format!(" at {}", rses.join(", ")) }
}

/// Does what can be done for a rule that is there. `true`: there is none.
pub(super) async fn repair(context: &Context, rule: &str, standing: RuleStanding) -> Result<bool, StageError> {
    let done = match standing {
        RuleStanding::Gone => return Ok(true),
        RuleStanding::Ending => context.rucio.keep_rule(rule).await,
        RuleStanding::Stuck if context.memory.boosts.is_due(rule) => {
            context.metrics.rule_boosted();
            context.rucio.boost_rule(rule).await
        }
        RuleStanding::Sound | RuleStanding::Suspended | RuleStanding::Stuck => return Ok(false),
    };
    match done {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == Kind::NotFound => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// A rule that cannot be mended now is reported once.
pub(super) fn later(context: &Context, what: &'static str, name: &str, error: &StageError) {
    let kind = format!("the rule of {what} cannot be mended");
    if context.memory.reported.is_news(name, what) && context.memory.troubles.is_first(&kind, name) {
        tracing::warn!(name, "the rule of {what} cannot be mended now, trying again: {error}");
    }
}
