//! One stage of the road, and how it is run: claim, work, commit, until shutdown.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::custody::State;
use crate::ledger::{Claim, FileRow, now};

use super::batches::{BatchSize, Halves};
use super::job::{POLL, pause, rucio_is_up};
use super::{Context, StageError, after_failures};

/// One stage of the road.
pub trait Stage: Send + Sync + 'static {
    /// Its name in logs and metrics.
    const NAME: &'static str;
    /// The state it moves files out of.
    const STATE: State;
    /// Whether it is pointless while Rucio is away.
    const NEEDS_RUCIO: bool;

    /// Most files claimed at once.
    fn batch(&self, _config: &Config) -> usize {
        // Rucio lists whole datasets, so files are looked at by the hundred
        500
    }

    /// Batches under way at once.
    fn parallel(&self, _config: &Config) -> usize {
        1
    }

    /// How long a batch waits to fill after the first file came.
    fn gather(&self, _config: &Config) -> Duration {
        Duration::ZERO
    }

    /// Works on claimed files and commits what became of each. Files without an outcome are given back.
    fn work(&self, context: &Context, rows: Vec<FileRow>) -> impl Future<Output = Result<(), StageError>> + Send;
}

/// Runs `stage` until shutdown; work under way is finished first.
pub async fn run<S: Stage>(stage: S, context: Context) {
    let stage = Arc::new(stage);
    let mut batches = JoinSet::new();
    let size = Arc::new(BatchSize::default());
    while !context.shutdown.is_cancelled() {
        context.health.heartbeat(S::NAME);
        while batches.try_join_next().is_some() {}
        if S::NEEDS_RUCIO && !rucio_is_up(&context).await {
            continue;
        }
        let config = context.config();
        if batches.len() >= stage.parallel(&config) {
            tokio::select! {
                _ = batches.join_next() => {}
                () = tokio::time::sleep(POLL) => {}
                () = context.shutdown.cancelled() => {}
            }
            continue;
        }
        let most = size.of(stage.batch(&config));
        let claim = match context.ledger.claim(S::STATE, most).await {
            Ok(claim) => claim,
            Err(error) => {
                context.memory.reported.job_fails(S::NAME, &error.to_string());
                pause(&context, POLL).await;
                continue;
            }
        };
        context.memory.reported.job_works(S::NAME);
        if claim.rows.is_empty() {
            wait_for_work::<S>(&context, &mut batches).await;
            if !stage.gather(&config).is_zero() {
                pause(&context, stage.gather(&config)).await;
            }
            continue;
        }
        context.metrics.taken(S::NAME, claim.rows.len() as u64);
        batches.spawn(batch(Arc::clone(&stage), context.clone(), claim, Arc::clone(&size), config));
    }
    context.health.retire(S::NAME);
    while batches.join_next().await.is_some() {}
}

/// Works on a claim. What fails as a whole is tried in halves, so that one file never keeps others from their road.
async fn batch<S: Stage>(stage: Arc<S>, context: Context, mut claim: Claim, size: Arc<BatchSize>, config: Arc<Config>) {
    let started = Instant::now();
    let files = claim.rows.len() as u64;
    let mut outcome = "done";
    let mut parts = Halves::of(std::mem::take(&mut claim.rows));
    while let Some(rows) = parts.next() {
        let tried = rows.len();
        let Err(error) = attempt(&*stage, &context, rows.clone()).await else {
            size.passed(tried);
            continue;
        };
        if context.may_answer_others(&error) {
            size.failed(tried);
        }
        outcome = if error.is_transient() { "waiting" } else { "failed" };
        let left = match context.ledger.unfinished(&claim, rows).await {
            Ok(left) => left,
            Err(error) => {
                tracing::error!(stage = S::NAME, "{error}");
                break;
            }
        };
        if left.len() > 1 && error.may_concern_some() && !context.shutdown.is_cancelled() {
            parts.split(left);
        } else {
            fail::<S>(&context, &claim, &left, &error).await;
        }
    }
    context.metrics.finished(S::NAME, outcome, files, started.elapsed().as_secs_f64());
    // files without an outcome; a ledger that cannot be written now can be in a while
    while let Err(error) = context.ledger.give_back(&claim, Duration::ZERO).await {
        tracing::error!(stage = S::NAME, "claimed files cannot be given back, trying again: {error}");
        pause(&context, POLL).await;
        if context.shutdown.is_cancelled() {
            break;
        }
    }
    // read again meanwhile: what was put off may have been put off by the old ones, after all that waited had been hastened
    if !Arc::ptr_eq(&config, &context.config()) {
        context.look_again_by_new_settings().await;
    }
}

/// A panic is a defect of ours, and no reason to forget files.
async fn attempt<S: Stage>(stage: &S, context: &Context, rows: Vec<FileRow>) -> Result<(), StageError> {
    match AssertUnwindSafe(stage.work(context, rows)).catch_unwind().await {
        Ok(result) => result,
        Err(_) => Err(StageError::Defect),
    }
}

/// Files failed together: each says what it waits for, and the log says it once.
async fn fail<S: Stage>(context: &Context, claim: &Claim, rows: &[FileRow], error: &StageError) {
    let outage = context.rucio.circuit().is_open();
    let retry = context.config().retry;
    let delays: Vec<(i64, Duration)> = rows.iter().map(|row| (row.id, after_failures(&retry, row.attempts))).collect();
    if let Err(error) = context.ledger.failed(claim, &delays, &error.to_string(), !outage).await {
        tracing::error!(stage = S::NAME, "{error}");
    }
    let lfn = rows.first().map(|row| row.lfn.as_str());
    let kind = format!("{} fails ({})", S::NAME, error.label());
    // the circuit has said the first already, and the log the second
    if outage || !context.memory.troubles.is_first(&kind, lfn.unwrap_or_default()) {
        return;
    }
    if error.is_transient() {
        tracing::warn!(stage = S::NAME, files = rows.len(), lfn, "{error}; trying again");
    } else {
        tracing::error!(stage = S::NAME, files = rows.len(), lfn, "{error}");
    }
}

async fn wait_for_work<S: Stage>(context: &Context, batches: &mut JoinSet<()>) {
    let due = context.ledger.next_due(S::STATE).await.ok().flatten();
    let until_due = due.map_or(POLL, |due| Duration::from_millis(u64::try_from(due - now()).unwrap_or(0)));
    tokio::select! {
        () = context.woken(S::STATE) => {}
        // what it has put off may be due before anything else
        Some(_) = batches.join_next() => {}
        () = tokio::time::sleep(until_due.clamp(Duration::from_millis(5), POLL)) => {}
        () = context.shutdown.cancelled() => {}
    }
}
