//! When to look again.

use std::time::Duration;

use rand::RngExt;

use crate::config::Backoff;
use crate::custody::UnixMillis;
use crate::ledger::now;

/// A file that changes while it is read is left alone for so long.
pub(super) const STILL_WRITING: Duration = Duration::from_secs(1);

/// After `attempts` failures of a file's own: capped exponential, with jitter so that files do not march in step.
pub(super) fn after_failures(backoff: &Backoff, attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(0, 30)).unwrap_or(30);
    let delay = backoff.initial.saturating_mul(2u32.saturating_pow(doublings)).min(backoff.max);
    delay.mul_f64(rand::rng().random_range(0.5..1.0))
}

/// For something that normally takes its time: a tenth of the time waited so far, between the two bounds.
pub(super) fn patient(since: UnixMillis, least: Duration, most: Duration) -> Duration {
    let waited = Duration::from_millis(u64::try_from(now() - since).unwrap_or(0));
    (waited / 10).clamp(least, most.max(least))
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
        assert_eq!(patient(now(), least, most), least);
        assert_eq!(patient(now() - 1_000_000, least, most), most);
        let between = patient(now() - 100_000, least, most);
        assert!(between >= Duration::from_secs(10) && between < Duration::from_secs(11), "{between:?}");
    }
}
