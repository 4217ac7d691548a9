//! What others did to the off-site rules of some files, as a look saw it: mended where that is safe.

use std::collections::{BTreeMap, BTreeSet};

use crate::custody::RuleStanding;
use crate::engine::{Context, StageError};
use crate::names::Did;

use super::{RulesSeen, first_copy, further_copies, trouble};

/// The first-copy rules of the datasets of these files, and then the files' own further-copies rules.
pub(crate) async fn mend(context: &Context, seen: &RulesSeen<'_>) -> Result<(), StageError> {
    let datasets: BTreeSet<Did> = seen.files.iter().map(|row| row.dataset_did()).collect();
    for dataset in datasets {
        match first_copy_rule_of(context, &dataset, &seen.standings).await {
            // a rule that cannot be placed now keeps the files of other datasets from nothing
            Err(error) if context.leaves_others(&error) => {
                trouble::later(context, first_copy::FIRST, &dataset.name, &error);
            }
            mended => {
                mended?;
                context.memory.reported.is_over(&dataset.name, first_copy::FIRST);
            }
        }
    }
    further_copies::mend(context, seen).await
}

/// Whatever became of the rule, and of what the ledger knows of it: the first copies are held by one.
async fn first_copy_rule_of(
    context: &Context,
    dataset: &Did,
    standings: &BTreeMap<String, RuleStanding>,
) -> Result<(), StageError> {
    match context.ledger.first_copy_rule(dataset).await? {
        None => first_copy::order(context, dataset).await,
        Some(rule) => match standings.get(&rule) {
            Some(standing) => first_copy::mend(context, dataset, &rule, *standing).await,
            None => Ok(()),
        },
    }
}
