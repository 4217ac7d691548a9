//! Which RSEs are one storage behind two doors: seen with files that are at one of them only. New files on site are witnesses
//! before they are registered, later the first copies are before others are asked for.

use std::time::Duration;

use crate::engine::memory::{Pair, pair};
use crate::engine::{Context, StageError};
use crate::ledger::FileRow;
use crate::look::{Witness, witness};
use crate::rules::Offsite;

/// Two storages that are told apart are looked at again after this.
const APART: Duration = Duration::from_hours(1);
/// Two doors to one storage, or storages of which one did not answer, after this.
const AGAIN: Duration = Duration::from_mins(1);

/// With files of which Rucio has one copy, at `here`, before others are asked for.
pub(crate) async fn tell(context: &Context, offsite: &Offsite, here: &str, rows: &[FileRow]) -> Result<(), StageError> {
    let Some(row) = rows.first() else { return Ok(()) };
    let all: Vec<&str> = offsite.rses().chain(offsite.on_the_mountain.iter().map(String::as_str)).collect();
    for other in all.into_iter().filter(|other| *other != here) {
        let both = pair(here, other);
        if !context.memory.doors.is_due(&both, AGAIN) {
            continue;
        }
        match witness(context, row, here, other).await? {
            Witness::Unknown => {}
            Witness::Apart => {
                context.memory.doors.again_in(&both, APART);
                note(context, &both, row, None).await?;
            }
            Witness::Same => {
                let why = format!("{} is at {here} only, by Rucio's word, and was found at {other} too", row.lfn);
                note(context, &both, row, Some(why)).await?;
            }
        }
    }
    Ok(())
}

/// Remembered, and said when it is news.
async fn note(context: &Context, both: &Pair, row: &FileRow, same: Option<String>) -> Result<(), StageError> {
    let (one, other) = both;
    let is_same = same.is_some();
    context.ledger.told_apart(both, &row.lfn, same.as_deref()).await?;
    if !context.memory.doors.witnessed(both, same.clone()) {
        return Ok(());
    }
    if is_same {
        tracing::error!(
            lfn = row.lfn,
            "the RSEs {one} and {other} lead to one storage: {}; copies at both count as one",
            same.unwrap_or_default()
        );
    } else {
        tracing::info!("the RSEs {one} and {other} lead to two storages now");
    }
    let words =
        |(one, other): &Pair| (one.clone(), format!("it and {other} lead to one storage: copies at both count as one"));
    context.health.notices("doors", context.memory.doors.same().keys().map(words));
    Ok(())
}

/// With new files on site, which Rucio does not know yet. Nothing is asked of it while no look is due.
pub(crate) async fn tell_from_the_site(context: &Context, rows: &[FileRow]) {
    if rows.is_empty() || !context.memory.site_told_apart.is_due("on site", AGAIN) {
        return;
    }
    let told = async {
        let offsite = match Offsite::lately(context) {
            Some(lately) => lately,
            None => Offsite::known(context).await?,
        };
        tell(context, &offsite, &context.config().onsite_rse, rows).await
    };
    if let Err(error) = told.await {
        // the next files are witnesses as good
        tracing::debug!("data centres are told from the storage on site later: {error}");
    }
}

/// What was seen before the last stop.
pub(crate) async fn recall(context: &Context) -> Result<(), StageError> {
    for (both, why) in context.ledger.same_storages().await? {
        context.memory.doors.witnessed(&both, Some(why));
    }
    Ok(())
}
