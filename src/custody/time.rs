//! The unit of time of the ledger and of all decisions.

use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00 UTC.
pub type UnixMillis = i64;

/// A span of time in the unit of [`UnixMillis`]; at most half its range, which leaves room for a sum.
pub fn in_millis(span: Duration) -> UnixMillis {
    UnixMillis::try_from(span.as_millis()).unwrap_or(UnixMillis::MAX / 2)
}
