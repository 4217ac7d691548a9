//! When a failed call is made again.

use std::future::Future;
use std::time::Duration;

use rand::{Rng, RngExt};
use tokio::time::Instant;

use super::errors::{Error, Outlook};

/// How patiently one call is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The shortest pause.
    pub initial: Duration,
    /// The longest pause.
    pub max: Duration,
    /// No attempt begins later than this after the first; zero: one attempt only.
    pub budget: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { initial: Duration::from_millis(200), max: Duration::from_secs(5), budget: Duration::from_secs(20) }
    }
}

/// Whether making a call twice does the same as making it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It does: reading, and writing that ends in the same place.
    Safe,
    /// It may not: repeated only if the first request never left this machine.
    OnlyIfNotSent,
}

/// Pauses with decorrelated jitter: each is drawn between the shortest pause and three times the one before, so that
/// clients that failed together do not come back together.
#[derive(Debug)]
struct Pauses<R> {
    initial: Duration,
    max: Duration,
    last: Duration,
    rng: R,
}

impl<R: Rng> Pauses<R> {
    fn new(retry: Retry, rng: R) -> Self {
        Self { initial: retry.initial, max: retry.max.max(retry.initial), last: retry.initial, rng }
    }

    fn next(&mut self) -> Duration {
        let ceiling = self.last.saturating_mul(3).max(self.initial);
        self.last = self.rng.random_range(self.initial..=ceiling).min(self.max);
        self.last
    }
}

/// Makes `attempt` until it succeeds, fails for good, must not be repeated, `give_up` says so, or the budget is spent;
/// the last error is returned. Dropping the future stops everything at once.
pub(super) async fn run<T, F>(
    retry: Retry,
    repeat: Repeat,
    rng: impl Rng,
    give_up: impl Fn() -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let start = Instant::now();
    let mut pauses = Pauses::new(retry, rng);
    loop {
        let error = match attempt().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let allowed = error.outlook() == Outlook::Soon && (repeat == Repeat::Safe || error.is_not_sent());
        if !allowed || give_up() {
            return Err(error);
        }
        let pause = pauses.next();
        if start.elapsed() + pause > retry.budget {
            return Err(error);
        }
        tracing::debug!(%error, pause_ms = pause.as_millis(), "trying again");
        tokio::time::sleep(pause).await;
    }
}
