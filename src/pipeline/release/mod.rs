//! Confirmed → Releasing: the one stage that gives data up. `departure` watches them go.
//!
//! Fresh evidence, the on-site file as verified, a durable intent, only then the end of the on-site rule; afterwards the disk itself
//! is looked at, because "gone in Rucio" is not "gone from disk". In doubt the file stays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use crate::config::{Config, Deletion};
use crate::custody::brakes::Brake;
use crate::custody::invariants::{on_site_copy_may_go, release_may_be_carried_out};
use crate::custody::{Doubt, Evidence, HoldCode, KeepReason, OnSiteFile, ReleaseOrder, State};
use crate::engine::{
    Context, Effect, ORDER, Pace, RELEASE, Stage, StageError, announce, hold_unless_on_site, is_as_verified,
    kill_switch, limits, may_be_acted_upon, unbraked, wait_for_brake,
};
use crate::ledger::{EndOfRule, FileRow, IntentOutcome, now};
use crate::look::{self, Looks, delivered_again};
use crate::rules::{
    self,
    on_site::{self, RESTORED},
};
use rucio_client::{Kind, ReplicaState};

mod departure;
mod overdue;

pub use departure::Departure;

/// Decides about confirmed files.
pub struct Release;

/// A dry run has said what it would do; it says so again after this, or when the configuration changes.
const SAID: Duration = Duration::from_hours(1);

/// How long, in milliseconds, an intent is left to whoever wrote it. After a restart nobody carries it out any more, and
/// the file is due at once.
const CARRYING_OUT: i64 = 600_000;

/// Files that are worked on at once: a Rucio that is slow, or answers badly now and then, is waited for together.
const AT_ONCE: usize = 8;

impl Stage for Release {
    const NAME: &'static str = "release";
    const STATE: State = State::Confirmed;
    const NEEDS_RUCIO: bool = true;

    fn batch(&self, _config: &Config) -> usize {
        // few enough that the look is still fresh when the last of them is given up
        50
    }

    async fn work(&self, context: &Context, rows: Vec<FileRow>) -> Result<(), StageError> {
        let deletion = context.config().release.deletion;
        if deletion == Deletion::Off {
            for row in &rows {
                context.wait(row, SAID, "deletion is off (release.deletion)").await?;
            }
            return Ok(());
        }
        let rows = if deletion == Deletion::On { unbraked(context, rows).await? } else { rows };
        if rows.is_empty() {
            return Ok(());
        }
        let Looks { copies, rules } = look::off_site_copies(context, &rows).await?;
        rules::mend(context, &rules).await?;
        let sites = &rules.offsite.known_sites();
        let looked_at = rows.iter().cloned().zip(copies).collect();
        at_once(looked_at, |(row, look)| decide(context, row, look, sites, deletion)).await.map(drop)
    }
}

/// What a look at a file leads to.
async fn decide(
    context: &Context,
    row: FileRow,
    look: Result<Evidence, Doubt>,
    sites: &BTreeMap<String, String>,
    deletion: Deletion,
) -> Result<(), StageError> {
    let Some(order) = order(context, &row, look, sites).await? else { return Ok(()) };
    // the operator may have changed their mind during the look
    if context.config().release.deletion != deletion {
        return context.wait(&row, Duration::ZERO, "release.deletion has changed").await;
    }
    if deletion == Deletion::DryRun {
        tracing::info!(lfn = row.lfn, bytes = row.bytes, "dry run: the on-site copy would be released");
        let why = "a dry run: the on-site copy would be released now (release.deletion)";
        return context.wait(&row, SAID, why).await;
    }
    release(context, &row, &order).await
}

/// Brakes, intent, effect.
async fn release(context: &Context, row: &FileRow, order: &ReleaseOrder) -> Result<(), StageError> {
    if let Some(reason) = kill_switch(context).await {
        return wait_for_brake(context, row, &Brake::KillSwitch(reason)).await;
    }
    let evidence = serde_json::json!(order).to_string();
    let limits = limits(&context.config());
    match context.ledger.releasing(row, &evidence, now() + CARRYING_OUT, limits).await? {
        IntentOutcome::Moved => return Ok(()),
        IntentOutcome::Braked(brake) => return wait_for_brake(context, row, &brake).await,
        IntentOutcome::Written => {}
    }
    let releasing = FileRow { state: State::Releasing, ..row.clone() };
    if let Err(error) = give_up(context, &releasing, order).await {
        return context.set_back(&releasing, error).await;
    }
    context.wake(State::Releasing);
    Ok(())
}

/// The order to release a file, or `None` when it stays: held if evidence regressed, postponed if somebody is silent.
async fn order(
    context: &Context,
    row: &FileRow,
    look: Result<Evidence, Doubt>,
    sites: &BTreeMap<String, String>,
) -> Result<Option<ReleaseOrder>, StageError> {
    let config = context.config();
    let evidence = match look {
        Ok(evidence) => evidence,
        Err(doubt)
            if matches!(doubt, Doubt::NotYet(_) | Doubt::Contradiction(_))
                || look::has_regressed(row, &doubt, sites)? =>
        {
            return context.hold(row, HoldCode::Evidence, &look::regressed(&doubt)).await.map(|()| None);
        }
        Err(doubt) => {
            return context.wait_patiently(row, Pace::of_copies(&config), doubt.reason()).await.map(|()| None);
        }
    };
    let Some(first_look) = look::first_look(row, sites)? else {
        // void, because it was taken by another clock
        return context.remember_first_look(row, &evidence).await.map(|()| None);
    };
    if let Err(KeepReason::SeenOnce { .. }) = evidence.stands_since(&first_look, config.offsite.copies) {
        return context.remember_first_look(row, &evidence).await.map(|()| None);
    }
    let found = look::on_site(context, row).await?;
    let OnSiteFile::There(there) = found else { return hold_unless_on_site(context, row, found).await.map(|_| None) };
    let identities = (row.identity(), there);
    match ReleaseOrder::new(first_look, evidence, identities, config.offsite.copies, config.confirm.hold, now()) {
        Ok(_) if !is_as_verified(context, row, there).await? => Ok(None),
        // decided already: what came since is compared when that is settled
        Ok(order) if row.release_ordered_at.is_some() => Ok(Some(order)),
        Ok(_) | Err(KeepReason::Changed) if delivered_again(context, row).await? => {
            let why = if context.ledger.is_redelivered(row).await? {
                "a second delivery is being compared"
            } else {
                "the trigger that lies beside it to be taken in, or removed if it is wrong (dl0-ingest status)"
            };
            context.wait_patiently(row, Pace::of_copies(&config), why).await?;
            Ok(None)
        }
        Ok(order) => Ok(Some(order)),
        Err(KeepReason::TooSoon { apart, hold }) => {
            let reason = format!("the hold time: {apart:?} of {hold:?} have passed since the first look");
            context.wait(row, hold.saturating_sub(apart), &reason).await?;
            Ok(None)
        }
        Err(KeepReason::Stale { .. }) => {
            context.wait(row, config.confirm.poll, "a fresh look").await?;
            Ok(None)
        }
        Err(reason @ (KeepReason::Undecided { .. } | KeepReason::TooFewSites { .. })) => {
            context.wait_patiently(row, Pace::of_copies(&config), &reason.to_string()).await?;
            Ok(None)
        }
        Err(KeepReason::Changed) if row.release_ordered_at.is_none() => {
            if is_as_verified(context, row, there).await? {
                context.wait(row, Duration::ZERO, "another look, since the on-site file was touched").await?;
            }
            Ok(None)
        }
        Err(reason) => context.hold(row, HoldCode::Evidence, &reason.to_string()).await.map(|()| None),
    }
}

/// Announces the end of the on-site rule and ends it. The intent is durable, the order is fresh; repeating it is harmless. `false`: it
/// was not ended, and what becomes of the file is on record.
async fn give_up(context: &Context, row: &FileRow, order: &ReleaseOrder) -> Result<bool, StageError> {
    // the rule may be another one than when the file was claimed
    let Some(on_record) = permitted(context, row, order).await? else { return Ok(false) };
    let row = &on_record;
    let Some(rule) = &row.on_site_rule else {
        let why = "the rule that protects the on-site copy is not on record";
        return context.hold(row, HoldCode::NoRule, why).await.map(|()| false);
    };
    let because = (ORDER, serde_json::json!(order));
    announce(context, row, Effect { name: RELEASE, identity: row.identity(), because }).await?;
    let attempts = Arc::new(AtomicU32::new(0));
    let (counted, fresh) = (Arc::clone(&attempts), freshness(order));
    let holds = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        fresh()
    };
    let end = match context.rucio.end_rule(rule, holds).await {
        Ok(()) => {
            tracing::info!(lfn = row.lfn, rule_id = rule, "on-site copy given up");
            EndOfRule::Answered
        }
        // asked for before: in an attempt whose answer was lost, or before a stop
        Err(error)
            if error.kind() == Kind::NotFound
                && (row.release_announced_at.is_some() || attempts.load(Ordering::Relaxed) > 1) =>
        {
            tracing::info!(lfn = row.lfn, rule_id = rule, "the rule of the on-site copy has ended already");
            EndOfRule::Found
        }
        Err(error) if error.kind() == Kind::NotFound => return ended_by_others(context, row).await,
        // an earlier attempt may have been carried out: the next look finds that out
        Err(error) if error.kind() == Kind::Withheld => return too_old(context, row).await.map(|()| false),
        Err(error) => return Err(error.into()),
    };
    context.ledger.release_ordered(row, end).await?;
    Ok(true)
}

/// Somebody else has ended the on-site rule right before we would have. If the file goes for it, that was decided; if not, nobody deletes
/// it, and a rule of ours is needed that can be ended.
async fn ended_by_others(context: &Context, row: &FileRow) -> Result<bool, StageError> {
    if on_site::on_site_replica(context, row).await? != Some(ReplicaState::Available) {
        context.ledger.release_ordered(row, EndOfRule::Found).await?;
        return Ok(true);
    }
    on_site::restore(context, row).await?;
    context.wait(row, context.config().release.poll, RESTORED).await.map(|()| false)
}

/// Right before the effect: what the ledger durably says now, and the constitution. The looks took time, in which an
/// operator may have held the file. Gives the row as it is on record, if the effect may happen.
async fn permitted(context: &Context, row: &FileRow, order: &ReleaseOrder) -> Result<Option<FileRow>, StageError> {
    if !freshness(order)() {
        return too_old(context, row).await.map(|()| None);
    }
    let Some(on_record) = context.ledger.unmoved(row).await? else {
        tracing::info!(lfn = row.lfn, "not released: somebody else has decided about the file meanwhile");
        return Ok(None);
    };
    let config = context.config();
    let lawful = release_may_be_carried_out(&on_record.decision()).and_then(|()| {
        on_site_copy_may_go(&on_record.decision(), order.evidence(), &config.onsite_rse, config.offsite.copies)
    });
    match lawful {
        Ok(()) => Ok(Some(on_record)),
        Err(violation) => context.stop(row, &violation).await.map(|()| None),
    }
}

/// Whether the last look may still be acted upon, for whoever is about to act to ask at the last moment.
fn freshness(order: &ReleaseOrder) -> impl Fn() -> bool + Send + Sync + 'static {
    let at = order.evidence().at();
    move || may_be_acted_upon(at)
}

/// The file waits for another look.
async fn too_old(context: &Context, row: &FileRow) -> Result<(), StageError> {
    tracing::warn!(lfn = row.lfn, "the last look is too old to act upon, looking again");
    context.wait(row, Duration::ZERO, "a fresh look").await
}

/// What `work` makes of each, in no order. The first error stops all that has not begun; what is under way goes on to its
/// end, for an intent without its effect would wait for long.
async fn at_once<T, R, F>(items: Vec<T>, work: impl Fn(T) -> F) -> Result<Vec<R>, StageError>
where
    F: Future<Output = Result<R, StageError>>,
{
    let (work, stopped) = (&work, &AtomicBool::new(false));
    let one = |item| async move {
        if stopped.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let done = work(item).await;
        stopped.fetch_or(done.is_err(), Ordering::Relaxed);
        done.map(Some)
    };
    let done: Vec<_> = stream::iter(items.into_iter().map(one)).buffer_unordered(AT_ONCE).collect().await;
    done.into_iter().filter_map(Result::transpose).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_stops_one_stops_those_that_have_not_begun_and_lets_the_others_end() {
        let (begun, ended) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let (begun, ended) = (&begun, &ended);
        let work = |n: u64| async move {
            begun.lock().unwrap().push(n);
            // the third is the first to come to an end
            tokio::time::sleep(Duration::from_secs(if n == 2 { 1 } else { 10 + n })).await;
            ended.lock().unwrap().push(n);
            if n == 2 { Err(StageError::Wait("Rucio is away".to_owned())) } else { Ok(n) }
        };
        let done = at_once((0..100).collect(), work).await;
        assert!(matches!(done, Err(StageError::Wait(_))), "{done:?}");
        let all_at_once: Vec<u64> = (0..8).collect();
        assert_eq!(*begun.lock().unwrap(), all_at_once);
        assert_eq!(ended.lock().unwrap().len(), all_at_once.len());
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_worked_on_eight_at_a_time() {
        let begun = tokio::time::Instant::now();
        let work = |n: u64| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(n)
        };
        let mut done = at_once((0..20).collect(), work).await.unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..20).collect::<Vec<_>>());
        assert_eq!(begun.elapsed().as_secs(), 3);
    }
}
