//! Releasing → Released: watching files go, and looking at the disk itself when Rucio says they have gone.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::config::{Deletion, Leftover};
use crate::custody::{Doubt, Evidence, HoldCode, State};
use crate::datadir;
use crate::engine::{
    Context, Effect, ORDER, Pace, Stage, StageError, UNTRUE_LIST, announce, before_going_on, blocking, is_known,
    wait_for_brake,
};
use crate::ledger::{EndOfRule, FileRow, now};
use crate::look::{self, Looks, delivered_again, on_disk, unchanged_for};
use crate::names::Did;
use crate::rules;
use crate::rules::on_site::{OnSiteRule, RESTORED, restore, what_became};
use rucio_client::{ReplicaQuery, ReplicaState};

use super::{SAID, at_once, freshness, give_up, order, overdue, permitted, too_old};

/// Watches files go whose release is decided.
pub struct Departure;

impl Stage for Departure {
    const NAME: &'static str = "departure";
    const STATE: State = State::Releasing;
    const NEEDS_RUCIO: bool = true;

    async fn work(&self, context: &Context, rows: Vec<FileRow>) -> Result<(), StageError> {
        let (ordered, interrupted): (Vec<FileRow>, Vec<FileRow>) =
            rows.into_iter().partition(|row| row.release_ordered_at.is_some());
        let resumed = resume(context, interrupted).await;
        if ordered.is_empty() {
            return resumed;
        }
        let config = context.config();
        let dids: Vec<Did> = ordered.iter().map(FileRow::did).collect();
        let query = ReplicaQuery { dids: &dids, rse_expression: None, all_states: true, schemes: &[] };
        let states: HashMap<Did, Option<ReplicaState>> = context
            .rucio
            .replicas(&query)
            .await?
            .into_iter()
            .map(|listing| (listing.did, listing.states.get(&config.onsite_rse).copied()))
            .collect();
        let (mut list_is_true, mut late) = (true, Vec::new());
        for row in ordered {
            match states.get(&row.did()) {
                Some(Some(ReplicaState::Available)) if overdue::is_overdue(&row) => late.push(row),
                Some(Some(state)) => {
                    let delay = Pace::of_deletion(&context.config()).after(row.state_since);
                    let waits_for = format!("Rucio to delete the on-site copy (replica is {state:?})");
                    context.wait(&row, delay, &waits_for).await?;
                }
                Some(None) => departed(context, row).await?,
                // a DID that Rucio does not list at all has no replica anywhere: the one thing that must never be
                None => {
                    list_is_true = list_is_true && !is_known(context, &row.did()).await?;
                    if !list_is_true {
                        context.wait(&row, config.release.poll_max, UNTRUE_LIST).await?;
                        continue;
                    }
                    context.metrics.invariant_violation("I2");
                    context.hold(&row, HoldCode::UnknownToRucio, "Rucio does not list the file any more").await?;
                }
            }
        }
        at_once(late, |row| overdue::look_after(context, row)).await?;
        resumed
    }
}

/// A stop came between the intent and its record. Unless the on-site rule has ended already, everything is asked afresh, as if for
/// the first time.
async fn resume(context: &Context, rows: Vec<FileRow>) -> Result<(), StageError> {
    let undecided = at_once(rows, |row| undecided(context, row)).await?;
    let undecided: Vec<FileRow> = undecided.into_iter().flatten().collect();
    if undecided.is_empty() {
        return Ok(());
    }
    let Looks { copies, rules } = look::off_site_copies(context, &undecided).await?;
    rules::mend(context, &rules).await?;
    let sites = &rules.offsite.known_sites();
    let looked_at = undecided.iter().cloned().zip(copies).collect();
    at_once(looked_at, |(row, look)| go_on(context, row, look, sites)).await.map(drop)
}

/// The file, if the end of its on-site rule is still to be asked for. What others did to that rule is no release.
async fn undecided(context: &Context, row: FileRow) -> Result<Option<FileRow>, StageError> {
    match what_became(context, &row).await {
        Ok(OnSiteRule::GivenUp) => {
            context.ledger.release_ordered(&row, EndOfRule::Found).await?;
            context.wait(&row, Duration::ZERO, "Rucio to delete the on-site copy").await?;
        }
        Ok(OnSiteRule::EndedByOthers) => match restore(context, &row).await {
            Ok(()) => context.wait(&row, context.config().release.poll, RESTORED).await?,
            Err(error) => context.set_back(&row, error).await?,
        },
        // it is taken up again as it is by then
        Ok(OnSiteRule::Moved) => {}
        Ok(OnSiteRule::Stands) if stays(context, &row).await? => {}
        Ok(OnSiteRule::Stands) => return Ok(Some(row)),
        Err(error) => context.set_back(&row, error).await?,
    }
    Ok(None)
}

async fn go_on(
    context: &Context,
    row: FileRow,
    look: Result<Evidence, Doubt>,
    sites: &BTreeMap<String, String>,
) -> Result<(), StageError> {
    let Some(order) = order(context, &row, look, sites).await? else { return Ok(()) };
    // right before the effect, the operator may have changed their mind during the look
    if stays(context, &row).await? {
        return Ok(());
    }
    match give_up(context, &row, &order).await {
        Ok(true) => context.wait(&row, context.config().release.poll, "Rucio to delete the on-site copy").await,
        Ok(false) => Ok(()),
        Err(error) => context.set_back(&row, error).await,
    }
}

/// Whether the operator's settings or a brake keep a file whose release is decided; it waits then.
async fn stays(context: &Context, row: &FileRow) -> Result<bool, StageError> {
    if context.config().release.deletion != Deletion::On {
        context.wait(row, SAID, "deletion is not on any more (release.deletion)").await?;
        return Ok(true);
    }
    match before_going_on(context, row).await? {
        Some(brake) => wait_for_brake(context, row, &brake).await.map(|()| true),
        None => Ok(false),
    }
}

/// Rucio has no on-site replica any more: what does the disk say?
async fn departed(context: &Context, row: FileRow) -> Result<(), StageError> {
    let release = context.config().release.clone();
    let gone_at = if let Some(at) = row.replica_gone_at {
        at
    } else {
        context.ledger.replica_gone(&row).await?;
        now()
    };
    let waited = Duration::from_millis(u64::try_from(now() - gone_at).unwrap_or(0));
    match on_disk(context, &row).await {
        Ok(None) => return finish(context, &row).await,
        // what was released is gone, and what was delivered in its place is compared as soon as this is settled
        Ok(Some(found)) if found != row.identity() && delivered_again(context, &row).await? => {
            return finish(context, &row).await;
        }
        // whoever delivers it again makes its trigger last, and may have begun long after the deletion
        Ok(Some(found))
            if found != row.identity() && waited.min(unchanged_for(context, &row).await?) < release.leftover_grace =>
        {
            let delay = Pace::of_deletion(&context.config()).after(gone_at);
            let why = "another file lies under its name, and has no trigger yet";
            return context.wait(&row, delay, why).await;
        }
        Ok(Some(found)) if found != row.identity() => {
            return context
                .hold(&row, HoldCode::Changed, "another file took the place of the one that was released")
                .await;
        }
        Ok(Some(_)) => {}
        Err(error @ (datadir::Error::Symlink { .. } | datadir::Error::NotAFile { .. })) => {
            return context.hold(&row, HoldCode::Changed, &error.to_string()).await;
        }
        Err(error) => return Err(error.into()),
    }
    if waited < release.leftover_grace {
        let delay = Pace::of_deletion(&context.config()).after(gone_at);
        let why = "Rucio says the on-site copy is deleted, it is still on disk";
        return context.wait(&row, delay, why).await;
    }
    match release.leftover {
        Leftover::Report => {
            let why = "Rucio says the on-site copy is deleted, it is still on disk; remove it or set release.leftover";
            if row.waits_for.as_deref() != Some(why) {
                tracing::error!(lfn = row.lfn, "{why}");
            }
            context.wait(&row, release.poll_max, why).await
        }
        Leftover::Remove => remove_leftover(context, &row).await,
    }
}

/// Removes what Rucio left behind: on fresh evidence, the very file that was verified.
async fn remove_leftover(context: &Context, row: &FileRow) -> Result<(), StageError> {
    if stays(context, row).await? {
        return Ok(());
    }
    let Looks { copies, rules } = look::off_site_copies(context, std::slice::from_ref(row)).await?;
    rules::mend(context, &rules).await?;
    let found = copies.into_iter().next().unwrap_or_else(|| Err(Doubt::Unknown("no look".to_owned())));
    let Some(order) = order(context, row, found, &rules.offsite.known_sites()).await? else {
        return Ok(());
    };
    if permitted(context, row, &order).await?.is_none() {
        return Ok(());
    }
    if stays(context, row).await? {
        return Ok(());
    }
    let because = serde_json::json!(order);
    context.ledger.remark(row, "removing-leftover", &because.to_string()).await?;
    let effect = Effect { name: "remove-leftover", identity: row.identity(), because: (ORDER, because) };
    announce(context, row, effect).await?;
    let (data, name, identity) = (context.data.clone(), row.name()?, row.identity());
    let holds = freshness(&order);
    // asked by the thread that removes it, after it had to wait for one
    let removed = blocking(move || holds().then(|| data.remove_leftover(name.relative(), identity))).await;
    match removed {
        None => return too_old(context, row).await,
        Some(removed) => removed?,
    }
    tracing::warn!(lfn = row.lfn, "removed the on-site copy that Rucio had left behind");
    finish(context, row).await
}

async fn finish(context: &Context, row: &FileRow) -> Result<(), StageError> {
    if context.ledger.released(row).await? {
        context.metrics.released(1, row.bytes);
        tracing::info!(lfn = row.lfn, bytes = row.bytes, "on-site copy is gone, file released");
    }
    Ok(())
}
