//! The on-site rule of a file: one copy on the on-site RSE. It keeps Rucio's reaper away until the file is released. Its end
//! is the release, which the stage of that name asks for.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::config::Config;
use crate::custody::{HoldCode, RuleStanding, State};
use crate::engine::{Context, OVERDUE, StageError, UNTRUE_LIST, is_known};
use crate::ledger::FileRow;
use rucio_client::{Grouping, ReplicaQuery, ReplicaState, Rule, RuleId};

use super::ours::is_ours;
use super::placing::{Placed, RuleWanted, permanent, place};
use super::signature::{OwnLedgers, of_others};
use super::{find, is_on_site_rule, retire, standing, trouble};

const COMMENT: &str = "dl0-ingest: protects the on-site copy until the off-site copies are proven";
/// What the rule is for, in reports.
const ON_SITE: &str = "the on-site copy";
/// What a file waits for whose release was decided when somebody ended its rule.
pub(crate) const RESTORED: &str = "a rule that protects the on-site copy again: somebody had ended it";
/// Rucio's judge-cleaner looks about once a minute.
pub(crate) const ENDING: Duration = Duration::from_secs(5);

/// No file may be registered while the on-site RSE marks each for deletion at once: the rule that protects it comes after
/// its replica.
pub(crate) async fn may_be_registered(context: &Context) -> Result<(), StageError> {
    let config = context.config();
    let attributes = context.rucio.rse_attributes(&config.onsite_rse).await?;
    no_tombstone_delay(&config.onsite_rse, &attributes).map_err(StageError::Setting)
}

/// What is wrong with the attributes of the on-site RSE, in words.
pub fn no_tombstone_delay(rse: &str, attributes: &BTreeMap<String, Value>) -> Result<(), String> {
    let Some(delay) = attributes.get("tombstone_delay").filter(|value| !value.is_null()) else { return Ok(()) };
    Err(format!(
        "the on-site RSE {rse} has the attribute tombstone_delay = {delay}: Rucio would mark every file for deletion at \
         registration, before any copy exists; remove the attribute"
    ))
}

/// Places the rule on these files and returns the rule of each; `None` while the rule of an earlier copy ends. A file that is
/// left out is to be tried again.
pub(crate) async fn order(context: &Context, rows: Vec<FileRow>) -> Result<Vec<(FileRow, Option<String>)>, StageError> {
    let config = context.config();
    let wish = RuleWanted {
        rule: permanent(&config, COMMENT, 1, config.onsite_rse.clone(), Grouping::None),
        did: FileRow::did,
        is_it: &|rule: &Rule| is_on_site_rule(&config, rule),
        on_record: &|row: &FileRow, rule| row.on_site_rule.as_deref() == Some(rule),
        ends: &|_, rule: &Rule| rule.expires_at.is_some(),
    };
    let (mut ordered, mut removed) = (Vec::new(), Vec::new());
    for (row, placed) in place(context, &wish, rows).await? {
        match placed {
            // somebody else gave it an end: we end rules at once
            Placed::Ending(rule) if rule.ends_later() => {
                trouble::report(context, ON_SITE, &rule.id, &row.lfn, RuleStanding::Ending).await;
                if trouble::repair(context, &rule.id, RuleStanding::Ending).await? {
                    removed.push(row);
                } else {
                    ordered.push((row, Some(rule.id)));
                }
            }
            // whose on-site copy it is is for people to say
            Placed::Others(rule) => context.wait(&row, OVERDUE, &of_others(context, &rule)).await?,
            placed => ordered.push((row, placed.standing())),
        }
    }
    let again = place(context, &wish, removed).await?;
    let ours = again.into_iter().filter(|(_, placed)| !matches!(placed, Placed::Others(_)));
    ordered.extend(ours.map(|(row, placed)| (row, placed.standing())));
    Ok(ordered)
}

/// For a second rule on the on-site copy of one file: Rucio takes no two with the same expression.
fn beside(config: &Config) -> String {
    format!("{rse}|{rse}", rse = config.onsite_rse)
}

/// Places a second rule on an on-site copy whose own rule stands and holds nothing any more: Rucio gave the file up, and took
/// its locks. That rule then ends. Returns the new one; none while that ends, or if it is another ledger's.
pub(crate) async fn order_beside(context: &Context, row: &FileRow) -> Result<Option<RuleId>, StageError> {
    let config = context.config();
    let expression = beside(&config);
    let wish = RuleWanted {
        rule: permanent(&config, COMMENT, 1, expression.clone(), Grouping::None),
        did: FileRow::did,
        is_it: &|rule: &Rule| is_ours(&config, rule) && rule.rse_expression == expression,
        on_record: &|row: &FileRow, rule| row.on_site_rule.as_deref() == Some(rule),
        ends: &|_, rule: &Rule| rule.expires_at.is_some(),
    };
    let placed = place(context, &wish, vec![row.clone()]).await?.into_iter().next();
    let Some(rule) = placed.and_then(|(_, placed)| placed.standing()) else { return Ok(None) };
    context.ledger.set_on_site_rule(row, &rule).await?;
    let ours = OwnLedgers::of(&context.ledger).await?;
    for void in context.rucio.did_rules(&row.did()).await? {
        let locks = void.locks_ok + void.locks_replicating + void.locks_stuck;
        let is_this_ledgers = ours.have_placed(&void) || row.on_site_rule.as_deref() == Some(void.id.as_str());
        if is_on_site_rule(&config, &void) && locks == 0 && is_this_ledgers {
            retire(context, &void.id, || true).await?;
        }
    }
    Ok(Some(rule))
}

/// A file that is registered anew has another rule than the one that was on record: if that was placed beside a void one, it
/// ends.
pub(crate) async fn end_beside(context: &Context, rule: &str) -> Result<(), StageError> {
    match find(context, rule).await? {
        Some(found) if found.rse_expression == beside(&context.config()) => retire(context, rule, || true).await,
        _ => Ok(()),
    }
}

/// The rule of a file that has not left the site, as it was found. `true`: there is none.
async fn is_gone(context: &Context, row: &FileRow, rule: &str, found: RuleStanding) -> Result<bool, StageError> {
    // its lock holds whatever its state
    if !found.is_ending() {
        return Ok(false);
    }
    trouble::report(context, ON_SITE, rule, &row.lfn, found).await;
    trouble::repair(context, rule, found).await
}

/// Sees to it that a rule protects the on-site copy again, after somebody else ended the one on record.
pub(crate) async fn restore(context: &Context, row: &FileRow) -> Result<(), StageError> {
    let Some(rule) = &row.on_site_rule else { return Ok(()) };
    let found = standing(context, rule).await?;
    mend(context, row, rule, found).await
}

/// The rule as it was found.
pub(crate) async fn mend(context: &Context, row: &FileRow, rule: &str, found: RuleStanding) -> Result<(), StageError> {
    if is_gone(context, row, rule, found).await? {
        order_again(context, row).await?;
    }
    Ok(())
}

/// Nothing holds the on-site copy any more. If Rucio still has it, a new rule does; if not, nobody can take that back.
async fn order_again(context: &Context, row: &FileRow) -> Result<(), StageError> {
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
            if context.memory.reported.is_news(&row.lfn, "unprotected") {
                tracing::error!(lfn = row.lfn, code = HoldCode::Unprotected.as_str(), "a file that is held: {reason}");
            }
            return Ok(());
        }
        return context.hold(row, HoldCode::Unprotected, &reason).await;
    }
    let placed = order(context, vec![row.clone()]).await?;
    if let Some((_, Some(rule))) = placed.into_iter().next() {
        context.ledger.set_on_site_rule(row, &rule).await?;
        tracing::warn!(lfn = row.lfn, rule_id = rule, "the on-site copy is protected again");
    } else {
        tracing::warn!(lfn = row.lfn, "the on-site copy is protected again when its earlier rule has ended");
    }
    Ok(())
}

/// The state of the replica at the on-site RSE, if Rucio has one.
pub(crate) async fn on_site_replica(context: &Context, row: &FileRow) -> Result<Option<ReplicaState>, StageError> {
    let (rse, did) = (context.config().onsite_rse.clone(), row.did());
    let query =
        ReplicaQuery { dids: std::slice::from_ref(&did), rse_expression: Some(&rse), all_states: true, schemes: &[] };
    let listed = context.rucio.replicas(&query).await?;
    if listed.is_empty() && is_known(context, &did).await? {
        return Err(StageError::Wait(UNTRUE_LIST.to_owned()));
    }
    Ok(listed.first().and_then(|listing| listing.states.get(&rse)).copied())
}

/// What became in Rucio of the on-site rule of a file whose release is decided and not on record as ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnSiteRule {
    /// It has no end, or there is none on record.
    Stands,
    /// We have ended it, and a stop or a time-out came before that was on record.
    GivenUp,
    /// Somebody else has ended it, or given it an end.
    EndedByOthers,
    /// The file or its rule is not what it was when the question was asked: the answer is about nothing.
    Moved,
}

/// Asks Rucio, and then the ledger, since `row` may be older than the announcement. We end a rule at once, and never before
/// that is announced.
pub(crate) async fn what_became(context: &Context, row: &FileRow) -> Result<OnSiteRule, StageError> {
    let Some(rule) = &row.on_site_rule else { return Ok(OnSiteRule::Stands) };
    let found = find(context, rule).await?;
    let on_record = context.ledger.unmoved(row).await?.filter(|on_record| on_record.on_site_rule == row.on_site_rule);
    let Some(on_record) = on_record else { return Ok(OnSiteRule::Moved) };
    Ok(match found {
        Some(rule) if rule.expires_at.is_none() => OnSiteRule::Stands,
        Some(rule) if rule.ends_later() => OnSiteRule::EndedByOthers,
        _ if on_record.release_announced_at.is_some() => OnSiteRule::GivenUp,
        _ => OnSiteRule::EndedByOthers,
    })
}
