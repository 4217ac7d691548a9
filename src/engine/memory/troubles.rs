//! Troubles that many files or rules have at once: one line when the first has it, then how many more, ever more rarely.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::lock;
use crate::engine::Context;

/// Between two lines about one kind of trouble: the first rest, and the longest.
const REST: Duration = Duration::from_mins(1);
const REST_MAX: Duration = Duration::from_hours(1);

/// By kind.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<BTreeMap<String, Kind>>);

#[derive(Debug)]
struct Kind {
    /// When the next line is due.
    due: Instant,
    rest: Duration,
    /// Met since the last line.
    more: u64,
    /// The last of them.
    example: String,
}

/// What is to be logged of a kind of trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct More {
    /// What kind.
    pub(crate) kind: String,
    /// How often it was met since the last line.
    pub(crate) count: u64,
    /// The latest, in words.
    pub(crate) example: String,
}

impl Troubles {
    /// Whether this is the first of its kind for a while, and is to be logged with all that belongs to it. Others are counted.
    pub(crate) fn is_first(&self, kind: &str, example: &str) -> bool {
        let mut kinds = lock(&self.0);
        if let Some(known) = kinds.get_mut(kind) {
            known.more += 1;
            example.clone_into(&mut known.example);
            return false;
        }
        let new = Kind { due: Instant::now() + REST, rest: REST, more: 0, example: String::new() };
        kinds.insert(kind.to_owned(), new);
        true
    }

    /// The kinds of which there are more to tell now. One that was not met any more is forgotten, and its next is the first
    /// again.
    pub(crate) fn take_due(&self) -> Vec<More> {
        let now = Instant::now();
        let (mut kinds, mut due) = (lock(&self.0), Vec::new());
        kinds.retain(|_, kind| kind.due > now || kind.more > 0);
        for (name, kind) in kinds.iter_mut().filter(|(_, kind)| kind.due <= now) {
            due.push(More { kind: name.clone(), count: kind.more, example: std::mem::take(&mut kind.example) });
            kind.more = 0;
            kind.rest = (kind.rest * 10).min(REST_MAX);
            kind.due = now + kind.rest;
        }
        due
    }
}

/// Logs how many more there are of each kind that has one line already.
pub fn tell_of_more(context: &Context) {
    for More { kind, count, example } in context.memory.troubles.take_due() {
        tracing::warn!(trouble = kind, more = count, "{kind}: {count} more times since, the last time with {example}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_of_one_kind_are_one_line_and_then_a_count_ever_more_rarely() {
        let troubles = Troubles::default();
        assert!(troubles.is_first("stuck", "rule 0"));
        let lines = |hours: u64| {
            let troubles = &troubles;
            async move {
                let (mut lines, mut counted) = (0, 0);
                for n in 0..hours * 3600 {
                    assert!(!troubles.is_first("stuck", &format!("rule {n}")));
                    tokio::time::advance(Duration::from_secs(1)).await;
                    for more in troubles.take_due() {
                        lines += 1;
                        counted += more.count;
                        assert_eq!((more.kind.as_str(), more.example), ("stuck", format!("rule {n}")));
                    }
                }
                (lines, counted)
            }
        };
        // after 1 min, 11 min, and each hour from then on
        let (first, counted) = lines(12).await;
        assert_eq!(first, 13);
        assert!(counted > 11 * 3600, "{counted}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_has_passed_is_news_again_and_kinds_do_not_hide_each_other() {
        let troubles = Troubles::default();
        assert!(troubles.is_first("stuck", "a") && troubles.is_first("gone", "a"));
        assert!(!troubles.is_first("stuck", "b"));
        tokio::time::advance(REST).await;
        let due = troubles.take_due();
        assert_eq!(due, [More { kind: "stuck".to_owned(), count: 1, example: "b".to_owned() }]);
        assert!(troubles.is_first("gone", "b"), "it was not met for a while");
        tokio::time::advance(REST_MAX).await;
        assert_eq!(troubles.take_due(), []);
        assert!(troubles.is_first("stuck", "c"));
    }
}
