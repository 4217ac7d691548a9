//! Runs a stage: claim, work, commit, until shutdown.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::ledger::{Claim, FileRow, now};
use crate::telemetry::Health;

use super::{Context, Stage, StageError, backoff};

/// Looking at the ledger without a wake-up: a safety net, and the pace of the heartbeat.
const POLL: Duration = Duration::from_secs(2);
/// Rounds in a row that may fail for a passing reason. What then still fails while Rucio answers others (a list that never
/// arrives in time) does not pass by itself.
const PASSING: u32 = 3;
/// Between two rounds of a job, even with so short a rest as tests have.
const LEAST_PAUSE: Duration = Duration::from_millis(50);

/// Runs `stage` until shutdown; work under way is finished first.
pub async fn run<S: Stage>(stage: S, context: Context) {
    let stage = Arc::new(stage);
    let mut batches = JoinSet::new();
    let bite = Arc::new(Bite::default());
    let mut trouble = Trouble::default();
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
        let most = bite.of(stage.batch(&config));
        let claim = match context.ledger.claim(S::STATE, most).await {
            Ok(claim) => claim,
            Err(error) => {
                context.health.set_ready("ledger", Err("cannot be written, see the log".to_owned()));
                trouble.say(S::NAME, &error.to_string());
                pause(&context, POLL).await;
                continue;
            }
        };
        context.health.set_ready("ledger", Ok(()));
        trouble.over(S::NAME);
        if claim.rows.is_empty() {
            wait_for_work::<S>(&context, &mut batches).await;
            if !stage.gather(&config).is_zero() {
                pause(&context, stage.gather(&config)).await;
            }
            continue;
        }
        context.metrics.taken(S::NAME, claim.rows.len() as u64);
        batches.spawn(batch(Arc::clone(&stage), context.clone(), claim, Arc::clone(&bite), config));
    }
    context.health.retire(S::NAME);
    while batches.join_next().await.is_some() {}
}

/// Works on a claim. What fails as a whole is tried in halves, so that one file never keeps others from their road.
async fn batch<S: Stage>(stage: Arc<S>, context: Context, mut claim: Claim, bite: Arc<Bite>, config: Arc<Config>) {
    let started = Instant::now();
    let files = claim.rows.len() as u64;
    let mut outcome = "done";
    let mut parts = vec![std::mem::take(&mut claim.rows)];
    while let Some(rows) = parts.pop() {
        let tried = rows.len();
        let Err(error) = attempt(&*stage, &context, rows.clone()).await else {
            bite.swallowed(tried);
            continue;
        };
        if context.may_answer_others(&error) {
            bite.too_much(tried);
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
            let (first, second) = left.split_at(left.len() / 2);
            parts.extend([second.to_vec(), first.to_vec()]);
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

/// How many files a stage takes at once: fewer after a batch failed while Rucio was up, since as many again might never pass
/// (too much for Rucio to do in time, or too many answers of which one goes wrong); then gradually more, up to the stage's
/// own number.
struct Bite(AtomicUsize);

impl Default for Bite {
    fn default() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }
}

impl Bite {
    fn of(&self, wanted: usize) -> usize {
        wanted.min(self.0.load(Ordering::Relaxed))
    }

    fn too_much(&self, files: usize) {
        self.0.store((files / 2).max(1), Ordering::Relaxed);
    }

    fn swallowed(&self, files: usize) {
        if files >= self.0.load(Ordering::Relaxed) {
            self.0.store(files + files / 4 + 1, Ordering::Relaxed);
        }
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
    let delays: Vec<(i64, Duration)> =
        rows.iter().map(|row| (row.id, backoff::after_failures(&retry, row.attempts))).collect();
    if let Err(error) = context.ledger.failed(claim, &delays, &error.to_string(), !outage).await {
        tracing::error!(stage = S::NAME, "{error}");
    }
    let lfn = rows.first().map(|row| row.lfn.as_str());
    if outage {
        // the circuit has said it already
    } else if error.is_transient() {
        tracing::warn!(stage = S::NAME, files = rows.len(), lfn, "{error}; trying again");
    } else {
        tracing::error!(stage = S::NAME, files = rows.len(), lfn, "{error}");
    }
}

/// Waits (a little at a time, so that the heart beats) until Rucio has passed its checks and answers.
pub(super) async fn rucio_is_up(context: &Context) -> bool {
    if *context.gate.borrow() && !context.rucio.circuit().is_open() {
        return true;
    }
    let mut gate = context.gate.clone();
    let up = async {
        if gate.wait_for(|open| *open).await.is_ok() {
            context.rucio.circuit().closed().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = up => true,
        () = tokio::time::sleep(POLL) => false,
        () = context.shutdown.cancelled() => false,
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

pub(super) async fn pause(context: &Context, time: Duration) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = context.shutdown.cancelled() => {}
    }
}

/// Runs a job that is not about single files, round after round, until shutdown: whenever Rucio is up and the rest after the
/// round before is over.
pub(super) async fn rounds<F: Future<Output = Result<(), StageError>>>(
    context: &Context,
    job: &'static str,
    rest: impl Fn(&Config) -> Duration,
    round: impl Fn() -> F,
) {
    let (mut trouble, mut failed) = (Trouble::default(), 0);
    let mut began = None;
    while !context.shutdown.is_cancelled() {
        context.health.heartbeat(job);
        if !rucio_is_up(context).await {
            continue;
        }
        // as the configuration has it now: it may have been read again
        let due = |began: Option<Instant>| began.map_or_else(Instant::now, |began| began + rest(&context.config()));
        if due(began) <= Instant::now() {
            began = Some(Instant::now());
            match alive(&context.health, job, Box::pin(round())).await {
                Ok(()) => {
                    failed = 0;
                    trouble.over(job);
                }
                Err(error) if error.is_transient() && (context.rucio.circuit().is_open() || failed < PASSING) => {
                    failed += u32::from(!context.rucio.circuit().is_open());
                    tracing::debug!(stage = job, "later: {error}");
                }
                Err(error) => trouble.say(job, &error.to_string()),
            }
        }
        pause(context, due(began).saturating_duration_since(Instant::now()).clamp(LEAST_PAUSE, POLL)).await;
    }
    context.health.retire(job);
}

/// Work that may take long, and shows a heartbeat all the while: long work is not stuck, what may hang has its own limits. A
/// panic is a defect of ours, and the job goes on.
pub(super) async fn alive(
    health: &Health,
    job: &'static str,
    work: impl Future<Output = Result<(), StageError>>,
) -> Result<(), StageError> {
    let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
    loop {
        health.heartbeat(job);
        tokio::select! {
            done = &mut work => return done.unwrap_or(Err(StageError::Defect)),
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Says a trouble once, until it changes or ends.
#[derive(Default)]
pub(super) struct Trouble(Option<String>);

impl Trouble {
    pub(super) fn say(&mut self, stage: &'static str, trouble: &str) {
        if self.0.as_deref() != Some(trouble) {
            tracing::error!(stage, "{trouble}");
            self.0 = Some(trouble.to_owned());
        }
    }

    pub(super) fn over(&mut self, stage: &'static str) {
        if self.0.take().is_some() {
            tracing::info!(stage, "works again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_job_is_alive_while_its_work_takes_long() {
        let health = Health::default();
        let work = async {
            for _ in 0..3 {
                health.retire("job");
                tokio::time::sleep(2 * POLL).await;
                assert!(health.live(Duration::ZERO).is_err(), "no heartbeat since");
            }
            Ok(())
        };
        alive(&health, "job", work).await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_in_a_job_is_an_error_of_that_round() {
        let work = async { panic!("a defect") };
        assert!(matches!(alive(&Health::default(), "job", work).await, Err(StageError::Defect)));
    }
}
