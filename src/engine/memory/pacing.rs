//! Things that are done about each file or storage no more often than once in a while.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::{REMEMBERED, lock};

/// When each was done last.
#[derive(Debug, Default)]
pub(crate) struct Pacing(Mutex<HashMap<String, Instant>>);

impl Pacing {
    /// Whether it was not done for so long; counts as done now.
    pub(crate) fn is_due(&self, about: &str, again: Duration) -> bool {
        let now = Instant::now();
        let mut done = lock(&self.0);
        if done.get(about).is_some_and(|at| now.duration_since(*at) < again) {
            return false;
        }
        if done.len() >= REMEMBERED {
            done.clear();
        }
        done.insert(about.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn something_about_a_file_is_done_once_in_a_while() {
        let (pacing, again) = (Pacing::default(), Duration::from_mins(5));
        assert!(pacing.is_due("f", again));
        assert!(!pacing.is_due("f", again));
        assert!(pacing.is_due("other", again));
        tokio::time::advance(again).await;
        assert!(pacing.is_due("f", again));
    }
}
