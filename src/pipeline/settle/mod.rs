//! Settling: a dataset whose files are all released, and in which nothing moves any more, keeps two rules.
//!
//! The settled rule of the dataset takes over from the further-copies rule of each file. Only rules end, never a copy: the
//! rule of a file ends when the settled rule holds each of its locks too, asked at that moment, and the first-copy rule holds
//! the first copy. In doubt all rules stay.

mod facts;
mod own_rules;
mod turn;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Value, json};

use crate::config::{Config, Deletion};
use crate::custody::brakes::Brake;
use crate::custody::invariants::{Violation, not_on_record, own_rule_may_end};
use crate::custody::settling::{FileInRucio, Unsettled, plan};
use crate::custody::{UnixMillis, in_millis};
use crate::engine::{Context, StageError, after_failures, announce_settling, brake_of_dataset, job, kill_switch};
use crate::ledger::{Ending, IntentOutcome, Resting, now};
use crate::names::Did;
use crate::rules::{Offsite, retire, stands};
use rucio_client::Kind;

use facts::{DatasetRules, Facts, REQUESTS};
use turn::{Turn, place};

/// The longest time between two looks for quiet datasets.
const REST_MAX: Duration = Duration::from_mins(10);
/// A dataset that cannot be settled is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_hours(1);
/// Datasets taken up in one turn.
const DATASETS: i64 = 16;
/// Rules ended on one intent and one record: seconds of work, on facts that are as old at most.
const BATCH: usize = 250;
const TOO_OLD: &str = "what Rucio said of the dataset is too old to act upon, asking again later";

/// Runs until shutdown.
pub async fn run(context: Context) {
    let rest = |config: &Config| config.settle.after.map_or(REST_MAX, |after| (after / 10).min(REST_MAX));
    job::rounds(&context, "settle", rest, || work(&context)).await;
}

async fn work(context: &Context) -> Result<(), StageError> {
    let taken_up = take_up_what_a_stop_left(context).await;
    // what is wrong with one thing keeps the others from nothing
    let watched = watch::round(context).await;
    let settled = if taken_up.is_ok() { settle_quiet(context).await } else { Ok(()) };
    taken_up.and(watched).and(settled)
}

async fn settle_quiet(context: &Context) -> Result<(), StageError> {
    let config = context.config();
    let Some(after) = config.settle.after.filter(|_| config.release.deletion == Deletion::On) else { return Ok(()) };
    let after = in_millis(after);
    for dataset in context.ledger.quiet_datasets(now() - after, DATASETS).await? {
        loop {
            if context.shutdown.is_cancelled() {
                return Ok(());
            }
            match turn(context, &dataset, now() - after).await {
                Ok(Turn::Going) => {}
                Ok(end) => {
                    report(context, &dataset, end).await?;
                    break;
                }
                // a dataset that Rucio does not answer for keeps no other from being settled
                Err(error) if context.leaves_others(&error) => {
                    let delay = after_failures(&config.retry, i64::MAX);
                    context.ledger.unsettled(&dataset, &Unsettled::other(error.to_string()), delay).await?;
                    tracing::debug!(dataset = dataset.name, "not settled now: {error}");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// A stop came between the intent to end rules and its record: those that still stand are their files' own again, and
/// everything about them is asked afresh.
async fn take_up_what_a_stop_left(context: &Context) -> Result<(), StageError> {
    loop {
        let left = context.ledger.ending_rules(1000).await?;
        if left.is_empty() {
            return Ok(());
        }
        for ending in left {
            if stands(context, &ending.rule).await? {
                context.ledger.further_copies_rule_stands(&ending).await?;
            } else {
                context.ledger.further_copies_rules_ended(&[ending.id]).await?;
            }
        }
    }
}

async fn report(context: &Context, dataset: &Did, end: Turn) -> Result<(), StageError> {
    let known = context.ledger.settlement(dataset).await?;
    match end {
        Turn::Settled => {
            context.ledger.settled(dataset).await?;
            context.metrics.dataset_settled();
            tracing::info!(
                dataset = dataset.name,
                scope = dataset.scope,
                rule_id = known.settled_rule,
                "dataset settled: two rules of the dataset hold all copies"
            );
        }
        Turn::Moved | Turn::Going => {}
        Turn::Braked(brake) => {
            let why = Unsettled::other(brake.to_string());
            context.ledger.unsettled(dataset, &why, brake.look_again(now())).await?;
        }
        Turn::Stays(why) => {
            if known.unsettled.as_ref() != Some(&why.words) {
                tracing::warn!(dataset = dataset.name, scope = dataset.scope, "the dataset cannot be settled: {why}");
            }
            let after = context.config().settle.after.unwrap_or(LOOK_AGAIN);
            context.ledger.unsettled(dataset, &why, after.min(LOOK_AGAIN)).await?;
        }
    }
    Ok(())
}

/// One step with one dataset, in which nothing has moved after `since`.
async fn turn(context: &Context, dataset: &Did, since: UnixMillis) -> Result<Turn, StageError> {
    if let Some(brake) = brake_of_dataset(context, dataset).await? {
        return Ok(Turn::Braked(brake));
    }
    if let Err(why) = facts::stays(context, dataset).await? {
        return Ok(Turn::Stays(why));
    }
    let config = context.config();
    let files = context.ledger.resting(dataset).await?;
    let batch: Vec<Resting> =
        files.iter().filter(|file| file.further_copies_rule.is_some()).take(BATCH).cloned().collect();
    if batch.is_empty() {
        return watch::hold_all(context, dataset).await;
    }
    let known = context.ledger.settlement(dataset).await?.settled_rule;
    let rules = match DatasetRules::ask(context, dataset, known.as_deref()).await? {
        Ok(rules) => rules,
        Err(why) => return Ok(Turn::Stays(why)),
    };
    if let Err(why) = facts::is_ok(&rules.first_copy) {
        return Ok(Turn::Stays(why));
    }
    let Some(first) = rules.settled.first() else {
        let facts = match Facts::gather(context, dataset, &files, &rules, None, &files).await? {
            Ok(facts) => facts,
            Err(why) => return Ok(Turn::Stays(why)),
        };
        return match plan(&facts.files, config.offsite.copies) {
            Ok(rule) => place(context, dataset, &rule).await,
            Err(why) => Ok(Turn::Stays(why)),
        };
    };
    // a stop may have come between placing and remembering it
    if known.is_none() {
        context.ledger.set_settled_rule(dataset, &first.id).await?;
    }
    let sites = Offsite::known(context).await?.known_sites();
    let mut doubt = None;
    for settled_rule in &rules.settled {
        if let Err(why) = facts::is_ok(settled_rule) {
            doubt.get_or_insert(why);
            continue;
        }
        let facts = match Facts::gather(context, dataset, &files, &rules, Some(settled_rule), &batch).await? {
            Ok(facts) => facts,
            Err(why) => return Ok(Turn::Stays(why)),
        };
        let may_go = |file: &FileInRucio| file.own_rule_may_go(config.offsite.copies, &sites);
        if let Some(why) = facts.files.iter().find_map(|file| may_go(file).err()) {
            doubt.get_or_insert(why);
            continue;
        }
        if known.as_ref() != Some(&settled_rule.id) {
            context.ledger.set_settled_rule(dataset, &settled_rule.id).await?;
        }
        return end(context, dataset, &batch, &facts, &sites, since).await;
    }
    Ok(doubt.map_or(Turn::Moved, Turn::Stays))
}

/// Intent, record, end.
async fn end(
    context: &Context,
    dataset: &Did,
    batch: &[Resting],
    facts: &Facts,
    sites: &BTreeMap<String, String>,
    since: UnixMillis,
) -> Result<Turn, StageError> {
    if context.config().release.deletion != Deletion::On {
        return Ok(Turn::Moved);
    }
    if let Some(reason) = kill_switch(context).await {
        return Ok(Turn::Braked(Brake::KillSwitch(reason)));
    }
    match context.ledger.settling(dataset, batch, since).await? {
        IntentOutcome::Written => {}
        IntentOutcome::Moved => return Ok(Turn::Moved),
        IntentOutcome::Braked(brake) => return Ok(Turn::Braked(brake)),
    }
    if let Some((lfn, violation)) = unlawful(context, batch, facts, sites).await? {
        context.trip(Some(&lfn), &violation).await?;
        tracing::error!(lfn, dataset = dataset.name, "{violation}; all its rules stay");
        all_stand(context, batch).await?;
        return Ok(Turn::Stays(Unsettled::other(format!("{lfn}: {violation}"))));
    }
    let fresh = facts.freshness();
    if !fresh() {
        all_stand(context, batch).await?;
        return Ok(Turn::Stays(Unsettled::other(TOO_OLD)));
    }
    let record = |(held, file): (&FileInRucio, &Resting)| json!({ "lfn": held.lfn, "rule": file.further_copies_rule, "first": held.first, "further": held.dataset });
    let records: Vec<Value> = facts.files.iter().zip(batch).map(record).collect();
    announce_settling(context, dataset, &facts.rule_ids(), records).await?;
    let rules: Vec<String> = batch.iter().filter_map(|file| file.further_copies_rule.clone()).collect();
    let ends = rules.into_iter().map(|rule| {
        let holds = fresh.clone();
        async move { retire(context, &rule, holds).await }
    });
    match stream::iter(ends).buffer_unordered(REQUESTS).try_collect::<Vec<()>>().await {
        Err(StageError::Rucio(error)) if error.kind() == Kind::Withheld => {
            tracing::warn!(dataset = dataset.name, "{TOO_OLD}");
            // others of the batch may have been ended
            take_up_what_a_stop_left(context).await?;
            return Ok(Turn::Moved);
        }
        ended => ended?,
    };
    let ended: Vec<i64> = batch.iter().map(|file| file.id).collect();
    context.ledger.further_copies_rules_ended(&ended).await?;
    Ok(Turn::Going)
}

/// Right before the effect: the constitution, over what Rucio has said and what the ledger durably says now.
async fn unlawful(
    context: &Context,
    batch: &[Resting],
    facts: &Facts,
    sites: &BTreeMap<String, String>,
) -> Result<Option<(String, Violation)>, StageError> {
    let required = context.config().offsite.copies;
    for (held, file) in facts.files.iter().zip(batch) {
        let Some(on_record) = context.ledger.by_lfn(&file.lfn).await? else {
            return Ok(Some((file.lfn.clone(), not_on_record())));
        };
        let rules = (file.further_copies_rule.as_deref(), on_record.further_copies_rule_ending.as_deref());
        if let Err(violation) = own_rule_may_end(&on_record.decision(), rules, held, required, sites) {
            return Ok(Some((file.lfn.clone(), violation)));
        }
    }
    Ok(None)
}

/// None was ended: each is its file's own again.
async fn all_stand(context: &Context, batch: &[Resting]) -> Result<(), StageError> {
    for file in batch {
        if let Some(rule) = file.further_copies_rule.clone() {
            context.ledger.further_copies_rule_stands(&Ending { id: file.id, rule }).await?;
        }
    }
    Ok(())
}
