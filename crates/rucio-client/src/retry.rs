//! When a failed call is made again.

use std::future::Future;
use std::time::Duration;

use rand::{Rng, RngExt};
use tokio::time::Instant;

use crate::errors::{Error, Outlook};

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
pub(crate) enum Repeat {
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
pub(crate) async fn run<T, F>(
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::{Cell, RefCell};

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::Kind;
    use super::*;

    const RETRY: Retry =
        Retry { initial: Duration::from_millis(100), max: Duration::from_secs(2), budget: Duration::from_secs(10) };

    fn failure(outlook: Outlook) -> Error {
        Error::new(Kind::Transient, outlook, "no".into())
    }

    /// Runs until it ends; gives the result, and when each attempt began, in milliseconds.
    async fn times(repeat: Repeat, give_up: bool, attempts: impl Fn(usize) -> Result<(), Error>) -> (bool, Vec<u128>) {
        let start = Instant::now();
        let begun = RefCell::new(Vec::new());
        let attempt = || {
            begun.borrow_mut().push(start.elapsed().as_millis());
            std::future::ready(attempts(begun.borrow().len()))
        };
        let result = run(RETRY, repeat, StdRng::seed_from_u64(7), || give_up, attempt).await;
        (result.is_ok(), begun.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_stay_bounded_and_end_with_the_budget() {
        let (passed, begun) = times(Repeat::Safe, false, |_| Err(failure(Outlook::Soon))).await;
        assert!(!passed);
        let pauses: Vec<u128> = begun.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses.iter().all(|pause| (100..=2001).contains(pause)), "{pauses:?}");
        for pair in pauses.windows(2) {
            assert!(pair[1] <= pair[0] * 3 + 3, "{pauses:?}");
        }
        assert!(*begun.last().unwrap() <= 10_000, "{begun:?}");
        // a pause is at most 2 s, so the last attempt lies in the last 2 s of the budget
        assert!(*begun.last().unwrap() > 8_000, "{begun:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_seed_pauses_the_same() {
        let first = times(Repeat::Safe, false, |_| Err(failure(Outlook::Soon))).await;
        let second = times(Repeat::Safe, false, |_| Err(failure(Outlook::Soon))).await;
        assert_eq!(first, second);
    }

    #[tokio::test(start_paused = true)]
    async fn success_ends_it() {
        let (passed, begun) =
            times(Repeat::Safe, false, |n| if n < 3 { Err(failure(Outlook::Soon)) } else { Ok(()) }).await;
        assert!(passed);
        assert_eq!(begun.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_heal_soon_and_is_safe_is_repeated() {
        for (repeat, error, attempts) in [
            (Repeat::Safe, failure(Outlook::Never), 1),
            (Repeat::Safe, failure(Outlook::Later), 1),
            (Repeat::Safe, failure(Outlook::Soon), 2),
            (Repeat::OnlyIfNotSent, failure(Outlook::Soon), 1),
            (Repeat::OnlyIfNotSent, failure(Outlook::Soon).never_sent(), 2),
            (Repeat::OnlyIfNotSent, failure(Outlook::Never).never_sent(), 1),
        ] {
            let what = format!("{repeat:?} {error:?}");
            let (_, begun) = times(repeat, false, |n| if n == 1 { Err(error.clone()) } else { Ok(()) }).await;
            assert_eq!(begun.len(), attempts, "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_repeated_once_given_up() {
        let (passed, begun) = times(Repeat::Safe, true, |_| Err(failure(Outlook::Soon))).await;
        assert!(!passed);
        assert_eq!(begun.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_it_in_a_pause_stops_it() {
        let attempts = Cell::new(0);
        let attempt = || {
            attempts.set(attempts.get() + 1);
            std::future::ready(Err::<(), _>(failure(Outlook::Soon)))
        };
        let running = run(RETRY, Repeat::Safe, StdRng::seed_from_u64(7), || false, attempt);
        assert!(tokio::time::timeout(Duration::from_millis(50), running).await.is_err());
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(attempts.get(), 1);
    }
}
