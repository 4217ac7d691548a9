//! Jobs that are not about single files: round after round, until shutdown.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use crate::config::Config;
use crate::telemetry::Health;

use super::{Context, StageError};

/// Looking without a wake-up: a safety net, and the pace of the heartbeat.
pub(super) const POLL: Duration = Duration::from_secs(2);
/// Rounds in a row that may fail for a passing reason. What then still fails while Rucio answers others (a list that never
/// arrives in time) does not pass by itself.
const PASSING: u32 = 3;
/// Between two rounds of a job, even with so short a rest as tests have.
const LEAST_PAUSE: Duration = Duration::from_millis(50);

/// Waits (a little at a time, so that the heart beats) until Rucio has passed its checks and answers.
pub(crate) async fn rucio_is_up(context: &Context) -> bool {
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

pub(crate) async fn pause(context: &Context, time: Duration) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = context.shutdown.cancelled() => {}
    }
}

/// Runs a job that is not about single files, round after round, until shutdown: whenever Rucio is up and the rest after the
/// round before is over.
pub(crate) async fn rounds<F: Future<Output = Result<(), StageError>>>(
    context: &Context,
    job: &'static str,
    rest: impl Fn(&Config) -> Duration,
    round: impl Fn() -> F,
) {
    let mut failed = 0;
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
                    context.memory.reported.job_works(job);
                }
                Err(error) if error.is_transient() && (context.rucio.circuit().is_open() || failed < PASSING) => {
                    failed += u32::from(!context.rucio.circuit().is_open());
                    tracing::debug!(stage = job, "later: {error}");
                }
                Err(error) => context.memory.reported.job_fails(job, &error.to_string()),
            }
        }
        pause(context, due(began).saturating_duration_since(Instant::now()).clamp(LEAST_PAUSE, POLL)).await;
    }
    context.health.retire(job);
}

/// Work that may take long, and shows a heartbeat all the while: long work is not stuck, what may hang has its own limits. A
/// panic is a defect of ours, and the job goes on.
pub(crate) async fn alive(
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
