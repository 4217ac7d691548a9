//! Who listens to a client.

use std::fmt;

/// Is told what the client sees, for metrics. What is of no interest need not be written.
pub trait Observer: Send + Sync {
    /// One exchange is over: `outcome` is `ok` or a [`Kind::as_str`](crate::Kind::as_str).
    fn request(&self, endpoint: &'static str, outcome: &'static str, seconds: f64) {
        let _ = (endpoint, outcome, seconds);
    }

    /// The circuit has opened (true) or closed.
    fn circuit(&self, open: bool) {
        let _ = open;
    }

    /// There is a new token, good until then.
    fn token_expiry(&self, unix_seconds: f64) {
        let _ = unix_seconds;
    }
}

/// Wants to know nothing.
impl Observer for () {}

/// Is told right before and right after each exchange that may change something in Rucio.
///
/// It is meant for tests of what happens when a process stops at such a point. `endpoint` names the call as in
/// [`Observer::request`]: `attach`, `add_rules`, …
pub trait ChangeHook: fmt::Debug + Send + Sync {
    /// The request is about to leave.
    fn before(&self, endpoint: &'static str);
    /// It was answered, or has failed.
    fn after(&self, endpoint: &'static str);
}
