//! The storages' own word about the copies of a look.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};

use super::denial;
use crate::config::StorageCheck;
use crate::custody::{Contents, StorageAnswer};
use crate::engine::Context;
use crate::names::Did;
use crate::rules::Offsite;
use crate::storage::{self, Algorithm, Source};
use rucio_client::{ReplicaListing, ReplicaState};

/// No question to a storage begins later in a look, or the look would be too old when it is complete.
const TIME: Duration = Duration::from_mins(1);
/// A storage that was silent so many times in a row is asked no more in the same look.
const SILENT: usize = 3;

/// A door that leads to another copy's server is told of again after this. It may do so for some files and not for others.
const REPORT_AGAIN: Duration = Duration::from_hours(1);

/// By file and RSE; an error is what the file waits for, whatever the policy: the storage has not been silent.
type Asked = Vec<((Did, String), Result<StorageAnswer, String>)>;

/// What was said about one copy, and whose server said so.
struct Heard {
    did: Did,
    pfn: Option<String>,
    from: Source,
    answer: Result<StorageAnswer, String>,
    /// Whether it answered, or why not, in words that anybody may read; `None`: it was not asked.
    answers: Option<Result<(), String>>,
}

/// What the storages are asked about a file.
#[derive(Clone)]
pub(super) struct Wanted {
    /// What a copy must hold.
    pub(super) contents: Contents,
    /// In the order in which they are wanted.
    pub(super) algorithms: &'static [Algorithm],
}

/// About one copy.
struct Question {
    did: Did,
    pfn: Option<String>,
    wanted: Wanted,
}

/// Asks the storage of every AVAILABLE copy, unless the operator said not to.
pub(super) async fn ask_all(
    context: &Context,
    offsite: &Offsite,
    listings: &HashMap<&Did, &ReplicaListing>,
    wanted: &HashMap<Did, Wanted>,
) -> Asked {
    let config = context.config();
    context.health.data_centres(&offsite.rses().collect());
    let mut questions: BTreeMap<String, Vec<Question>> = BTreeMap::new();
    for listing in listings.values() {
        let Some(wanted) = wanted.get(&listing.did) else { continue };
        for (rse, state) in &listing.states {
            let asked = config.offsite.storage_check_of(rse) != StorageCheck::Off;
            if offsite.contains(rse) && asked && *state == ReplicaState::Available {
                let pfn = storage::best_url(listing.pfns.get(rse).map_or(&[], Vec::as_slice)).map(str::to_owned);
                let did = listing.did.clone();
                questions.entry(rse.clone()).or_default().push(Question { did, pfn, wanted: wanted.clone() });
            }
        }
    }
    let asked = questions.into_iter().map(|(rse, questions)| {
        let site = offsite.site(&rse).map(str::to_owned);
        ask_one(context, rse, site, questions)
    });
    let heard = join_all(asked).await.into_iter().flatten().collect();
    let doors = |did: &Did| match listings.get(did) {
        Some(listing) => storage::doors(&listing.pfns, |rse| offsite.site(rse).map(str::to_owned)),
        None => Vec::new(),
    };
    unless_borrowed(context, heard, doors)
}

/// What one server says about a file proves one copy, whichever storages lead to it; and what the server on site says,
/// none. `doors`: all that Rucio names for a file.
fn unless_borrowed(context: &Context, heard: Vec<Heard>, doors: impl Fn(&Did) -> Vec<Source>) -> Asked {
    let led = heard.iter().filter(|heard| heard.from.led_to.is_some());
    let mut sources: HashMap<Did, Vec<Source>> = led.map(|heard| (heard.did.clone(), doors(&heard.did))).collect();
    for Heard { did, from, .. } in &heard {
        if let Some(sources) = sources.get_mut(did) {
            sources.push(from.clone());
        }
    }
    let believed = |Heard { did, from, answer, .. }: Heard| {
        let Some(other) = sources.get(&did).and_then(|sources| from.borrows_from(sources)) else {
            return ((did, from.rse), answer);
        };
        let (rse, server) = (from.rse, from.led_to.unwrap_or_default());
        let why = format!("an answer from the storage of {rse} itself: it led to {server}, where {other} has its copy");
        if context.memory.doors_reported.is_due(&format!("{rse} {other}"), REPORT_AGAIN) {
            tracing::warn!(rse, "files wait for {why}, and what that one says proves no other");
        }
        ((did, rse), Err(why))
    };
    heard.into_iter().map(believed).collect()
}

/// All questions to one storage.
async fn ask_one(context: &Context, rse: String, site: Option<String>, questions: Vec<Question>) -> Vec<Heard> {
    let open = questions.iter().filter_map(|question| question.pfn.as_deref()).any(storage::is_open_to_others);
    if open && context.memory.reported.is_news(&rse, "plain HTTP") {
        tracing::warn!(
            rse,
            "the storage of {rse} is asked over plain HTTP, and whoever is in between can answer for it: \
             give the RSE a protocol davs in Rucio"
        );
    }
    let mut heard = ask_each(context, &rse, site.as_deref(), questions).await;
    note_whether_it_answers(context, &rse, &heard);
    let known = heard.iter().find(|heard| matches!(heard.answer, Ok(StorageAnswer::Stated { .. })));
    if let Some(pfn) = known.and_then(|heard| heard.pfn.clone()) {
        context.memory.denials.knows(&rse, pfn);
    }
    // once a denial is not true, the others of the same look are worth no question
    let mut is_true = true;
    for heard in heard.iter_mut().filter(|heard| heard.answer == Ok(StorageAnswer::Missing)) {
        is_true = is_true && denial::is_true(context, &rse, heard.pfn.as_deref().unwrap_or_default()).await;
        if !is_true {
            heard.answer = Err(format!(
                "a true answer from the storage of {rse}, which denies what it was known to have: is its disk mounted?"
            ));
        }
    }
    heard
}

/// One answer shows that it is there.
fn note_whether_it_answers(context: &Context, rse: &str, heard: &[Heard]) {
    let mut asked = heard.iter().filter_map(|heard| heard.answers.as_ref()).peekable();
    let Some(first) = asked.peek().map(|first| (*first).clone()) else { return };
    context.health.storage(rse, if asked.any(Result::is_ok) { Ok(()) } else { first });
}

async fn ask_each(context: &Context, rse: &str, site: Option<&str>, questions: Vec<Question>) -> Vec<Heard> {
    let (patience, begun) = (&Patience::default(), Instant::now());
    stream::iter(questions.into_iter().map(|Question { did, pfn, wanted }| async move {
        let door = pfn.as_deref().and_then(storage::door);
        let mut from = Source { rse: rse.to_owned(), site: site.map(str::to_owned), door, led_to: None };
        let mut answers = None;
        let answer = match (pfn.clone(), patience.with(begun.elapsed())) {
            (None, _) => {
                let why = "its RSE has no protocol davs, https, dav or http".to_owned();
                answers = Some(Err(why.clone()));
                Ok(StorageAnswer::Silent(why))
            }
            (_, Worth::Nothing) => {
                let why = "it was silent several times in a row, and is asked again later";
                Ok(StorageAnswer::Silent(why.to_owned()))
            }
            (_, Worth::NoTime) => Err(format!("an answer from the storage of {rse}, which is slow")),
            (Some(pfn), Worth::Asking) => {
                let Said { answer, led_to, heard, answers: said } = ask(context, &pfn, wanted.algorithms).await;
                patience.learn(heard);
                answers = Some(said);
                from.led_to = led_to;
                match answer {
                    Ok(first) if first.contradicts(&wanted.contents) => {
                        match ask(context, &pfn, wanted.algorithms).await.answer {
                            Ok(second) => unless_they_differ(context, rse, &pfn, first, &second),
                            waits => waits,
                        }
                    }
                    answer => answer,
                }
            }
        };
        Heard { did, pfn, from, answer, answers }
    }))
    .buffer_unordered(storage::QUESTIONS)
    .collect()
    .await
}

/// A contradiction is believed when it is said twice. Measured on XRootD 5.5.3: while it computes two digests at once, one
/// question in ten thousand gets size and digest of another file.
fn unless_they_differ(
    context: &Context,
    rse: &str,
    pfn: &str,
    first: StorageAnswer,
    second: &StorageAnswer,
) -> Result<StorageAnswer, String> {
    if first == *second {
        return Ok(first);
    }
    if context.memory.reported.is_news(rse, "two answers") {
        tracing::warn!(
            rse,
            "the storage of {rse} gave two answers about {}: {first:?}, then {second:?}; neither is believed, and it is \
             asked again later",
            pfn.split('?').next().unwrap_or_default()
        );
    }
    Err(format!("two equal answers from the storage of {rse}: the first was that it has another file, the second not"))
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

/// The answer to one question.
struct Said {
    /// An error is what the file waits for, whatever the policy: the storage has not been silent.
    answer: Result<StorageAnswer, String>,
    /// The server that gave it, if it is not the door.
    led_to: Option<String>,
    /// Whether anything was said at all, be it a refusal.
    heard: bool,
    /// Whether it was an answer to the question, or why not, in words that anybody may read.
    answers: Result<(), String>,
}

async fn ask(context: &Context, pfn: &str, algorithms: &[Algorithm]) -> Said {
    let started = Instant::now();
    let answer = context.storage.examine(pfn, algorithms).await;
    let mut led_to = None;
    let answers = match &answer {
        Ok(_) | Err(storage::Error::NotFound { .. } | storage::Error::Contradictory { .. }) => Ok(()),
        Err(error) => Err(error.in_brief()),
    };
    let (outcome, answer, heard) = match answer {
        Ok(found) => {
            led_to = found.led_to;
            let digest = found.digest.map(|(algorithm, value)| (algorithm.as_str(), value));
            ("ok", Ok(StorageAnswer::Stated { bytes: found.bytes, digest }), true)
        }
        Err(storage::Error::NotFound { .. }) => ("not_found", Ok(StorageAnswer::Missing), true),
        Err(error @ storage::Error::Contradictory { .. }) => {
            ("contradictory", Err(format!("an answer that can be true: {error}")), true)
        }
        Err(error) => ("silent", Ok(StorageAnswer::Silent(error.to_string())), !error.is_transient()),
    };
    context.metrics.storage_request(outcome, started.elapsed().as_secs_f64());
    Said { answer, led_to, heard, answers }
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
