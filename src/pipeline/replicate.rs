//! Registered → Replicated: the first-copy rule brings a dataset's files to one data centre; as soon as a file is there, its
//! further-copies rule brings it from there to the others, so that the link from the mountain is crossed once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use crate::apart;
use crate::custody::{State, UnixMillis};
use crate::engine::{Context, Pace, Stage, StageError, hold_unless_on_site};
use crate::ledger::{FileRow, Postpone};
use crate::look;
use crate::names::Did;
use crate::rules::further_copies::{self, Ordered};
use crate::rules::{Offsite, first_copy};
use rucio_client::{ReplicaQuery, ReplicaState};

/// Places the rules for the off-site copies.
#[derive(Default)]
pub struct Replicate {
    /// Where the first-copy rule holds its lock for the files of a dataset: with grouping DATASET at one RSE.
    first_rse: Mutex<HashMap<Did, String>>,
}

impl Stage for Replicate {
    const NAME: &'static str = "replicate";
    const STATE: State = State::Registered;
    const NEEDS_RUCIO: bool = true;

    async fn work(&self, context: &Context, rows: Vec<FileRow>) -> Result<(), StageError> {
        let mut troubles = BTreeMap::new();
        let datasets = datasets(&rows);
        first_copy::order_missing(context, datasets.keys()).await?;
        for (dataset, oldest) in datasets {
            if let Some(trouble) = first_copy::ensure(context, &dataset, oldest).await? {
                troubles.insert(dataset, trouble);
            }
        }
        let lately = match Offsite::lately(context) {
            Some(lately) => lately,
            None => Offsite::now(context).await?,
        };
        let copies = copies(context, &lately, &rows).await?;
        let mut by_source: BTreeMap<String, Vec<FileRow>> = BTreeMap::new();
        let mut waiting = Vec::new();
        for row in rows {
            let present = copies.get(&row.did()).map(Vec::as_slice).unwrap_or_default();
            match self.source(context, &row, present).await? {
                Some(source) => by_source.entry(source).or_default().push(row),
                None if hold_unless_on_site(context, &row, look::as_registered(context, &row).await?).await? => {
                    waiting.push(row);
                }
                None => {}
            }
        }
        wait_for_copy(context, &waiting, &troubles).await?;
        if by_source.is_empty() {
            return Ok(());
        }
        for (source, rows) in &by_source {
            apart::tell(context, &lately, source, rows).await?;
        }
        // where a copy may go is not for yesterday's answer to say
        let offsite = Offsite::now(context).await?;
        for (source, rows) in by_source {
            let ordered = further_copies::order(context, &offsite, &source, rows).await?;
            for Ordered { row, source, rule } in &ordered {
                tracing::debug!(lfn = row.lfn, source, rule_id = rule, "first copy arrived, further copies ordered");
            }
            let replicated: Vec<_> =
                ordered.into_iter().map(|Ordered { row, source, rule }| (row, source, rule)).collect();
            if context.ledger.replicated(&replicated).await? > 0 {
                context.wake(State::Replicated);
            }
        }
        Ok(())
    }
}

impl Replicate {
    /// The RSE that has the copy of the first-copy rule. A copy that somebody else's rule brought somewhere is no source: the
    /// further-copies rule would exclude that place, and with it the lock of ours that the evidence needs.
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
    let pace = Pace::of_first_copy(&context.config());
    let waiting: Vec<Postpone> = rows
        .iter()
        .map(|row| Postpone {
            id: row.id,
            delay: pace.after(row.state_since),
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
