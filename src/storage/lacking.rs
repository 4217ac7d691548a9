//! Digests that storages do not have, so that they are not asked for them in vain at each look.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use url::Url;

use super::digest::Algorithm;
use super::pfn::server;

/// A storage that had another digest is asked again after this: it may have learnt the algorithm, or have refused one
/// question for another reason.
const REMEMBERED: Duration = Duration::from_hours(1);
/// One that had none at all: what computes them may be out of order.
const BRIEFLY: Duration = Duration::from_mins(5);

/// By door and algorithm, until when it is not asked.
#[derive(Debug, Default)]
pub(super) struct Lacking(Mutex<HashMap<(String, Algorithm), Instant>>);

impl Lacking {
    pub(super) fn lacks(&self, door: &Url, algorithm: Algorithm) -> bool {
        self.lock().get(&(server(door), algorithm)).is_some_and(|until| Instant::now() < *until)
    }

    /// The storage has answered about a file, and has none of these; `others`: but another.
    pub(super) fn lack(&self, door: &Url, algorithms: &[Algorithm], others: bool) {
        let until = Instant::now() + if others { REMEMBERED } else { BRIEFLY };
        let mut lacking = self.lock();
        for &algorithm in algorithms {
            lacking.insert((server(door), algorithm), until);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Algorithm), Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
