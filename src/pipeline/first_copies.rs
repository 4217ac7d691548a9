//! Rule A: the first off-site copies of a dataset's files.

use std::time::Duration;

use crate::custody::UnixMillis;
use crate::ledger::now;
use crate::names::Did;
use crate::rucio::{Grouping, Kind, NewRule};

use super::offsite::leaves_out_the_site;
use super::on_site::DOUBTFUL;
use super::our_rules::{Standing, is_first_copy_rule};
use super::{Context, StageError, mend};

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

/// Sees to it that a dataset has its rule, whose files have waited since `waiting_since` for their first copy. Returns
/// what is wrong with it, in words.
pub(super) async fn ensure_rule(
    context: &Context,
    dataset: &Did,
    waiting_since: UnixMillis,
) -> Result<Option<String>, StageError> {
    let Some(rule) = context.ledger.first_copy_rule(dataset).await? else {
        return place_rule(context, dataset).await.map(|()| None);
    };
    let waited = Duration::from_millis(u64::try_from(now() - waiting_since).unwrap_or(0));
    if waited < DOUBTFUL {
        return Ok(None);
    }
    let standing = Standing::ask(context, &rule).await?;
    mend::first_copy_rule(context, dataset, &rule, standing).await?;
    let what = match standing {
        Standing::Suspended => "SUSPENDED, by an operator or after two weeks of failures",
        Standing::Stuck => "STUCK",
        Standing::Sound | Standing::Ending | Standing::Gone => return Ok(None),
    };
    Ok(Some(format!("its rule {rule} is {what}")))
}

/// Places the rule: permanent, one copy off site. Rucio chooses the data centre, and a night stays together.
pub(super) async fn place_rule(context: &Context, dataset: &Did) -> Result<(), StageError> {
    leaves_out_the_site(context).await?;
    let config = context.config();
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
            rules.into_iter().find(|rule| is_first_copy_rule(&config, rule)).map(|rule| rule.id)
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
    Ok(context.ledger.set_first_copy_rule(dataset, &id).await?)
}
