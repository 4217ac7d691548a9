//! The further-copies rule of a file: the copies after the first, anywhere off site but at the first one's RSE and site, read
//! from that copy alone. One a file, so that none ever waits for a source it cannot have.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::custody::RuleStanding;
use crate::engine::{Context, StageError};
use crate::ledger::FileRow;
use rucio_client::{Grouping, Kind, NewRule, Rule};

use super::ours::was_further_copies_rule;
use super::placing::{Placed, RuleWanted, permanent, place};
use super::{Offsite, RulesSeen, is_further_copies_rule, trouble};

/// What the rule is for, in reports.
const FURTHER: &str = "further copies";
const COMMENT: &str = "dl0-ingest: further off-site copies, from the first";
/// Rucio's judge-cleaner looks about once a minute.
const ENDING: Duration = Duration::from_secs(5);

/// A file with its rule.
pub(crate) struct Ordered {
    /// The file.
    pub(crate) row: FileRow,
    /// The RSE that the copies are read from.
    pub(crate) source: String,
    /// The id of the rule.
    pub(crate) rule: String,
}

/// Places the rule of these files, whose first copy is at `source`. A file whose earlier rule is about to end waits; one that
/// is in neither is to be tried again.
pub(crate) async fn order(
    context: &Context,
    offsite: &Offsite,
    source: &str,
    rows: Vec<FileRow>,
) -> Result<Vec<Ordered>, StageError> {
    let config = context.config();
    // with another source it is another rule
    let elsewhere = offsite.elsewhere_than(source);
    let wish = RuleWanted {
        rule: NewRule {
            source_replica_expression: Some(source.to_owned()),
            ..permanent(&config, COMMENT, config.offsite.copies.get() - 1, elsewhere.clone(), Grouping::None)
        },
        did: FileRow::did,
        is_it: &|rule: &Rule| was_further_copies_rule(&config, rule) && rule.rse_expression == elsewhere,
        // placed for an earlier delivery; the dataset was settled since, and Rucio is about to remove it
        ends: &|row: &FileRow, rule: &Rule| {
            !is_further_copies_rule(&config, rule) || row.further_copies_rule_ending.as_ref() == Some(&rule.id)
        },
    };
    let mut ordered = Vec::new();
    for (row, placed) in place(context, &wish, rows).await? {
        let (source, rule) = match placed {
            Placed::New(rule) => (source.to_owned(), rule),
            Placed::Found(rule) => (rule.source_replica_expression.unwrap_or_default(), rule.id),
            Placed::Ending(_) => {
                context.wait(&row, ENDING, "the end of its earlier rule for the further copies").await?;
                continue;
            }
        };
        ordered.push(Ordered { row, source, rule });
    }
    Ok(ordered)
}

/// Places the rule of these files again, whose first copy is at `source`.
pub(crate) async fn order_again(
    context: &Context,
    offsite: &Offsite,
    source: &str,
    rows: Vec<FileRow>,
) -> Result<(), StageError> {
    for Ordered { row, source, rule } in order(context, offsite, source, rows).await? {
        context.ledger.set_further_copies_rule(&row, &rule, &source).await?;
    }
    Ok(())
}

/// The rule of one file as it was found. `true`: there is none.
pub(crate) async fn is_gone(context: &Context, lfn: &str, rule: &str, found: RuleStanding) -> Result<bool, StageError> {
    trouble::report(context, FURTHER, rule, lfn, found);
    trouble::repair(context, rule, found).await
}

/// The rules of these files as a look saw them.
pub(super) async fn mend(context: &Context, seen: &RulesSeen<'_>) -> Result<(), StageError> {
    let mut gone: BTreeMap<String, Vec<FileRow>> = BTreeMap::new();
    for row in &seen.files {
        let (Some(rule), Some(source)) = (&row.further_copies_rule, &row.first_rse) else { continue };
        let Some(standing) = seen.standings.get(rule) else { continue };
        let is_gone = match is_gone(context, &row.lfn, rule, *standing).await {
            Err(error) if context.leaves_others(&error) => {
                trouble::later(context, FURTHER, &row.lfn, &error);
                continue;
            }
            is_gone => is_gone?,
        };
        if is_gone {
            gone.entry(source.clone()).or_default().push((*row).clone());
        } else if let Some(first) = seen.locks.at_one_site(&seen.offsite, &row.did(), rule) {
            tracing::warn!(
                lfn = row.lfn,
                rse = first,
                "the rules of the first and of the further copies hold the same one; another is asked for"
            );
            gone.entry(first.to_owned()).or_default().push((*row).clone());
        }
    }
    for (source, rows) in gone {
        let names: Vec<String> = rows.iter().map(|row| row.lfn.clone()).collect();
        match order_again(context, &seen.offsite, &source, rows).await {
            Err(error) if context.leaves_others(&error) && is_refused(&error) => {
                for lfn in &names {
                    trouble::later(context, FURTHER, lfn, &error);
                }
            }
            placed => {
                placed?;
                for lfn in &names {
                    context.memory.reported.is_over(lfn, FURTHER);
                }
            }
        }
    }
    Ok(())
}

/// Whether Rucio takes no rule of ours now, whatever it is on. Anything else may pass with fewer files.
fn is_refused(error: &StageError) -> bool {
    matches!(error, StageError::Rucio(error) if error.kind() == Kind::Quota)
        || !(error.is_transient() || error.may_concern_some())
}
