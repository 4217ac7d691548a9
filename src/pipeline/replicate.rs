//! Registered → Replicated: rule A brings a dataset's files to one data centre; as soon as a file is there, rule B brings
//! it from there to the others, so that the link from the mountain is crossed once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};

use crate::config::Config;
use crate::custody::{State, UnixMillis};
use crate::ledger::{FileRow, Postpone};
use crate::names::Did;
use crate::rucio::{Grouping, Kind, NewRule, ReplicaQuery, ReplicaState};

use super::offsite::Offsite;
use super::on_site::can_still_be_copied;
use super::our_rules::{is_further_copies_rule, was_further_copies_rule};
use super::{Context, Stage, StageError, backoff, first_copies};

/// Places the rules for the off-site copies.
#[derive(Default)]
pub struct Replicate {
    /// Where rule A holds its lock for the files of a dataset: with grouping DATASET at one RSE.
    first_rse: Mutex<HashMap<Did, String>>,
}

/// Rucio's judge-cleaner looks about once a minute.
const ENDING: Duration = Duration::from_secs(5);
/// Questions under way at once.
const QUESTIONS: usize = 8;
const COMMENT_B: &str = "dl0-ingest: further off-site copies, from the first";

impl Stage for Replicate {
    const NAME: &'static str = "replicate";
    const STATE: State = State::Registered;
    const NEEDS_RUCIO: bool = true;

    fn batch(&self, _config: &Config) -> usize {
        500
    }

    async fn work(&self, context: &Context, rows: Vec<FileRow>) -> Result<(), StageError> {
        let mut troubles = BTreeMap::new();
        for (dataset, oldest) in datasets(&rows) {
            if let Some(trouble) = first_copies::ensure_rule(context, &dataset, oldest).await? {
                troubles.insert(dataset, trouble);
            }
        }
        let offsite = Offsite::now(context).await?;
        let copies = copies(context, &offsite, &rows).await?;
        let mut by_source: BTreeMap<String, Vec<FileRow>> = BTreeMap::new();
        let mut waiting = Vec::new();
        for row in rows {
            let present = copies.get(&row.did()).map(Vec::as_slice).unwrap_or_default();
            match self.source(context, &row, present).await? {
                Some(source) => by_source.entry(source).or_default().push(row),
                None if can_still_be_copied(context, &row).await? => waiting.push(row),
                None => {}
            }
        }
        wait_for_copy(context, &waiting, &troubles).await?;
        for (source, rows) in by_source {
            let placed = place_further_copies_rule(context, &offsite, &source, rows).await?;
            if context.ledger.replicated(&placed).await? > 0 {
                context.wake(State::Replicated);
            }
            for (row, source, rule) in &placed {
                tracing::debug!(lfn = row.lfn, source, rule_id = rule, "first copy arrived, further copies ordered");
            }
        }
        Ok(())
    }
}

impl Replicate {
    /// The RSE that has the copy of rule A. A copy that somebody else's rule brought somewhere is no source: rule B would
    /// exclude that place, and with it the lock of ours that the evidence needs.
    async fn source(&self, context: &Context, row: &FileRow, present: &[String]) -> Result<Option<String>, StageError> {
        if present.is_empty() {
            return Ok(None);
        }
        let dataset = row.dataset_did();
        let known = self.remembered().get(&dataset).cloned();
        if let Some(rse) = known.filter(|rse| present.contains(rse)) {
            return Ok(Some(rse));
        }
        let Some(rule) = context.ledger.first_copy_rule(&dataset).await? else { return Ok(None) };
        let did = row.did();
        let locks = context.rucio.rule_locks(&rule).await?;
        let locked = locks.into_iter().find(|lock| lock.did == did).map(|lock| lock.rse);
        let Some(rse) = locked.filter(|rse| present.contains(rse)) else { return Ok(None) };
        self.remembered().insert(dataset, rse.clone());
        Ok(Some(rse))
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<Did, String>> {
        // what a panic interrupted is at worst an entry that is asked for again
        self.first_rse.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The datasets of these files, each with the time since which its longest waiting file waits.
fn datasets(rows: &[FileRow]) -> BTreeMap<Did, UnixMillis> {
    let mut oldest = BTreeMap::new();
    for row in rows {
        let since = oldest.entry(row.dataset_did()).or_insert(row.state_since);
        *since = row.state_since.min(*since);
    }
    oldest
}

async fn wait_for_copy(
    context: &Context,
    rows: &[FileRow],
    troubles: &BTreeMap<Did, String>,
) -> Result<(), StageError> {
    let config = context.config().replicate;
    let waiting: Vec<Postpone> = rows
        .iter()
        .map(|row| Postpone {
            id: row.id,
            delay: backoff::patient(row.state_since, config.poll, config.poll_max),
            waits_for: match troubles.get(&row.dataset_did()) {
                Some(trouble) => format!("the first off-site copy; {trouble}"),
                None => "the first off-site copy".to_owned(),
            },
            failed: false,
        })
        .collect();
    Ok(context.ledger.postpone(&waiting).await?)
}

/// Where each file is AVAILABLE off site.
async fn copies(
    context: &Context,
    offsite: &Offsite,
    rows: &[FileRow],
) -> Result<HashMap<Did, Vec<String>>, StageError> {
    let config = context.config();
    let dids: Vec<Did> = rows.iter().map(FileRow::did).collect();
    let query =
        ReplicaQuery { dids: &dids, rse_expression: Some(&config.offsite.expression), all_states: false, schemes: &[] };
    let listings = context.rucio.replicas(&query).await?;
    Ok(listings
        .into_iter()
        .map(|listing| {
            let there = |(rse, state): (String, ReplicaState)| {
                (offsite.contains(&rse) && state == ReplicaState::Available).then_some(rse)
            };
            (listing.did, listing.states.into_iter().filter_map(there).collect())
        })
        .collect())
}

/// Rule B: one a file, so that none ever waits for a source it cannot have.
pub(super) async fn place_further_copies_rule(
    context: &Context,
    offsite: &Offsite,
    source: &str,
    rows: Vec<FileRow>,
) -> Result<Vec<(FileRow, String, String)>, StageError> {
    let config = context.config();
    let rule = |rows: &[FileRow]| NewRule {
        dids: rows.iter().map(FileRow::did).collect(),
        copies: config.offsite.copies.get() - 1,
        rse_expression: offsite.elsewhere_than(source),
        source_replica_expression: Some(source.to_owned()),
        grouping: Grouping::None,
        lifetime: None,
        activity: config.rucio.rule_activity.clone(),
        comment: Some(COMMENT_B.to_owned()),
    };
    match context.rucio.add_rules(&rule(&rows)).await {
        Ok(ids) => return Ok(rows.into_iter().zip(ids).map(|(row, id)| (row, source.to_owned(), id)).collect()),
        Err(error) if error.kind() == Kind::DuplicateRule => {}
        Err(error) => return Err(error.into()),
    }
    // a stop came between placing rules and remembering them: find those that exist, place the others
    let (mut placed, mut missing, mut trouble) = (Vec::new(), Vec::new(), None);
    let asked = rows.into_iter().map(|row| async move { (context.rucio.did_rules(&row.did()).await, row) });
    let mut asked = stream::iter(asked).buffered(QUESTIONS);
    while let Some((rules, row)) = asked.next().await {
        let rules = match rules {
            Ok(rules) => rules,
            Err(error) => {
                trouble = Some(error);
                break;
            }
        };
        // with another source it is another rule
        let elsewhere = offsite.elsewhere_than(source);
        match rules.into_iter().find(|rule| was_further_copies_rule(&config, rule) && rule.rse_expression == elsewhere)
        {
            // placed for an earlier delivery; the dataset was settled since, and Rucio is about to remove it
            Some(rule)
                if !is_further_copies_rule(&config, &rule)
                    || row.further_copies_rule_ending.as_ref() == Some(&rule.id) =>
            {
                context.wait(&row, ENDING, "the end of its earlier rule for the further copies").await?;
            }
            Some(rule) => placed.push((row, rule.source_replica_expression.unwrap_or_default(), rule.id)),
            None => missing.push(row),
        }
    }
    if !missing.is_empty() {
        match context.rucio.add_rules(&rule(&missing)).await {
            Ok(ids) => placed.extend(missing.into_iter().zip(ids).map(|(row, id)| (row, source.to_owned(), id))),
            Err(error) => trouble = Some(error),
        }
    }
    // what was found is remembered, or a large batch would never pass while some answers go wrong
    match trouble {
        Some(error) if placed.is_empty() => Err(error.into()),
        _ => Ok(placed),
    }
}
