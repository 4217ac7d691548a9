//! Rule A: the first off-site copies of a dataset's files.

use std::time::Duration;

use crate::custody::UnixMillis;
use crate::ledger::now;
use crate::names::Did;
use crate::rucio::{Grouping, Kind, NewRule};

use super::on_site::DOUBTFUL;
use super::our_rules::{is_rule_a, stands};
use super::{Context, StageError};

const COMMENT: &str = "dl0-ingest: first off-site copy";

/// Places the rule on datasets that have just been made. On an empty dataset that costs Rucio next to nothing, and what is
/// attached later it takes up by itself; on a full one it makes a lock and a transfer per file while we wait. A failure
/// keeps no file from being protected: the rule is placed when the first file asks for its copy.
pub(super) async fn order_early(context: &Context, datasets: &[Did]) {
    for dataset in datasets {
        if let Err(error) = ensure_rule(context, dataset, now()).await {
            tracing::debug!(dataset = dataset.name, "first copies are not ordered yet: {error}");
            return;
        }
    }
}

/// Sees to it that a dataset has its rule: permanent, one copy off site. Rucio chooses the data centre, and a night stays
/// together.
pub(super) async fn ensure_rule(context: &Context, dataset: &Did, waiting_since: UnixMillis) -> Result<(), StageError> {
    let config = context.config();
    if let Some(rule) = context.ledger.rule_a(dataset).await? {
        let waited = Duration::from_millis(u64::try_from(now() - waiting_since).unwrap_or(0));
        if waited < DOUBTFUL || stands(context, &rule).await? {
            return Ok(());
        }
        tracing::warn!(
            dataset = dataset.name,
            rule_id = rule,
            "rule of the first copies was removed by somebody, placing it anew"
        );
        context.ledger.set_rule_a(dataset, None).await?;
    }
    let rule = NewRule {
        dids: vec![dataset.clone()],
        copies: 1,
        rse_expression: config.offsite.expression.clone(),
        source_replica_expression: None,
        grouping: Grouping::Dataset,
        lifetime: None,
        activity: config.rucio.rule_activity.clone(),
        comment: Some(COMMENT.to_owned()),
    };
    let id = match context.rucio.add_rules(&rule).await {
        Ok(ids) => ids.into_iter().next(),
        Err(error) if error.kind() == Kind::DuplicateRule => {
            let rules = context.rucio.did_rules(dataset).await?;
            rules.into_iter().find(|rule| is_rule_a(&config, rule)).map(|rule| rule.id)
        }
        Err(error) => return Err(error.into()),
    };
    let Some(id) = id else {
        return Err(StageError::Wait(format!(
            "the rule of dataset {dataset} on '{}' is about to expire; a permanent one is placed when it is gone",
            config.offsite.expression
        )));
    };
    tracing::info!(dataset = dataset.name, scope = dataset.scope, rule_id = id, "first copies of the dataset ordered");
    Ok(context.ledger.set_rule_a(dataset, Some(&id)).await?)
}
