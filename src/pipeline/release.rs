//! Confirmed → Releasing → Released: the one stage that gives data up.
//!
//! Fresh evidence, the on-site file as verified, a durable intent, only then the end of rule C; afterwards the disk itself
//! is looked at, because "gone in Rucio" is not "gone from disk". In doubt the file stays.

use std::collections::HashMap;
use std::time::Duration;

use crate::config::{Config, Deletion, Leftover};
use crate::custody::invariants::{on_site_copy_may_go, release_may_be_carried_out};
use crate::custody::{Doubt, Evidence, KeepReason, ReleaseOrder, State};
use crate::datadir;
use crate::ledger::{FileRow, now};
use crate::names::Did;
use crate::rucio::{Kind, ReplicaQuery, ReplicaState};

use super::look::look;
use super::on_site::{delivered_again, on_disk, on_site, rule_has_ended};
use super::{Context, Stage, StageError, backoff, blocking};

/// Decides about confirmed files.
pub struct Release;

/// Watches files go whose release is decided.
pub struct Departure;

/// A dry run has said what it would do; it says so again after this, or when the configuration changes.
const SAID: Duration = Duration::from_hours(1);

/// How long, in milliseconds, an intent is left to whoever wrote it. After a restart nobody carries it out any more, and
/// the file is due at once.
const CARRYING_OUT: i64 = 600_000;

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
        let looks = look(context, &rows).await?;
        for (row, look) in rows.iter().zip(looks) {
            let Some(order) = order(context, row, look).await? else { continue };
            // the operator may have changed their mind during the look
            if context.config().release.deletion != deletion {
                context.wait(row, Duration::ZERO, "release.deletion has changed").await?;
                continue;
            }
            if deletion == Deletion::DryRun {
                tracing::info!(lfn = row.lfn, bytes = row.bytes, "dry run: the on-site copy would be released");
                let why = "a dry run: the on-site copy would be released now (release.deletion)";
                context.wait(row, SAID, why).await?;
                continue;
            }
            let evidence = serde_json::json!(order).to_string();
            if context.ledger.releasing(row, &evidence, now() + CARRYING_OUT).await? {
                let releasing = FileRow { state: State::Releasing, ..row.clone() };
                if let Err(error) = give_up(context, &releasing, &order).await {
                    let delay = backoff::after_failures(&context.config().retry, 0);
                    context.wait(&releasing, delay, &error.to_string()).await?;
                    return Err(error);
                }
                context.wake(State::Releasing);
            }
        }
        Ok(())
    }
}

/// The order to release a file, or `None` when it stays: held if evidence regressed, postponed if somebody is silent.
async fn order(
    context: &Context,
    row: &FileRow,
    look: Result<Evidence, Doubt>,
) -> Result<Option<ReleaseOrder>, StageError> {
    let config = context.config();
    let evidence = match look {
        Ok(evidence) => evidence,
        Err(Doubt::Unknown(reason)) => {
            let delay = backoff::patient(row.state_since, config.confirm.poll, config.confirm.poll_max);
            context.wait(row, delay, &reason).await?;
            return Ok(None);
        }
        Err(Doubt::NotYet(reason) | Doubt::Contradiction(reason)) => {
            context.hold(row, "evidence", &format!("evidence that was complete is not any more: {reason}")).await?;
            return Ok(None);
        }
    };
    let Some(first_look) = row.first_look()? else {
        context.hold(row, "evidence", "the first look is not on record").await?;
        return Ok(None);
    };
    let Some(found) = on_site(context, row).await? else { return Ok(None) };
    let identities = (row.identity(), found);
    match ReleaseOrder::new(first_look, evidence, identities, config.offsite.copies, config.confirm.hold, now()) {
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
        Err(reason @ KeepReason::Undecided { .. }) => {
            let delay = backoff::patient(row.state_since, config.confirm.poll, config.confirm.poll_max);
            context.wait(row, delay, &reason.to_string()).await?;
            Ok(None)
        }
        Err(KeepReason::Changed { .. }) if delivered_again(context, row).await? => {
            context.wait(row, config.confirm.poll, "a second delivery is being compared").await?;
            Ok(None)
        }
        Err(reason) => {
            context.hold(row, "evidence", &reason.to_string()).await?;
            Ok(None)
        }
    }
}

/// Ends rule C. The intent is durable, the order is fresh; repeating it is harmless.
async fn give_up(context: &Context, row: &FileRow, order: &ReleaseOrder) -> Result<(), StageError> {
    if !permitted(context, row, order).await? {
        return Ok(());
    }
    let Some(rule) = &row.rule_c else {
        return context.hold(row, "no-rule", "the rule that protects the on-site copy is not on record").await;
    };
    match context.rucio.end_rule(rule).await {
        Ok(()) => tracing::info!(lfn = row.lfn, rule_id = rule, "on-site copy given up"),
        // ended before a stop, and already cleaned up
        Err(error) if error.kind() == Kind::NotFound => {
            tracing::info!(lfn = row.lfn, rule_id = rule, "the rule of the on-site copy has ended already");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(context.ledger.release_ordered(row).await?)
}

/// Right before the effect: what the ledger durably says now, and the constitution. The looks took time, in which an
/// operator may have held the file.
async fn permitted(context: &Context, row: &FileRow, order: &ReleaseOrder) -> Result<bool, StageError> {
    let Some(on_record) = context.ledger.unmoved(row).await? else {
        tracing::info!(lfn = row.lfn, "not released: somebody else has decided about the file meanwhile");
        return Ok(false);
    };
    let config = context.config();
    let lawful = release_may_be_carried_out(&on_record.intent()).and_then(|()| {
        on_site_copy_may_go(on_record.state, order.evidence(), &config.onsite_rse, config.offsite.copies)
    });
    match lawful {
        Ok(()) => Ok(true),
        Err(violation) => context.stop(row, &violation).await.map(|()| false),
    }
}

impl Stage for Departure {
    const NAME: &'static str = "departure";
    const STATE: State = State::Releasing;
    const NEEDS_RUCIO: bool = true;

    fn batch(&self, _config: &Config) -> usize {
        500
    }

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
        for row in ordered {
            match states.get(&row.did()) {
                Some(Some(state)) => {
                    let delay = backoff::patient(row.state_since, config.release.poll, config.release.poll_max);
                    let waits_for = format!("Rucio to delete the on-site copy (replica is {state:?})");
                    context.wait(&row, delay, &waits_for).await?;
                }
                Some(None) => departed(context, row).await?,
                // a DID that Rucio does not list at all has no replica anywhere: the one thing that must never be
                None => {
                    context.metrics.invariant_violation("I2");
                    context.hold(&row, "unknown-to-rucio", "Rucio does not list the file any more").await?;
                }
            }
        }
        resumed
    }
}

/// A stop came between the intent and its record. Unless rule C has ended already, everything is asked afresh, as if for
/// the first time.
async fn resume(context: &Context, rows: Vec<FileRow>) -> Result<(), StageError> {
    let mut undecided = Vec::new();
    for row in rows {
        if rule_has_ended(context, &row).await? {
            context.ledger.release_ordered(&row).await?;
            context.wait(&row, Duration::ZERO, "Rucio to delete the on-site copy").await?;
        } else {
            undecided.push(row);
        }
    }
    if undecided.is_empty() {
        return Ok(());
    }
    let looks = look(context, &undecided).await?;
    for (row, look) in undecided.iter().zip(looks) {
        let Some(order) = order(context, row, look).await? else { continue };
        if context.config().release.deletion == Deletion::On {
            give_up(context, row, &order).await?;
            context.wait(row, context.config().release.poll, "Rucio to delete the on-site copy").await?;
        } else {
            context.wait(row, SAID, "deletion is not on any more (release.deletion)").await?;
        }
    }
    Ok(())
}

/// Rucio has no on-site replica any more: what does the disk say?
async fn departed(context: &Context, row: FileRow) -> Result<(), StageError> {
    let release = context.config().release;
    let gone_at = if let Some(at) = row.replica_gone_at {
        at
    } else {
        context.ledger.replica_gone(&row).await?;
        now()
    };
    match on_disk(context, &row).await {
        Ok(None) => return finish(context, &row).await,
        // what was released is gone, and what was delivered in its place is compared as soon as this is settled
        Ok(Some(found)) if found != row.identity() && delivered_again(context, &row).await? => {
            return finish(context, &row).await;
        }
        Ok(Some(found)) if found != row.identity() => {
            return context.hold(&row, "changed", "another file took the place of the one that was released").await;
        }
        Ok(Some(_)) => {}
        Err(error @ (datadir::Error::Symlink { .. } | datadir::Error::NotAFile { .. })) => {
            return context.hold(&row, "changed", &error.to_string()).await;
        }
        Err(error) => return Err(error.into()),
    }
    let waited = Duration::from_millis(u64::try_from(now() - gone_at).unwrap_or(0));
    if waited < release.leftover_grace {
        let delay = backoff::patient(gone_at, release.poll, release.poll_max);
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
    let look = look(context, std::slice::from_ref(row)).await?.into_iter().next();
    let Some(order) = order(context, row, look.unwrap_or_else(|| Err(Doubt::Unknown("no look".to_owned())))).await?
    else {
        return Ok(());
    };
    if !permitted(context, row, &order).await? {
        return Ok(());
    }
    context.ledger.remark(row, "removing-leftover", &serde_json::json!(order).to_string()).await?;
    let (data, name, identity) = (context.data.clone(), row.name()?, row.identity());
    blocking(move || data.remove_leftover(name.relative(), identity)).await?;
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
