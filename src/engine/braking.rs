//! The brakes of release as they stand now, and the watch that reports them.

use std::time::Duration;

use crate::config::Config;
use crate::custody::State;
use crate::custody::brakes::{Brake, Brakes, Hold, Limits, Trip};
use crate::kill_switch;
use crate::ledger::{FileRow, now};
use crate::names::Did;
use crate::telemetry::health::Need;

use super::job::pause;
use super::{Context, StageError, blocking};

/// Between two looks of the watch.
const PACE: Duration = Duration::from_secs(1);

/// The configured limits of an hour.
pub(crate) fn limits(config: &Config) -> Limits {
    Limits { files: u64::from(config.release.max_files_per_hour), bytes: config.release.max_bytes_per_hour }
}

/// The content of the kill switch, looked at now.
pub(crate) async fn kill_switch(context: &Context) -> Option<String> {
    let path = context.config().kill_switch_path();
    blocking(move || kill_switch::reason(&path)).await
}

/// The brakes of all files as they stand now, looked up once for a batch: counting the last hour costs more than a look at
/// a file's holds.
struct BatchBrakes {
    general: Brakes,
    holds: Vec<Hold>,
    limits: Limits,
}

impl BatchBrakes {
    async fn now(context: &Context) -> Result<Self, StageError> {
        let brakes = context.ledger.brakes(None, true).await?;
        Ok(Self {
            general: Brakes { kill_switch: kill_switch(context).await, ..brakes },
            holds: context.ledger.holds().await?,
            limits: limits(&context.config()),
        })
    }

    fn allow(&self, row: &FileRow) -> Result<(), Brake> {
        let dataset = row.dataset_did().to_string();
        let hold = self.holds.iter().find(|hold| hold.covers(&row.lfn, &dataset)).cloned();
        (Brakes { hold, ..self.general.clone() }).allows(row.bytes, self.limits, now())
    }
}

/// The files that no brake stops as far as can be seen without asking anybody; the others wait. The intent of each is
/// checked again in its own transaction.
pub(crate) async fn unbraked(context: &Context, rows: Vec<FileRow>) -> Result<Vec<FileRow>, StageError> {
    let brakes = BatchBrakes::now(context).await?;
    let (mut free, mut braked) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        match brakes.allow(&row) {
            Ok(()) => free.push(row),
            Err(brake) => {
                put_off(context, &row, &brake).await?;
                if can_be_lifted(&brake) {
                    braked.push(row);
                }
            }
        }
    }
    if !braked.is_empty() {
        let brakes = BatchBrakes::now(context).await?;
        for row in braked.iter().filter(|row| brakes.allow(row).is_ok()) {
            go_on(context, row).await?;
        }
    }
    Ok(free)
}

/// What stops a release that is decided and not carried out, or the removal of what a release left.
pub(crate) async fn before_going_on(context: &Context, row: &FileRow) -> Result<Option<Brake>, StageError> {
    let brakes = Brakes { kill_switch: kill_switch(context).await, ..context.ledger.brakes(Some(row), false).await? };
    Ok(brakes.allows(row.bytes, limits(&context.config()), now()).err())
}

/// What stops the settling of a dataset, which gives up rules.
pub(crate) async fn brake_of_dataset(context: &Context, dataset: &Did) -> Result<Option<Brake>, StageError> {
    let known = context.ledger.brakes_of_dataset(dataset).await?;
    Ok(Brakes { kill_switch: kill_switch(context).await, ..known }.allows(0, Limits::NONE, now()).err())
}

/// A braked file waits.
pub(crate) async fn wait_for_brake(context: &Context, row: &FileRow, brake: &Brake) -> Result<(), StageError> {
    put_off(context, row, brake).await?;
    if can_be_lifted(brake) && before_going_on(context, row).await?.is_none() {
        go_on(context, row).await?;
    }
    Ok(())
}

async fn put_off(context: &Context, row: &FileRow, brake: &Brake) -> Result<(), StageError> {
    context.wait(row, brake.look_again(now()), &brake.to_string()).await
}

/// Whether somebody can lift it; the limits of an hour end by themselves.
fn can_be_lifted(brake: &Brake) -> bool {
    !matches!(brake, Brake::Spent { .. })
}

/// Whoever lifted a brake while a file was put off made due what waited then, and this file waits only now.
async fn go_on(context: &Context, row: &FileRow) -> Result<(), StageError> {
    context.wait(row, Duration::ZERO, "a brake that was just lifted").await
}

/// Reports the kill switch and the breaker when they change, and lets files go on when the kill switch has gone. (What
/// operators do with the ledger makes files due by itself.) Runs until shutdown.
pub async fn watch(context: Context) {
    let mut switch = None;
    let mut breaker = None;
    while !context.shutdown.is_cancelled() {
        context.health.heartbeat("brakes");
        let now_switch = kill_switch(&context).await;
        if now_switch != switch {
            report_switch(&context, now_switch.as_deref()).await;
            switch = now_switch;
        }
        match context.ledger.breaker().await {
            Ok(now_breaker) => {
                context.memory.reported.job_works("brakes");
                report_breaker(&context, breaker.as_ref(), now_breaker.as_ref());
                breaker = now_breaker;
            }
            Err(error) => context.memory.reported.job_fails("brakes", &error.to_string()),
        }
        pause(&context, PACE).await;
    }
    context.health.retire("brakes");
}

async fn report_switch(context: &Context, reason: Option<&str>) {
    context.metrics.kill_switch(reason.is_some());
    let path = context.config().kill_switch_path();
    if let Some(reason) = reason {
        tracing::warn!(path = %path.display(), "the kill switch stops all releases: {reason}");
        return;
    }
    tracing::info!(path = %path.display(), "the kill switch is gone, releases go on");
    context.hasten(&[State::Confirmed, State::Releasing]).await;
}

fn report_breaker(context: &Context, before: Option<&Trip>, open: Option<&Trip>) {
    context.metrics.release_breaker(open.is_some());
    // no names and no paths on a page that anybody may read
    let ready = open.map_or(Ok(()), |trip| Err(format!("open ({}), see dl0-ingest breaker", trip.code)));
    context.health.set(Need::ReleaseBreaker, ready);
    match open {
        Some(trip) if before != Some(trip) => tracing::error!(
            code = trip.code,
            lfn = trip.lfn,
            "the release breaker is open, nothing is released until an operator resets it: {}",
            trip.reason
        ),
        None if before.is_some() => tracing::info!("the release breaker was reset, releases go on"),
        _ => {}
    }
}
