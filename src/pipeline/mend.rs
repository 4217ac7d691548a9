//! What others did to our rules behind our back: said once, and mended where that is safe.
//!
//! A rule that was removed is placed again, one that was given an end loses it, one that is stuck is boosted. One that is
//! suspended was stopped by a person or by Rucio after two weeks of failures: its files wait, and `why` says so.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::ledger::FileRow;
use crate::names::Did;
use crate::rucio::Kind;

use super::offsite::Offsite;
use super::our_rules::Standing;
use super::replicate::place_further_copies_rule;
use super::{Context, StageError, first_copies};

/// Rucio's repairer leaves a rule alone that was touched in the last half hour, and every attachment touches rule A. More
/// often than this nothing is gained: a transfer that fails takes its four attempts.
const BOOST_AGAIN: Duration = Duration::from_mins(10);
/// Rules boosted within one such time. Those of single files are tried again by Rucio itself; hurrying thousands would
/// only keep it from its work.
const BOOSTS: usize = 200;
/// Troubles remembered; beyond that some are said twice.
const REMEMBERED: usize = 100_000;

const FIRST: &str = "first copies";
const FURTHER: &str = "further copies";

/// What was said and done about which rule. A restart forgets it: then it is said and done once more.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    said: Mutex<HashMap<String, &'static str>>,
    boosted: Mutex<HashMap<String, Instant>>,
    doubted: Mutex<HashMap<String, Instant>>,
}

/// What a panic interrupted is at worst a line that is said twice.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(said: &mut HashMap<String, &'static str>, of: &str, what: &'static str) -> bool {
    if said.len() >= REMEMBERED {
        said.clear();
    }
    said.insert(of.to_owned(), what) != Some(what)
}

/// No name or id has a line feed.
fn key(of: &str, what: &str) -> String {
    format!("{of}\n{what}")
}

impl Troubles {
    /// Whether this trouble with the rule is new.
    fn is_new(&self, rule: &str, standing: Standing) -> bool {
        let mut said = lock(&self.said);
        if standing == Standing::Sound {
            said.remove(rule);
            return false;
        }
        note(&mut said, rule, standing.as_str())
    }

    /// Whether this was not yet said of the file, rule or dataset since it was last over.
    pub(super) fn is_news(&self, of: &str, what: &'static str) -> bool {
        note(&mut lock(&self.said), &key(of, what), what)
    }

    /// It went well.
    pub(super) fn is_over(&self, of: &str, what: &'static str) {
        lock(&self.said).remove(&key(of, what));
    }

    /// Whether something about the file was not asked for so long; counts as asked now.
    pub(super) fn may_be_doubted(&self, lfn: &str, again: Duration) -> bool {
        let now = Instant::now();
        let mut doubted = lock(&self.doubted);
        if doubted.get(lfn).is_some_and(|at| now.duration_since(*at) < again) {
            return false;
        }
        if doubted.len() >= REMEMBERED {
            doubted.clear();
        }
        doubted.insert(lfn.to_owned(), now);
        true
    }

    /// Whether the rule may be boosted now; counts as done.
    fn may_boost(&self, rule: &str) -> bool {
        let now = Instant::now();
        let mut boosted = lock(&self.boosted);
        boosted.retain(|_, at| now.duration_since(*at) < BOOST_AGAIN);
        boosted.len() < BOOSTS && !boosted.contains_key(rule) && boosted.insert(rule.to_owned(), now).is_none()
    }
}

/// Says what was found, the first time.
pub(super) fn notice(context: &Context, what: &str, rule: &str, name: &str, standing: Standing) {
    if !context.troubles.is_new(rule, standing) {
        return;
    }
    context.metrics.rule_trouble(standing.as_str());
    let (found, then) = match standing {
        Standing::Sound => return,
        Standing::Stuck => ("is STUCK: its transfers failed", "it is boosted; 'dl0-ingest why' tells more"),
        Standing::Suspended => ("is SUSPENDED", "its files wait; set it to STUCK in Rucio when they may go on"),
        Standing::Ending => {
            ("was given an end by somebody", "the end is taken away; to keep files, use dl0-ingest hold")
        }
        Standing::Gone => ("was removed by somebody", "it is placed again"),
    };
    tracing::warn!(rule_id = rule, name, trouble = standing.as_str(), "the rule of {what} {found}; {then}");
}

/// Rules A and B of these files as they were found.
pub(super) async fn off_site(
    context: &Context,
    offsite: &Offsite,
    rows: &[&FileRow],
    standings: &BTreeMap<String, Standing>,
    held: &Held,
) -> Result<(), StageError> {
    let datasets: BTreeSet<Did> = rows.iter().map(|row| row.dataset_did()).collect();
    for dataset in datasets {
        match first_copy_rule_of(context, &dataset, standings).await {
            // a rule that cannot be placed now keeps the files of other datasets from nothing
            Err(error) if context.leaves_others(&error) => later(context, FIRST, &dataset.name, &error),
            mended => {
                mended?;
                context.troubles.is_over(&dataset.name, FIRST);
            }
        }
    }
    let mut gone: BTreeMap<String, Vec<FileRow>> = BTreeMap::new();
    for row in rows {
        let (Some(rule), Some(source)) = (&row.further_copies_rule, &row.first_rse) else { continue };
        let Some(standing) = standings.get(rule) else { continue };
        notice(context, FURTHER, rule, &row.lfn, *standing);
        let is_gone = match is_gone(context, rule, *standing).await {
            Err(error) if context.leaves_others(&error) => {
                later(context, FURTHER, &row.lfn, &error);
                continue;
            }
            is_gone => is_gone?,
        };
        if is_gone {
            gone.entry(source.clone()).or_default().push((*row).clone());
        } else if let Some(first) = held.at_one_site(offsite, &row.did(), rule) {
            tracing::warn!(
                lfn = row.lfn,
                rse = first,
                "the rules of the first and of the further copies hold the same one; another is asked for"
            );
            gone.entry(first.to_owned()).or_default().push((*row).clone());
        }
    }
    for (source, rows) in gone {
        let names: Vec<String> = rows.iter().map(|row| row.lfn.clone()).collect();
        match further_copies_again(context, offsite, &source, rows).await {
            Err(error) if context.leaves_others(&error) && is_refused(&error) => {
                for lfn in &names {
                    later(context, FURTHER, lfn, &error);
                }
            }
            placed => {
                placed?;
                for lfn in &names {
                    context.troubles.is_over(lfn, FURTHER);
                }
            }
        }
    }
    Ok(())
}

/// Whether Rucio takes no rule of ours now, whatever it is on. Anything else may pass with fewer files.
fn is_refused(error: &StageError) -> bool {
    matches!(error, StageError::Rucio(error) if error.kind() == Kind::Quota)
        || !(error.is_transient() || error.may_concern_some())
}

/// A rule that cannot be mended now: said once.
fn later(context: &Context, what: &'static str, name: &str, error: &StageError) {
    if context.troubles.is_news(name, what) {
        tracing::warn!(name, "the rule of {what} cannot be mended now, trying again: {error}");
    }
}

/// Whatever became of the rule, and of what the ledger knows of it: the first copies are held by one.
async fn first_copy_rule_of(
    context: &Context,
    dataset: &Did,
    standings: &BTreeMap<String, Standing>,
) -> Result<(), StageError> {
    match context.ledger.first_copy_rule(dataset).await? {
        None => first_copies::place_rule(context, dataset).await,
        Some(rule) => match standings.get(&rule) {
            Some(standing) => first_copy_rule(context, dataset, &rule, *standing).await,
            None => Ok(()),
        },
    }
}

/// Places rule B of these files again, whose first copy is at `source`.
pub(super) async fn further_copies_again(
    context: &Context,
    offsite: &Offsite,
    source: &str,
    rows: Vec<FileRow>,
) -> Result<(), StageError> {
    for (row, source, rule) in place_further_copies_rule(context, offsite, source, rows).await? {
        context.ledger.set_further_copies_rule(&row, &rule, &source).await?;
    }
    Ok(())
}

/// Where rules A and B hold files with an OK lock.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The RSE of rule A.
    pub(super) first: HashMap<Did, String>,
    /// By file and rule B.
    pub(super) further: HashMap<(Did, String), BTreeSet<String>>,
}

impl Held {
    /// The RSE of the first copy, if everything that rule B holds of the file lies at its site too, and there is another one.
    /// A rule A that was placed again goes where a copy lies, and that may be the one of rule B.
    pub(super) fn at_one_site(&self, offsite: &Offsite, did: &Did, further_copies_rule: &str) -> Option<&str> {
        let first = self.first.get(did)?;
        let further = self.further.get(&(did.clone(), further_copies_rule.to_owned()))?;
        let near =
            |rse: &String| rse == first || (offsite.site(rse).is_some() && offsite.site(rse) == offsite.site(first));
        (!further.is_empty() && further.iter().all(near) && offsite.is_elsewhere(first)).then_some(first)
    }
}

/// Rule A of a dataset as it was found.
pub(super) async fn first_copy_rule(
    context: &Context,
    dataset: &Did,
    rule: &str,
    standing: Standing,
) -> Result<(), StageError> {
    notice(context, FIRST, rule, &dataset.name, standing);
    if is_gone(context, rule, standing).await? {
        // until there is another one, the ledger keeps its id: whoever looks next finds that it is gone
        first_copies::place_rule(context, dataset).await?;
    }
    Ok(())
}

/// Rule S of a dataset as it was found; `true`: there is none.
pub(super) async fn settled_rule(
    context: &Context,
    dataset: &Did,
    rule: &str,
    standing: Standing,
) -> Result<bool, StageError> {
    notice(context, "further copies of a settled dataset", rule, &dataset.name, standing);
    is_gone(context, rule, standing).await
}

/// Does what can be done for a rule that is there; `true`: there is none.
pub(super) async fn is_gone(context: &Context, rule: &str, standing: Standing) -> Result<bool, StageError> {
    let done = match standing {
        Standing::Gone => return Ok(true),
        Standing::Ending => context.rucio.keep_rule(rule).await,
        Standing::Stuck if context.troubles.may_boost(rule) => {
            context.metrics.rule_boosted();
            context.rucio.boost_rule(rule).await
        }
        Standing::Sound | Standing::Suspended | Standing::Stuck => return Ok(false),
    };
    match done {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == Kind::NotFound => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Rule C of a file that has not left the site, as it was found: the only thing that keeps Rucio's reaper from it.
pub(super) async fn on_site(
    context: &Context,
    row: &FileRow,
    rule: &str,
    standing: Standing,
) -> Result<bool, StageError> {
    // its lock holds whatever its state
    if !standing.is_ending() {
        return Ok(false);
    }
    notice(context, "the on-site copy", rule, &row.lfn, standing);
    is_gone(context, rule, standing).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_said_once_until_it_changes_or_ends() {
        let troubles = Troubles::default();
        for (standing, new) in [
            (Standing::Stuck, true),
            (Standing::Stuck, false),
            (Standing::Suspended, true),
            (Standing::Sound, false),
            (Standing::Suspended, true),
        ] {
            assert_eq!(troubles.is_new("r", standing), new, "{standing:?}");
        }
        assert!(troubles.is_new("other", Standing::Suspended));
        for (what, new) in [("slow", true), ("lost", true), ("slow", false), ("lost", false)] {
            assert_eq!(troubles.is_news("r", what), new, "{what}");
        }
        troubles.is_over("r", "slow");
        assert!(troubles.is_news("r", "slow") && !troubles.is_news("r", "lost"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_doubted_once_in_a_while() {
        let (troubles, again) = (Troubles::default(), Duration::from_mins(5));
        assert!(troubles.may_be_doubted("f", again));
        assert!(!troubles.may_be_doubted("f", again));
        assert!(troubles.may_be_doubted("other", again));
        tokio::time::advance(again).await;
        assert!(troubles.may_be_doubted("f", again));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rule_is_boosted_once_in_a_while_and_not_too_many_at_once() {
        let troubles = Troubles::default();
        assert!(troubles.may_boost("r"));
        assert!(!troubles.may_boost("r"));
        let boosted = (0..2 * BOOSTS).filter(|n| troubles.may_boost(&n.to_string())).count();
        assert_eq!(boosted, BOOSTS - 1);
        tokio::time::advance(BOOST_AGAIN).await;
        assert!(troubles.may_boost("r"));
    }
}
