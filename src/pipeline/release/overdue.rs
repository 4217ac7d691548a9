//! A release that was ordered and has not happened: is anybody about to delete the file?
//!
//! Rucio's cleaner and reaper may take any time, and are waited for. But if our rule stands, or if it was never by Rucio's word
//! that it ended with purge, nobody will come. Then everything is asked and decided afresh, brakes included. That cannot go
//! round quickly: each order is trusted for a while first.

use std::time::Duration;

use crate::custody::in_millis;
use crate::engine::{Context, Pace, StageError};
use crate::ledger::{EndOfRule, FileRow, now};
use crate::rules::{OwnLedgers, find, is_on_site_rule};
use rucio_client::Rule;

/// How long an order is trusted, and Rucio's answer about its rule.
const TRUSTED: Duration = Duration::from_mins(5);
const ANOTHER: &str = "another's rule";
const WAITS: &str = "Rucio to delete the on-site copy (replica is Available)";

/// Who sees to an ordered release.
enum Deletes {
    /// Rucio, when it comes to it; what it is at, in words.
    Rucio(&'static str),
    /// Rucio, when a rule of somebody else's ends, which holds the on-site replica; which one, in words.
    AfterAnother(String),
    /// Nobody; why, in words, and the rule of ours that is there.
    Nobody(&'static str, Option<String>),
}

pub(super) fn is_overdue(row: &FileRow) -> bool {
    row.release_ordered_at.is_some_and(|at| now() - at > in_millis(TRUSTED))
}

/// Waits for Rucio, or has the release of a file decided afresh.
pub(super) async fn look_after(context: &Context, row: FileRow) -> Result<(), StageError> {
    let pace = Pace::of_deletion(&context.config());
    // while a reaper rests, thousands wait for it
    if !context.memory.releases_asked.is_due(&row.lfn, TRUSTED) {
        let waits_for = row.waits_for.as_deref().unwrap_or(WAITS);
        return context.wait_patiently(&row, pace, waits_for).await;
    }
    match who_deletes(context, &row).await {
        Ok(Deletes::Rucio(at)) => {
            context.memory.reported.is_over(&row.lfn, ANOTHER);
            context.wait_patiently(&row, pace, &format!("{WAITS}; {at}")).await
        }
        Ok(Deletes::AfterAnother(rule)) => {
            if context.memory.reported.is_news(&row.lfn, ANOTHER) {
                context.metrics.rule_trouble("another");
                if context.memory.troubles.is_first("a released copy stays on site for another rule", &row.lfn) {
                    tracing::warn!(lfn = row.lfn, "the on-site copy is released and stays: {rule}");
                }
            }
            context.wait_patiently(&row, pace, &rule).await
        }
        Ok(Deletes::Nobody(why, rule)) => {
            if context.ledger.release_order_void(&row, rule.as_deref(), why).await? {
                tracing::warn!(lfn = row.lfn, rule_id = rule, "the release was ordered and does not happen: {why}");
            }
            Ok(())
        }
        Err(error) => context.set_back(&row, error).await,
    }
}

async fn who_deletes(context: &Context, row: &FileRow) -> Result<Deletes, StageError> {
    let on_record = match &row.on_site_rule {
        Some(rule) => find(context, rule).await?,
        None => None,
    };
    // another may have been placed by a request that came late
    let rule = if on_record.is_some() {
        on_record
    } else {
        let (config, ours) = (context.config(), OwnLedgers::of(&context.ledger).await?);
        let is_it = |rule: &Rule| is_on_site_rule(&config, rule) && ours.have_placed(rule);
        context.rucio.did_rules(&row.did()).await?.into_iter().find(is_it)
    };
    match rule {
        Some(rule) => Ok(with(rule)),
        None if row.on_site_rule_end == Some(EndOfRule::Answered) => {
            let at_work = "its rule has ended, and Rucio's reaper has not come yet";
            Ok(another(context, row).await?.map_or(Deletes::Rucio(at_work), Deletes::AfterAnother))
        }
        None => Ok(Deletes::Nobody("its rule had ended before we could end it, perhaps without purge", None)),
    }
}

/// Somebody else's rule that holds a lock on the on-site replica: Rucio deletes nothing before it ends.
async fn another(context: &Context, row: &FileRow) -> Result<Option<String>, StageError> {
    let (did, on_site) = (row.did(), context.config().onsite_rse.clone());
    for rule in context.rucio.associated_rules(&did).await? {
        let locks = context.rucio.rule_locks(&rule.id).await?;
        if locks.iter().any(|lock| lock.did == did && lock.rse == on_site) {
            let end = rule.expires_at.map_or_else(|| "has no end".to_owned(), |end| format!("ends at {end}"));
            return Ok(Some(format!(
                "rule {} of account '{}' on {}, which {end}, holds the replica at {on_site}; Rucio deletes it after that",
                rule.id, rule.account, rule.did
            )));
        }
    }
    Ok(None)
}

/// Who deletes a file that such a rule is there for.
fn with(rule: Rule) -> Deletes {
    let why = if rule.expires_at.is_none() {
        "its rule stands, and has no end any more"
    } else if rule.ends_later() {
        "its rule was given a later end"
    } else if !rule.purge_replicas {
        "its rule ends without purge"
    } else {
        return Deletes::Rucio("its rule has ended, and Rucio's cleaner has not removed it yet");
    };
    Deletes::Nobody(why, Some(rule.id))
}
