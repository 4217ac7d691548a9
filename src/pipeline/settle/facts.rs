//! What Rucio says of a dataset that is to be settled, all asked in one turn.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::custody::UnixMillis;
use crate::custody::settling::{Cause, FileInRucio, Unsettled};
use crate::engine::{Context, StageError, is_known, may_be_acted_upon};
use crate::ledger::{Resting, now};
use crate::names::Did;
use crate::rules::{OwnLedgers, is_first_copy_rule, is_further_copies_rule, is_settled_rule};
use rucio_client::{Kind, Lock, LockState, ReplicaListing, ReplicaQuery, ReplicaState, Rule, RuleState};

/// Requests under way at once; the road has the rest.
pub(super) const REQUESTS: usize = 4;

/// Our rules on the dataset itself.
pub(super) struct DatasetRules {
    pub(super) first_copy: Rule,
    /// Those that may be the settled rule, the one that was known first; more than one where the first-copy rule has changed
    /// places.
    pub(super) settled: Vec<Rule>,
    /// When they were asked for, before anything else.
    pub(super) at: UnixMillis,
}

impl DatasetRules {
    /// Whatever their states. `known`: the settled rule as the ledger has it.
    pub(super) async fn ask(
        context: &Context,
        dataset: &Did,
        known: Option<&str>,
    ) -> Result<Result<Self, Unsettled>, StageError> {
        let at = now();
        let config = context.config();
        let (ours, on_record) =
            (OwnLedgers::of(&context.ledger).await?, context.ledger.first_copy_rule(dataset).await?);
        let is_ours =
            |rule: &Rule| ours.have_placed(rule) || [on_record.as_deref(), known].contains(&Some(rule.id.as_str()));
        let rules: Vec<Rule> = match context.rucio.did_rules(dataset).await {
            Ok(rules) => rules.into_iter().filter(is_ours).collect(),
            Err(error) if error.kind() == Kind::NotFound => return Ok(Err(Unsettled::unknown_to_rucio())),
            Err(error) => return Err(error.into()),
        };
        let Some(first_copy) = rules.iter().find(|rule| is_first_copy_rule(&config, rule)).cloned() else {
            return Ok(Err(Unsettled::other("it has no permanent rule of ours for the first copies")));
        };
        let mut settled: Vec<Rule> = rules.into_iter().filter(|rule| is_settled_rule(&config, rule)).collect();
        settled.sort_by_key(|rule| known != Some(rule.id.as_str()));
        Ok(Ok(Self { first_copy, settled, at }))
    }
}

/// A rule that is not OK holds nothing for sure.
pub(super) fn is_ok(rule: &Rule) -> Result<(), Unsettled> {
    if rule.state == RuleState::Ok {
        return Ok(());
    }
    Err(Unsettled::other(format!("its rule {} on '{}' is not OK", rule.id, rule.rse_expression)))
}

/// Whether the dataset is to stay. One that has an end (`rucio erase`, or its metadata key `lifetime`) is removed by Rucio's
/// undertaker with all its rules, however permanent these look, and then what nothing else holds.
pub(super) async fn stays(context: &Context, dataset: &Did) -> Result<Result<(), Unsettled>, StageError> {
    let end = context.rucio.did_ends(std::slice::from_ref(dataset)).await?.remove(dataset);
    Ok(match end {
        Some(None) => Ok(()),
        None if is_known(context, dataset).await? => {
            Err(Unsettled::other("Rucio does not say whether it has an end; asking again later"))
        }
        Some(Some(end)) => {
            let words = format!(
                "Rucio removes the dataset and its rules at its end, {end}; take the end away in Rucio ('rucio erase --undo')"
            );
            Err(Unsettled { cause: Cause::EndsInRucio, words })
        }
        None => Err(Unsettled::unknown_to_rucio()),
    })
}

/// What is known of the files.
pub(super) struct Facts {
    /// Of those asked about, in their order.
    pub(super) files: Vec<FileInRucio>,
    rules: (String, Option<String>),
    at: UnixMillis,
}

type Places = HashMap<Did, BTreeSet<String>>;

impl Facts {
    /// Asks about the files `wanted` of a dataset whose released files are `all`. The dataset in Rucio must hold exactly
    /// these: its rule would also take hold of files that the ledger knows nothing of.
    pub(super) async fn gather(
        context: &Context,
        dataset: &Did,
        all: &[Resting],
        rules: &DatasetRules,
        settled: Option<&Rule>,
        wanted: &[Resting],
    ) -> Result<Result<Self, Unsettled>, StageError> {
        match same_files(context, dataset, all).await? {
            Ok(()) => Self::of(context, dataset, rules, settled, wanted).await.map(Ok),
            Err(why) => Ok(Err(why)),
        }
    }

    /// Asks about files of a dataset, whatever else is in it, and what the first-copy rule and this settled
    /// rule hold of them.
    pub(super) async fn of(
        context: &Context,
        dataset: &Did,
        rules: &DatasetRules,
        settled: Option<&Rule>,
        wanted: &[Resting],
    ) -> Result<Self, StageError> {
        let first = ok_places(context.rucio.rule_locks(&rules.first_copy.id).await?);
        let further = match settled {
            Some(rule) => ok_places(context.rucio.rule_locks(&rule.id).await?),
            None => Places::new(),
        };
        let own = own_places(context, wanted).await?;
        let config = context.config();
        let query = ReplicaQuery {
            dids: std::slice::from_ref(dataset),
            rse_expression: Some(&config.offsite.expression),
            all_states: true,
            schemes: &[],
        };
        let listings: HashMap<Did, ReplicaListing> =
            context.rucio.replicas(&query).await?.into_iter().map(|listing| (listing.did.clone(), listing)).collect();
        let files = wanted.iter().map(|file| {
            let did = Did::new(dataset.scope.clone(), file.lfn.clone());
            let listing = listings.get(&did);
            FileInRucio {
                lfn: file.lfn.clone(),
                as_verified: listing.is_some_and(|listing| {
                    listing.bytes == file.bytes
                        && matches!((&listing.adler32, &file.adler32), (Some(theirs), Some(ours)) if *theirs == **ours)
                }),
                replicas: listing.map(|listing| replicas(listing, &config.onsite_rse)).unwrap_or_default(),
                first: first.get(&did).cloned().unwrap_or_default(),
                own: file.further_copies_rule.as_ref().map(|rule| own.get(rule).cloned().unwrap_or_default()),
                dataset: further.get(&did).cloned().unwrap_or_default(),
            }
        });
        let ids = (rules.first_copy.id.clone(), settled.map(|rule| rule.id.clone()));
        Ok(Self { files: files.collect(), rules: ids, at: rules.at })
    }

    /// Whether they may still be acted upon, for whoever is about to act to ask at the last moment.
    pub(super) fn freshness(&self) -> impl Fn() -> bool + Clone + Send + Sync + 'static {
        let at = self.at;
        move || may_be_acted_upon(at)
    }

    /// The ids of the first-copy rule and the settled rule.
    pub(super) fn rule_ids(&self) -> (String, Option<String>) {
        self.rules.clone()
    }
}

async fn same_files(context: &Context, dataset: &Did, all: &[Resting]) -> Result<Result<(), Unsettled>, StageError> {
    let inside: BTreeSet<String> = context.rucio.content(dataset).await?.into_iter().map(|child| child.name).collect();
    let ours: BTreeSet<String> = all.iter().map(|file| file.lfn.clone()).collect();
    Ok(match (inside.difference(&ours).next(), ours.difference(&inside).next()) {
        (Some(strange), _) => {
            Err(Unsettled::other(format!("it holds {strange}, which the ledger does not have as released")))
        }
        (_, Some(missing)) => Err(Unsettled::other(format!("{missing} is not in it any more"))),
        (None, None) => Ok(()),
    })
}

fn replicas(listing: &ReplicaListing, onsite_rse: &str) -> BTreeMap<String, bool> {
    let off_site = listing.states.iter().filter(|(rse, _)| *rse != onsite_rse);
    off_site.map(|(rse, state)| (rse.clone(), *state == ReplicaState::Available)).collect()
}

fn ok_places(locks: Vec<Lock>) -> Places {
    let mut places = Places::new();
    for lock in locks.into_iter().filter(|lock| lock.state == LockState::Ok) {
        places.entry(lock.did).or_default().insert(lock.rse);
    }
    places
}

/// Where the files' own rules hold OK locks, by rule. A rule that is gone, ends, or has a lock that is not OK holds none.
async fn own_places(context: &Context, files: &[Resting]) -> Result<HashMap<String, BTreeSet<String>>, StageError> {
    let rules: Vec<String> = files.iter().filter_map(|file| file.further_copies_rule.clone()).collect();
    let asked = stream::iter(rules.into_iter().map(|rule| own_place(context, rule)));
    asked.buffer_unordered(REQUESTS).try_collect().await
}

async fn own_place(context: &Context, id: String) -> Result<(String, BTreeSet<String>), StageError> {
    let rule = match context.rucio.rule(&id).await {
        Ok(rule) => rule,
        Err(error) if error.kind() == Kind::NotFound => return Ok((id, BTreeSet::new())),
        Err(error) => return Err(error.into()),
    };
    let locks = context.rucio.rule_locks(&id).await?;
    let sound =
        is_further_copies_rule(&context.config(), &rule) && locks.iter().all(|lock| lock.state == LockState::Ok);
    let held = if sound { locks.into_iter().map(|lock| lock.rse).collect() } else { BTreeSet::new() };
    Ok((id, held))
}
