//! The settled rule of a dataset whose files are all released and in which nothing moves any more: the further copies that are
//! there, in place of the files' own further-copies rules.

use crate::custody::RuleStanding;
use crate::custody::settling::DatasetRule;
use crate::engine::{Context, StageError};
use crate::names::Did;
use rucio_client::{Grouping, Rule};

use super::placing::{Placed, RuleWanted, permanent, place};
use super::{is_settled_rule, trouble};

const COMMENT: &str = "dl0-ingest: further off-site copies of a quiet dataset";

/// Places the rule, so that Rucio can choose nothing but the copies that are there. `false`: a rule of ours like it is there
/// already, and cannot be the settled one.
pub(crate) async fn order(context: &Context, dataset: &Did, planned: &DatasetRule) -> Result<bool, StageError> {
    let config = context.config();
    let expression = planned.expression();
    let grouping = if planned.together { Grouping::Dataset } else { Grouping::None };
    let wish = RuleWanted {
        rule: permanent(&config, COMMENT, planned.copies, expression.clone(), grouping),
        did: |dataset: &Did| dataset.clone(),
        is_it: &|rule: &Rule| rule.rse_expression == expression,
        // one that is there already is not taken, whosever it is
        on_record: &|_, _| false,
        ends: &|_, rule: &Rule| !is_settled_rule(&config, rule),
    };
    let placed = place(context, &wish, vec![dataset.clone()]).await?.into_iter().next();
    let Some((_, Placed::New(id))) = placed else { return Ok(false) };
    context.ledger.set_settled_rule(dataset, &id).await?;
    tracing::info!(dataset = dataset.name, rule_id = id, "one rule on '{expression}' for all further copies");
    Ok(true)
}

/// The rule as it was found. `true`: there is none.
pub(crate) async fn is_gone(
    context: &Context,
    dataset: &Did,
    rule: &str,
    found: RuleStanding,
) -> Result<bool, StageError> {
    trouble::report(context, "further copies of a settled dataset", rule, &dataset.name, found).await;
    trouble::repair(context, rule, found).await
}
