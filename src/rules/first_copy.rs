//! The first-copy rule of a dataset: permanent, one copy off site, grouping DATASET. Rucio chooses the data centre, and a
//! night stays together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::custody::{RuleStanding, UnixMillis};
use crate::engine::{Context, OVERDUE, StageError};
use crate::ledger::now;
use crate::names::Did;
use rucio_client::{Grouping, Rule};

use super::ours::was_first_copy_rule;
use super::placing::{Placed, RuleWanted, permanent, place};
use super::signature::wait_for_others;
use super::sites::leaves_out_the_site;
use super::{is_first_copy_rule, standing, trouble};

/// What the rule is for, in reports.
pub(super) const FIRST: &str = "first copies";
const COMMENT: &str = "dl0-ingest: first off-site copy";

/// Places the rule on datasets that have just been made. On an empty dataset that costs Rucio next to nothing, and what is
/// attached later it takes up by itself; on a full one it makes a lock and a transfer per file while we wait. A failure
/// keeps no file from being protected: the rule is placed when the first file asks for its copy.
pub(crate) async fn order_early(context: &Context, datasets: &[Did]) {
    if let Err(error) = order_missing(context, datasets.iter()).await {
        tracing::debug!(datasets = datasets.len(), "first copies are not ordered yet: {error}");
    }
}

/// Places the rule on those of these datasets that have none on record, on all in one call.
pub(crate) async fn order_missing<'d>(
    context: &Context,
    datasets: impl Iterator<Item = &'d Did>,
) -> Result<(), StageError> {
    let mut without = Vec::new();
    for dataset in datasets {
        if context.ledger.first_copy_rule(dataset).await?.is_none() {
            without.push(dataset.clone());
        }
    }
    order_all(context, without).await
}

/// Sees to it that a dataset has its rule, whose files have waited since `waiting_since` for their first copy. Returns
/// what is wrong with it, in words.
pub(crate) async fn ensure(
    context: &Context,
    dataset: &Did,
    waiting_since: UnixMillis,
) -> Result<Option<String>, StageError> {
    let Some(rule) = context.ledger.first_copy_rule(dataset).await? else {
        return order(context, dataset).await.map(|()| None);
    };
    let waited = Duration::from_millis(u64::try_from(now() - waiting_since).unwrap_or(0));
    if waited < OVERDUE {
        return Ok(None);
    }
    let found = standing(context, &rule).await?;
    mend(context, dataset, &rule, found).await?;
    let what = match found {
        RuleStanding::Suspended => "SUSPENDED, by an operator or after two weeks of failures",
        RuleStanding::Stuck => "STUCK",
        RuleStanding::Sound | RuleStanding::Ending | RuleStanding::Gone => return Ok(None),
    };
    Ok(Some(format!("its rule {rule} is {what}")))
}

/// The rule as it was found.
pub(crate) async fn mend(context: &Context, dataset: &Did, rule: &str, found: RuleStanding) -> Result<(), StageError> {
    trouble::report(context, FIRST, rule, &dataset.name, found).await;
    if trouble::repair(context, rule, found).await? {
        // until there is another one, the ledger keeps its id: whoever looks next finds that it is gone
        order(context, dataset).await?;
    }
    Ok(())
}

/// Places the rule.
pub(crate) async fn order(context: &Context, dataset: &Did) -> Result<(), StageError> {
    order_all(context, vec![dataset.clone()]).await
}

async fn order_all(context: &Context, datasets: Vec<Did>) -> Result<(), StageError> {
    if datasets.is_empty() {
        return Ok(());
    }
    leaves_out_the_site(context).await?;
    let config = context.config();
    let mut on_record = BTreeMap::new();
    for dataset in &datasets {
        on_record.insert(dataset.clone(), context.ledger.first_copy_rule(dataset).await?);
    }
    let wish = RuleWanted {
        rule: permanent(&config, COMMENT, 1, config.offsite.expression.clone(), Grouping::Dataset),
        did: |dataset: &Did| dataset.clone(),
        is_it: &|rule: &Rule| was_first_copy_rule(&config, rule),
        on_record: &|dataset: &Did, rule| on_record.get(dataset).is_some_and(|known| known.as_deref() == Some(rule)),
        ends: &|_, rule: &Rule| !is_first_copy_rule(&config, rule),
    };
    let mut missing: BTreeSet<Did> = datasets.iter().cloned().collect();
    let mut others = None;
    for (dataset, placed) in place(context, &wish, datasets).await? {
        if let Placed::Others(rule) = placed {
            others = Some(rule);
            continue;
        }
        if let Some(id) = placed.standing() {
            tracing::info!(
                dataset = dataset.name,
                scope = dataset.scope,
                rule_id = id,
                "first copies of the dataset ordered"
            );
            context.ledger.set_first_copy_rule(&dataset, &id).await?;
            missing.remove(&dataset);
        }
    }
    if let Some(rule) = others {
        return Err(wait_for_others(context, &rule));
    }
    match missing.first() {
        None => Ok(()),
        Some(dataset) => Err(StageError::Wait(format!(
            "the rule of dataset {dataset} on '{}' is about to expire, or Rucio gave no good answer about it; a permanent one is \
             placed when it is gone",
            config.offsite.expression
        ))),
    }
}
