//! The further-copies rules of released files whose dataset is not settled: nothing else asks about them any more, and
//! nothing else holds the copy that they brought.
//!
//! One list of our rules for each RSE that was a first copy's, not a question for each file.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::custody::in_millis;
use crate::engine::{Context, Halves, StageError};
use crate::ledger::{FileRow, OwnRule, now};
use crate::names::Did;
use crate::rules::{self, Offsite, OkLocks, Survey, further_copies};
use rucio_client::LockState;

/// Rules of one dataset that are asked for by themselves in one round: those that no list has. Others are next then.
const BY_THEMSELVES: usize = 200;
/// After this long others are next.
const NEXT: Duration = Duration::from_mins(10);
/// Files whose rules are placed again in one request.
const BATCH: usize = 200;

/// The data centres and our rules at them as one round sees them.
#[derive(Default)]
pub(super) struct Lists {
    offsite: Option<Offsite>,
    /// By the RSE of the first copy.
    of_source: HashMap<String, Survey>,
}

impl Lists {
    async fn offsite(&mut self, context: &Context) -> Result<Offsite, StageError> {
        if let Some(offsite) = &self.offsite {
            return Ok(offsite.clone());
        }
        let offsite = Offsite::known(context).await?;
        Ok(self.offsite.insert(offsite).clone())
    }

    async fn is_sound(&mut self, context: &Context, offsite: &Offsite, own: &OwnRule) -> Result<bool, StageError> {
        if !self.of_source.contains_key(&own.first_rse) {
            let survey = Survey::of(&context.rucio, &offsite.elsewhere_than(&own.first_rse)).await?;
            self.of_source.insert(own.first_rse.clone(), survey);
        }
        Ok(self.of_source.get(&own.first_rse).is_some_and(|survey| survey.is_sound(&own.further_copies_rule)))
    }
}

/// What became of the released files' own rules of a dataset.
pub(super) enum OwnRules {
    /// No file has one.
    None,
    /// They stand, as far as they were looked at.
    Stand,
    /// Rucio refuses to take the rule of this file again. Those of all others stand.
    Refused {
        /// The file.
        lfn: String,
        /// What Rucio said.
        error: StageError,
    },
}

/// Sees to it that the first-copy rule and the files' own rules hold the released files of a dataset at two sites.
/// `first_copy_rule`: that of the dataset, which stands.
pub(super) async fn mend(
    context: &Context,
    dataset: &Did,
    first_copy_rule: Option<&str>,
    lists: &mut Lists,
) -> Result<OwnRules, StageError> {
    let own = context.ledger.own_rules(dataset).await?;
    if own.is_empty() {
        return Ok(OwnRules::None);
    }
    let offsite = lists.offsite(context).await?;
    let first = first_copies(context, first_copy_rule).await?;
    let mut again: BTreeMap<String, Vec<&OwnRule>> = BTreeMap::new();
    let mut doubtful = Vec::new();
    for file in &own {
        if !lists.is_sound(context, &offsite, file).await? {
            doubtful.push(file);
        } else if let Some(place) = misplaced(context, &offsite, dataset, file, &first).await? {
            again.entry(place).or_default().push(file);
        }
    }
    for file in in_turn(&doubtful) {
        let found = rules::standing(context, &file.further_copies_rule).await?;
        if further_copies::is_gone(context, &file.lfn, &file.further_copies_rule, found).await? {
            let source = first.get(&file.lfn).unwrap_or(&file.first_rse);
            again.entry(source.clone()).or_default().push(file);
        }
    }
    let mut refused = None;
    for (source, files) in again {
        for batch in files.chunks(BATCH) {
            let mut rows = Vec::with_capacity(batch.len());
            for file in batch {
                rows.extend(context.ledger.still_own(file).await?);
            }
            refused = refused.or(again_one_by_one(context, &offsite, &source, rows).await?);
        }
    }
    Ok(refused.map_or(OwnRules::Stand, |(lfn, error)| OwnRules::Refused { lfn, error }))
}

/// Places these rules again. What Rucio refuses is tried in halves, until the files that are meant stand alone: the first
/// of them is returned.
async fn again_one_by_one(
    context: &Context,
    offsite: &Offsite,
    source: &str,
    rows: Vec<FileRow>,
) -> Result<Option<(String, StageError)>, StageError> {
    let (mut parts, mut refused) = (Halves::of(rows), None);
    while let Some(rows) = parts.next() {
        match (further_copies::order_again(context, offsite, source, rows.clone()).await, rows.as_slice()) {
            (Err(error), [one]) if error.may_concern_some() && context.leaves_others(&error) => {
                refused = refused.or(Some((one.lfn.clone(), error)));
            }
            (Err(error), _) if error.may_concern_some() && context.leaves_others(&error) => parts.split(rows),
            (done, _) => done?,
        }
    }
    Ok(refused)
}

/// Some of them, others each time.
fn in_turn<'a>(doubtful: &[&'a OwnRule]) -> Vec<&'a OwnRule> {
    let turn = usize::try_from(now() / in_millis(NEXT)).unwrap_or(0);
    let begin = if doubtful.is_empty() { 0 } else { turn * BY_THEMSELVES % doubtful.len() };
    doubtful.iter().cycle().skip(begin).take(doubtful.len().min(BY_THEMSELVES)).copied().collect()
}

/// The RSE at which the first-copy rule holds each file, by LFN.
async fn first_copies(context: &Context, first_copy_rule: Option<&str>) -> Result<HashMap<String, String>, StageError> {
    let Some(rule) = first_copy_rule else { return Ok(HashMap::new()) };
    let locks = context.rucio.rule_locks(rule).await?;
    Ok(locks.into_iter().filter(|lock| lock.state == LockState::Ok).map(|lock| (lock.did.name, lock.rse)).collect())
}

/// Where the first-copy rule holds a file, if that is not where it held it when the file's own rule was placed, and that one
/// holds it there too.
async fn misplaced(
    context: &Context,
    offsite: &Offsite,
    dataset: &Did,
    file: &OwnRule,
    first: &HashMap<String, String>,
) -> Result<Option<String>, StageError> {
    let Some(place) = first.get(&file.lfn).filter(|place| **place != file.first_rse) else { return Ok(None) };
    let did = Did::new(dataset.scope.clone(), file.lfn.clone());
    let locks = context.rucio.rule_locks(&file.further_copies_rule).await?;
    let ok = locks.into_iter().filter(|lock| lock.did == did && lock.state == LockState::Ok).map(|lock| lock.rse);
    let locks = OkLocks::of_one(&did, place, &file.further_copies_rule, ok.collect());
    Ok(locks.at_one_site(offsite, &did, &file.further_copies_rule).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_more_rules_than_are_asked_for_some_are_and_none_twice() {
        let rules: Vec<OwnRule> = (0..i64::try_from(3 * BY_THEMSELVES).unwrap())
            .map(|id| OwnRule {
                id,
                delivery: 1,
                lfn: id.to_string(),
                further_copies_rule: id.to_string(),
                first_rse: "A".to_owned(),
            })
            .collect();
        let all: Vec<&OwnRule> = rules.iter().collect();
        let ids =
            |rules: Vec<&OwnRule>| rules.into_iter().map(|rule| rule.id).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(ids(in_turn(&all)).len(), BY_THEMSELVES);
        assert_eq!(ids(in_turn(&all[..3])).len(), 3);
        assert!(in_turn(&[]).is_empty());
    }
}
