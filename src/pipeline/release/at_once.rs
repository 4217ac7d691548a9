//! Several files at once: a Rucio that is slow, or answers badly now and then, is waited for together.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::{self, StreamExt};

use super::StageError;

/// Files that are worked on at once.
const AT_ONCE: usize = 8;

/// What `work` makes of each, in no order. The first error stops all that has not begun; what is under way goes on to its
/// end, for an intent without its effect would wait for long.
pub(super) async fn at_once<T, R, F>(items: Vec<T>, work: impl Fn(T) -> F) -> Result<Vec<R>, StageError>
where
    F: Future<Output = Result<R, StageError>>,
{
    let (work, stopped) = (&work, &AtomicBool::new(false));
    let one = |item| async move {
        if stopped.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let done = work(item).await;
        stopped.fetch_or(done.is_err(), Ordering::Relaxed);
        done.map(Some)
    };
    let done: Vec<_> = stream::iter(items.into_iter().map(one)).buffer_unordered(AT_ONCE).collect().await;
    done.into_iter().filter_map(Result::transpose).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_stops_one_stops_those_that_have_not_begun_and_lets_the_others_end() {
        let (begun, ended) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let (begun, ended) = (&begun, &ended);
        let work = |n: u64| async move {
            begun.lock().unwrap().push(n);
            // the third is the first to come to an end
            tokio::time::sleep(Duration::from_secs(if n == 2 { 1 } else { 10 + n })).await;
            ended.lock().unwrap().push(n);
            if n == 2 { Err(StageError::Wait("Rucio is away".to_owned())) } else { Ok(n) }
        };
        let done = at_once((0..100).collect(), work).await;
        assert!(matches!(done, Err(StageError::Wait(_))), "{done:?}");
        let all_at_once: Vec<u64> = (0..8).collect();
        assert_eq!(*begun.lock().unwrap(), all_at_once);
        assert_eq!(ended.lock().unwrap().len(), all_at_once.len());
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_worked_on_eight_at_a_time() {
        let begun = tokio::time::Instant::now();
        let work = |n: u64| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(n)
        };
        let mut done = at_once((0..20).collect(), work).await.unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..20).collect::<Vec<_>>());
        assert_eq!(begun.elapsed().as_secs(), 3);
    }
}
