//! The further-copies rule of a file: the copies after the first, anywhere off site but at the first one's RSE and site, read
//! from that copy alone. One a file, so that none ever waits for a source it cannot have.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::custody::RuleStanding;
use crate::engine::{Context, OVERDUE, StageError};
use crate::ledger::FileRow;
use rucio_client::{Grouping, Kind, NewRule, Rule};

use super::ours::was_further_copies_rule;
use super::placing::{Placed, RuleWanted, permanent, place};
use super::seen::Short;
use super::signature::of_others;
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
    order_beside(context, offsite, &Short::all(source), rows).await
}

/// The same for files that lack some of the copies; those that are there are kept.
async fn order_beside(
    context: &Context,
    offsite: &Offsite,
    Short { first: source, have, named }: &Short,
    rows: Vec<FileRow>,
) -> Result<Vec<Ordered>, StageError> {
    let required = context.config().offsite.copies;
    let copies = offsite.further_copies(source, required);
    let mut by_expression: BTreeMap<String, Vec<FileRow>> = BTreeMap::new();
    let mut ordered = Vec::new();
    for row in rows {
        // files of a dataset stay together
        let turn = row.dataset.bytes().map(usize::from).sum();
        match offsite.further(source, have, *named, copies, turn) {
            Ok(expression) => by_expression.entry(expression).or_default().push(row),
            Err(sites) => context.wait(&row, OVERDUE, &too_few_sites(context, sites)).await?,
        }
    }
    for (expression, rows) in by_expression {
        ordered.extend(order_at(context, source, &expression, copies, rows).await?);
    }
    Ok(ordered)
}

/// What a file waits for, in words; logged once.
fn too_few_sites(context: &Context, sites: usize) -> String {
    let config = context.config();
    let words = format!(
        "{} off-site copies are needed (offsite.copies), and '{}' has {sites} site(s) besides that of the on-site RSE",
        config.offsite.copies.get(),
        config.offsite.expression
    );
    if context.memory.reported.has_changed(FURTHER, &words) {
        tracing::error!("{words}; files wait until there are more");
    }
    words
}

async fn order_at(
    context: &Context,
    source: &str,
    expression: &str,
    copies: u32,
    rows: Vec<FileRow>,
) -> Result<Vec<Ordered>, StageError> {
    let config = context.config();
    let wish = RuleWanted {
        // with another source it is another rule
        rule: NewRule {
            source_replica_expression: Some(source.to_owned()),
            ..permanent(&config, COMMENT, copies, expression.to_owned(), Grouping::None)
        },
        did: FileRow::did,
        is_it: &|rule: &Rule| {
            was_further_copies_rule(&config, rule) && rule.rse_expression == expression && rule.copies == copies
        },
        on_record: &|row: &FileRow, rule| {
            let known = [&row.further_copies_rule, &row.further_copies_rule_ending, &row.earlier_further_copies_rule];
            known.into_iter().flatten().any(|known| known == rule)
        },
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
            Placed::Others(rule) => {
                context.wait(&row, OVERDUE, &of_others(context, &rule)).await?;
                continue;
            }
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
    order_more(context, offsite, &Short::all(source), rows).await
}

/// Places a rule of these files for all copies that are needed now; those that are there are kept.
async fn order_more(context: &Context, offsite: &Offsite, short: &Short, rows: Vec<FileRow>) -> Result<(), StageError> {
    for Ordered { row, source, rule } in order_beside(context, offsite, short, rows).await? {
        context.ledger.set_further_copies_rule(&row, &rule, &source).await?;
    }
    Ok(())
}

/// The rule of one file as it was found. `true`: there is none.
pub(crate) async fn is_gone(context: &Context, lfn: &str, rule: &str, found: RuleStanding) -> Result<bool, StageError> {
    trouble::report(context, FURTHER, rule, lfn, found).await;
    trouble::repair(context, rule, found).await
}

/// The rules of these files as a look saw them.
pub(super) async fn mend(context: &Context, seen: &RulesSeen<'_>) -> Result<(), StageError> {
    let required = context.config().offsite.copies;
    let mut wanting: BTreeMap<Short, Vec<FileRow>> = BTreeMap::new();
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
            wanting.entry(Short::all(source)).or_default().push((*row).clone());
        } else if let Some(first) = seen.locks.at_one_site(&seen.offsite, &row.did(), rule) {
            tracing::warn!(
                lfn = row.lfn,
                rse = first,
                "the rules of the first and of the further copies hold the same one; another is asked for"
            );
            wanting.entry(Short::all(first)).or_default().push((*row).clone());
        } else if let Some(short) = seen.locks.short_of(&seen.offsite, &row.did(), rule, required) {
            tracing::info!(
                lfn = row.lfn,
                required = required.get(),
                "its rules ask for fewer copies than are required now; the others are asked for"
            );
            wanting.entry(short).or_default().push((*row).clone());
        }
    }
    for (short, rows) in wanting {
        let names: Vec<String> = rows.iter().map(|row| row.lfn.clone()).collect();
        match order_more(context, &seen.offsite, &short, rows).await {
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
