//! When to look again.

use std::time::Duration;

use rand::RngExt;

use crate::config::{Backoff, Config};
use crate::custody::UnixMillis;
use crate::ledger::now;

/// A file that changes while it is read is left alone for so long.
pub(crate) const STILL_WRITING: Duration = Duration::from_secs(1);

/// After this long without its copies, a file's rules and the file itself are looked at: somebody may have removed them.
pub(crate) const OVERDUE: Duration = Duration::from_mins(5);

/// The shortest and the longest wait for something that normally takes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// At the beginning.
    pub(crate) least: Duration,
    /// However long it has taken.
    pub(crate) most: Duration,
}

impl Pace {
    /// For copies and their evidence.
    pub(crate) fn of_copies(config: &Config) -> Self {
        Self { least: config.confirm.poll, most: config.confirm.poll_max }
    }

    /// For Rucio's deletion.
    pub(crate) fn of_deletion(config: &Config) -> Self {
        Self { least: config.release.poll, most: config.release.poll_max }
    }

    /// For the first copy.
    pub(crate) fn of_first_copy(config: &Config) -> Self {
        Self { least: config.replicate.poll, most: config.replicate.poll_max }
    }

    /// A tenth of the time that has passed `since`, within the bounds.
    pub(crate) fn after(self, since: UnixMillis) -> Duration {
        let waited = Duration::from_millis(u64::try_from(now() - since).unwrap_or(0));
        (waited / 10).clamp(self.least, self.most.max(self.least))
    }
}

/// After `attempts` failures of a file's own: capped exponential, with jitter so that files do not march in step.
pub(crate) fn after_failures(backoff: &Backoff, attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(0, 30)).unwrap_or(30);
    let delay = backoff.initial.saturating_mul(2u32.saturating_pow(doublings)).min(backoff.max);
    delay.mul_f64(rand::rng().random_range(0.5..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_wait_longer_and_longer_up_to_the_cap() {
        let backoff = Backoff { initial: Duration::from_secs(1), max: Duration::from_mins(5) };
        for attempts in 0..100 {
            let cap = Duration::from_secs(1u64.checked_shl(attempts).unwrap_or(u64::MAX).clamp(1, 300));
            let delay = after_failures(&backoff, i64::from(attempts));
            assert!(delay <= cap && delay >= cap / 2, "{attempts}: {delay:?}");
        }
    }

    #[test]
    fn a_patient_wait_keeps_its_bounds() {
        let (least, most) = (Duration::from_secs(2), Duration::from_secs(15));
        let pace = Pace { least, most };
        assert_eq!(pace.after(now()), least);
        assert_eq!(pace.after(now() - 1_000_000), most);
        let between = pace.after(now() - 100_000);
        assert!(between >= Duration::from_secs(10) && between < Duration::from_secs(11), "{between:?}");
    }
}
