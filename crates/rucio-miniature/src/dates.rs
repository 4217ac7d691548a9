//! Rucio's way of writing a moment: `Sun, 22 Nov 2026 12:00:13 UTC`.

use std::time::{Duration, SystemTime};

/// Seconds in a hundred years: further away than any lifetime means.
const CENTURY: f64 = 100.0 * 365.25 * 86_400.0;

/// `now` plus a number of seconds from a request; anything below zero is now, anything absurd a century away.
pub(crate) fn after(now: SystemTime, seconds: f64) -> SystemTime {
    let seconds = if seconds.is_nan() { 0.0 } else { seconds.clamp(0.0, CENTURY) };
    now + Duration::from_secs_f64(seconds)
}

/// RFC 1123, but with `UTC` where HTTP has `GMT`.
pub(crate) fn rucio(at: SystemTime) -> String {
    httpdate::fmt_http_date(at).replace("GMT", "UTC")
}

/// ISO 8601 without a zone, which a few of Rucio's answers have instead.
pub(crate) fn iso(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map(|at| at.strftime("%Y-%m-%dT%H:%M:%S").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_reads_as_rucio_writes_it() {
        assert_eq!(rucio(SystemTime::UNIX_EPOCH + Duration::from_hours(24)), "Fri, 02 Jan 1970 00:00:00 UTC");
    }

    #[test]
    fn an_absurd_lifetime_is_no_panic() {
        let now = SystemTime::UNIX_EPOCH;
        for seconds in [f64::INFINITY, f64::NAN, -1.0, 1e300] {
            assert!(after(now, seconds) >= now);
        }
    }
}
