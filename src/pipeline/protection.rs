//! The rules that keep Rucio's reaper from files that are still needed on site: do they all stand?
//!
//! One list of all of them, now and then, instead of a question for each file. Rucio carries an end that somebody asked for
//! out after an hour.

use std::time::Duration;

use crate::config::Config;
use crate::custody::State;
use crate::ledger::FileRow;
use crate::rucio::{ReplicaQuery, ReplicaState};
use crate::survey::Survey;

use super::look::{UNTRUE_LIST, is_known};
use super::our_rules::Standing;
use super::{Context, StageError, mend, register, runner};

/// The longest time between two lists; shorter if evidence is looked at more often.
const REST_MAX: Duration = Duration::from_mins(10);
/// Looks at a file's copies, for one list.
const LOOKS: u32 = 10;
/// What a file waits for whose release was decided when somebody ended its rule.
pub(super) const RESTORED: &str = "a rule that protects the on-site copy again: somebody had ended it";

/// Runs until shutdown.
pub async fn run(context: Context) {
    let rest = |config: &Config| (config.confirm.poll_max * LOOKS).min(REST_MAX);
    runner::rounds(&context, "protection", rest, || check(&context)).await;
}

async fn check(context: &Context) -> Result<(), StageError> {
    if !context.ledger.any_protected().await? {
        return Ok(());
    }
    // the list first: a file that is registered meanwhile is asked for by itself, and is all right
    let survey = Survey::of(&context.rucio, &context.config().onsite_rse).await?;
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
                if context.troubles.is_news(&format!("mending {rule}"), "unmended") {
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

/// One rule that may not be as it was placed.
async fn look_after(context: &Context, id: i64, rule: &str) -> Result<(), StageError> {
    let standing = Standing::ask(context, rule).await?;
    // it may be on its way out by now, and its rule with it
    let Some(row) = context.ledger.protected_by(id, rule).await? else { return Ok(()) };
    if row.state == State::Releasing {
        // whoever carries the release out knows whether this is its own doing
        if standing.is_ending() && context.ledger.hasten_interrupted(&row).await? {
            context.wake(State::Releasing);
        }
        return Ok(());
    }
    mend(context, &row, rule, standing).await
}

/// Sees to it that a rule protects the on-site copy again, after somebody else ended the one on record.
pub(super) async fn restore(context: &Context, row: &FileRow) -> Result<(), StageError> {
    let Some(rule) = &row.on_site_rule else { return Ok(()) };
    let standing = Standing::ask(context, rule).await?;
    mend(context, row, rule, standing).await
}

async fn mend(context: &Context, row: &FileRow, rule: &str, standing: Standing) -> Result<(), StageError> {
    if mend::on_site(context, row, rule, standing).await? {
        protect_again(context, row).await?;
    }
    Ok(())
}

/// Nothing holds the on-site copy any more. If Rucio still has it, a new rule does; if not, nobody can take that back.
async fn protect_again(context: &Context, row: &FileRow) -> Result<(), StageError> {
    let state = on_site_replica(context, row).await?;
    if state != Some(ReplicaState::Available) {
        let rse = &context.config().onsite_rse;
        let state = state.map_or("gone".to_owned(), |state| format!("{state:?}"));
        let reason = format!(
            "the rule that protected the on-site copy was removed by somebody, and Rucio's replica at {rse} is {state}: \
             Rucio may delete the file at any moment; save it first, if its copies are not proven"
        );
        if row.state == State::Held {
            // an operator's already, who may not know this
            if context.troubles.is_news(&row.lfn, "unprotected") {
                tracing::error!(lfn = row.lfn, code = "unprotected", "a file that is held: {reason}");
            }
            return Ok(());
        }
        return context.hold(row, "unprotected", &reason).await;
    }
    if let Some(rule) = register::protect(context, row).await? {
        context.ledger.set_on_site_rule(row, &rule).await?;
        tracing::warn!(lfn = row.lfn, rule_id = rule, "the on-site copy is protected again");
    } else {
        tracing::warn!(lfn = row.lfn, "the on-site copy is protected again when its earlier rule has ended");
    }
    Ok(())
}

/// The state of the replica at the on-site RSE, if Rucio has one.
pub(super) async fn on_site_replica(context: &Context, row: &FileRow) -> Result<Option<ReplicaState>, StageError> {
    let (rse, did) = (context.config().onsite_rse.clone(), row.did());
    let query =
        ReplicaQuery { dids: std::slice::from_ref(&did), rse_expression: Some(&rse), all_states: true, schemes: &[] };
    let listed = context.rucio.replicas(&query).await?;
    if listed.is_empty() && is_known(context, &did).await? {
        return Err(StageError::Wait(UNTRUE_LIST.to_owned()));
    }
    Ok(listed.first().and_then(|listing| listing.states.get(&rse)).copied())
}
