//! The storages' own word about the copies of a look.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};

use super::super::Context;
use super::super::offsite::Offsite;
use crate::config::StorageCheck;
use crate::custody::StorageAnswer;
use crate::names::Did;
use crate::rucio::{ReplicaListing, ReplicaState};
use crate::storage::{self, Algorithm};

/// No question to a storage begins later in a look, or the look would be too old when it is complete.
const TIME: Duration = Duration::from_mins(1);
/// A storage that was silent so many times in a row is asked no more in the same look.
const SILENT: usize = 3;

/// By file and RSE; `None` if there was no time to ask.
type Asked = Vec<((Did, String), Option<StorageAnswer>)>;

/// Asks the storage of every AVAILABLE copy, unless the operator said not to.
pub(super) async fn ask_all(context: &Context, offsite: &Offsite, listings: &HashMap<&Did, &ReplicaListing>) -> Asked {
    let config = context.config();
    let mut questions: BTreeMap<String, Vec<(Did, Option<String>)>> = BTreeMap::new();
    for listing in listings.values() {
        for (rse, state) in &listing.states {
            let asked = config.offsite.storage_check_of(rse) != StorageCheck::Off;
            if offsite.contains(rse) && asked && *state == ReplicaState::Available {
                let pfn = listing.pfns.get(rse).and_then(|pfns| pfns.first()).cloned();
                questions.entry(rse.clone()).or_default().push((listing.did.clone(), pfn));
            }
        }
    }
    let asked = questions.into_iter().map(|(rse, questions)| ask_one(context, rse, questions));
    join_all(asked).await.into_iter().flatten().collect()
}

/// All questions to one storage.
async fn ask_one(context: &Context, rse: String, questions: Vec<(Did, Option<String>)>) -> Asked {
    let (rse, patience, begun) = (&rse, &Patience::default(), Instant::now());
    stream::iter(questions.into_iter().map(|(did, pfn)| async move {
        let answer = match (pfn, patience.with(begun.elapsed())) {
            (None, _) => Some(StorageAnswer::Silent("its RSE has no protocol davs, https, dav or http".to_owned())),
            (_, Worth::Nothing) => {
                let why = "it was silent several times in a row, and is asked again later";
                Some(StorageAnswer::Silent(why.to_owned()))
            }
            (_, Worth::NoTime) => None,
            (Some(pfn), Worth::Asking) => {
                let (answer, heard) = ask(context, &pfn).await;
                patience.learn(heard);
                Some(answer)
            }
        };
        ((did, rse.clone()), answer)
    }))
    .buffer_unordered(storage::QUESTIONS)
    .collect()
    .await
}

/// With one storage in one look. If it does not answer, waiting for each question would make the look too old, and a
/// storage that is unwell should not be pressed.
#[derive(Debug, Default)]
struct Patience {
    silent: AtomicUsize,
}

/// What one more question is worth.
#[derive(Debug, PartialEq, Eq)]
enum Worth {
    Asking,
    /// It has not answered the last ones.
    Nothing,
    /// It answers, and the look would be too old.
    NoTime,
}

impl Patience {
    fn with(&self, elapsed: Duration) -> Worth {
        if self.silent.load(Ordering::Relaxed) >= SILENT {
            Worth::Nothing
        } else if elapsed > TIME {
            Worth::NoTime
        } else {
            Worth::Asking
        }
    }

    /// `heard`: whether it answered at all, be it that it refuses.
    fn learn(&self, heard: bool) {
        if heard {
            self.silent.store(0, Ordering::Relaxed);
        } else {
            self.silent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the storage says, and whether it said anything. crc32c first: a transfer has verified adler32 and so filled the
/// storage's cache with it, while an algorithm that was not asked before is computed from the bytes.
async fn ask(context: &Context, pfn: &str) -> (StorageAnswer, bool) {
    let started = Instant::now();
    let answer = context.storage.examine(pfn, &[Algorithm::Crc32c, Algorithm::Adler32]).await;
    let (outcome, answer, heard) = match answer {
        Ok(found) => {
            let digest = found.digest.and_then(|(algorithm, value)| match algorithm {
                Algorithm::Crc32c => Some(("crc32c", value)),
                Algorithm::Adler32 => Some(("adler32", value)),
                Algorithm::Md5 => None,
            });
            ("ok", StorageAnswer::Stated { bytes: found.bytes, digest }, true)
        }
        Err(storage::Error::NotFound { .. }) => ("not_found", StorageAnswer::Missing, true),
        Err(error) => ("silent", StorageAnswer::Silent(error.to_string()), !error.is_transient()),
    };
    context.metrics.storage_request(outcome, started.elapsed().as_secs_f64());
    (answer, heard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_is_asked_until_it_is_silent_three_times_in_a_row_or_the_look_grows_old() {
        let patience = Patience::default();
        let early = Duration::ZERO;
        for heard in [false, false, true, false, false] {
            patience.learn(heard);
            assert_eq!(patience.with(early), Worth::Asking);
        }
        assert_eq!(patience.with(TIME), Worth::Asking);
        assert_eq!(patience.with(TIME + Duration::from_millis(1)), Worth::NoTime);
        patience.learn(false);
        // whatever the time: it is told as silent, not as slow
        assert_eq!(patience.with(early), Worth::Nothing);
        assert_eq!(patience.with(TIME * 2), Worth::Nothing);
        // one that was asked at the same time may answer yet
        patience.learn(true);
        assert_eq!(patience.with(early), Worth::Asking);
    }
}
