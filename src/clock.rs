//! The daemon's own clock: set once, by the system's clock when the process starts, and even from then on.
//!
//! Hold times, hours of the brakes, freshness of evidence and waiting times are all measured by it, so that nobody who sets
//! the system's clock makes any of them shorter or longer. What happens across a restart is for the ledger to judge
//! (`ledger::clock`), which keeps [`booted_at`].

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

use crate::custody::UnixMillis;

/// Two clocks that are asked one after the other, or that are slewed, differ by less than this, in milliseconds. More means
/// that somebody set one of them.
pub(crate) const TOLERANCE: i64 = 1000;

static START: LazyLock<(UnixMillis, Instant)> = LazyLock::new(|| (system(), Instant::now()));
/// By how much the system's clock is known to have been set since the start of the process.
static SET_BY: AtomicI64 = AtomicI64::new(0);
/// When that was noticed last.
static LAST_SET: AtomicI64 = AtomicI64::new(UnixMillis::MIN);

/// Now.
pub fn now() -> UnixMillis {
    let now = steady();
    if differs(system() - now) && differs(system() - steady()) {
        notice(system() - now, now);
    }
    now
}

/// When the system's clock was last found to have been set, or the machine to have stood still; before everything if never.
pub(crate) fn last_set() -> UnixMillis {
    now();
    LAST_SET.load(Ordering::Acquire)
}

/// When the machine was started, by this clock. The answer changes only when the machine is started anew, or when its clock
/// was set between the starts of two processes.
pub(crate) fn booted_at() -> UnixMillis {
    let uptime = clock_gettime(ClockId::Boottime);
    now() - uptime.tv_sec * 1000 - uptime.tv_nsec / 1_000_000
}

fn system() -> UnixMillis {
    jiff::Timestamp::now().as_millisecond()
}

fn steady() -> UnixMillis {
    let (began, start) = &*START;
    began.saturating_add(i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX))
}

fn differs(set_by: i64) -> bool {
    (set_by - SET_BY.load(Ordering::Relaxed)).abs() > TOLERANCE
}

/// Said once for each time the clock is set.
fn notice(set_by: i64, now: UnixMillis) {
    let known = SET_BY.swap(set_by, Ordering::Relaxed);
    if (set_by - known).abs() <= TOLERANCE {
        // somebody else has noticed it in the meantime
        return;
    }
    LAST_SET.store(now, Ordering::Release);
    let (seconds, way) = ((set_by - known).abs() / 1000, if set_by > known { "forward" } else { "back" });
    tracing::warn!(
        "the system's clock was set {way} by {seconds} s; waiting times are not touched by that, and the ledger's times stay \
         {} s off until the daemon is started anew",
        set_by.abs() / 1000
    );
}

/// As if somebody had set the system's clock just now.
#[cfg(test)]
pub(crate) fn pretend_to_be_set() {
    LAST_SET.store(now(), Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_the_systems_time_and_never_goes_back() {
        let times: Vec<UnixMillis> = (0..1000).map(|_| now()).collect();
        assert!(times.is_sorted());
        assert!((system() - times[999]).abs() < TOLERANCE, "{} and {}", system(), times[999]);
    }

    #[test]
    fn the_start_of_the_machine_stays_where_it_is() {
        let first = booted_at();
        assert!(first < now());
        assert!((booted_at() - first).abs() <= 1);
    }
}
