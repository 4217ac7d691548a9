//! Crash points: places before and after every effect where a debug build can be made to die.
//!
//! A point is called `room.effect.before` or `room.effect.after`. The few places that all effects pass through name them:
//! Rucio's calls by their endpoint, the ledger's transactions by the events in them, the disk by what is done to it.
//! A release build has nothing of this: the functions are empty.

use std::sync::Arc;

use rucio_client::ChangeHook;

#[cfg(debug_assertions)]
mod points;

#[cfg(debug_assertions)]
pub(crate) use points::{after, before, begun, committing, note};

#[cfg(not(debug_assertions))]
pub(crate) use absent::{after, before, begun, committing, note};

/// Passes the points before and after an effect that is awaited.
pub(crate) async fn around<T>(room: &'static str, effect: &'static str, work: impl Future<Output = T>) -> T {
    before(room, effect);
    let done = work.await;
    after(room, effect);
    done
}

/// What tells Rucio's client to pass the points before and after each call that changes something: by its endpoint.
#[cfg(debug_assertions)]
#[allow(clippy::unnecessary_wraps, reason = "a release build has none")]
pub(crate) fn around_rucios_changes() -> Option<Arc<dyn ChangeHook>> {
    #[derive(Debug)]
    struct Points;

    impl ChangeHook for Points {
        fn before(&self, endpoint: &'static str) {
            before("rucio", endpoint);
        }

        fn after(&self, endpoint: &'static str) {
            after("rucio", endpoint);
        }
    }

    Some(Arc::new(Points))
}

/// Nothing: there are no points to pass.
#[cfg(not(debug_assertions))]
pub(crate) const fn around_rucios_changes() -> Option<Arc<dyn ChangeHook>> {
    None
}

#[cfg(not(debug_assertions))]
mod absent {
    /// The effect is about to happen.
    pub(crate) const fn before(_room: &str, _effect: &str) {}
    /// The effect has happened.
    pub(crate) const fn after(_room: &str, _effect: &str) {}
    /// A transaction of the ledger's writer has begun.
    pub(crate) const fn begun() {}
    /// Something is written in the open transaction, which is called by it.
    pub(crate) const fn note(_kind: &str) {}
    /// Commits the open transaction.
    pub(crate) async fn committing<T>(commit: impl Future<Output = T>) -> T {
        commit.await
    }
}
