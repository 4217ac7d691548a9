//! One look at the off-site copies of some files: Rucio's word, the locks, and the storages' own word, all asked afresh.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};

use crate::config::StorageCheck;
use crate::custody::{
    Availability, Carrier, Contents, Copies, CopyFacts, CopyProof, Doubt, Evidence, LockFacts, State, StorageAnswer,
    StoragePolicy, UnixMillis,
};
use crate::engine::{Context, StageError, UNTRUE_LIST, is_known};
use crate::ledger::{FileRow, now};
use crate::names::Did;
use crate::rules::{Offsite, OkLocks, RulesSeen, standing_of, with_on_site};
use crate::storage::Algorithm;
use rucio_client::{Kind, Lock, LockState, ReplicaListing, ReplicaQuery, ReplicaState, Rule, RuleState};

use super::SCHEMES;
use super::carriers::Carriers;
use super::storages::{self, Wanted};

/// Rules asked for at once; the client has a bound of its own.
const RULE_QUESTIONS: usize = 8;
/// After this long a bad answer ends the look, and the next one is of fewer files: it would be too old when it is complete.
const PATIENCE: Duration = Duration::from_secs(30);
/// A file that has waited longer for its copies, in milliseconds, is looked at more closely.
const OVERDUE_MS: i64 = 10_000;
/// What a look saw of some files.
#[derive(Debug)]
pub(crate) struct Looks<'r> {
    /// The copies of each file, in the order of the rows.
    pub(crate) copies: Vec<Result<Evidence, Doubt>>,
    /// The rules that hold them. Whoever looked hands them to [`mend`](crate::rules::mend()).
    pub(crate) rules: RulesSeen<'r>,
}

/// Looks at the off-site copies of these files.
///
/// What decides a release is asked for afresh, all of it. Before that, files are looked at often, and the data centres are
/// those of the last minute; but whatever would hold a file or mend a rule is looked at once more by those of this moment.
pub(crate) async fn off_site_copies<'r>(context: &Context, rows: &'r [FileRow]) -> Result<Looks<'r>, StageError> {
    let waits = rows.iter().all(|row| row.state == State::Replicated);
    if waits && let Some(offsite) = Offsite::lately(context) {
        let looks = look(context, rows, now(), offsite).await?;
        if looks.as_expected(rows, context.config().offsite.copies) {
            return Ok(looks);
        }
    }
    // the age of a look counts from its first question
    let at = now();
    look(context, rows, at, Offsite::now(context).await?).await
}

impl Looks<'_> {
    /// Whether nothing that was there is missing, and nothing contradicts.
    fn as_expected(&self, rows: &[FileRow], required: Copies) -> bool {
        let expected = |(row, copies): (&FileRow, &Result<Evidence, Doubt>)| match copies {
            Ok(evidence) => match row.first_look() {
                Ok(first) => first.is_none_or(|first| evidence.stands_since(&first, required).is_ok()),
                Err(_) => false,
            },
            Err(Doubt::Unknown(_)) => true,
            Err(Doubt::NotYet(_) | Doubt::TooFew { .. } | Doubt::Unheld { .. }) => row.first_look.is_none(),
            Err(Doubt::Contradiction(_)) => false,
        };
        rows.iter().zip(&self.copies).all(expected) && !self.rules.asks_for_others(required)
    }
}

async fn look<'r>(
    context: &Context,
    rows: &'r [FileRow],
    at: UnixMillis,
    offsite: Offsite,
) -> Result<Looks<'r>, StageError> {
    let config = context.config();
    let dids: Vec<Did> = rows.iter().map(FileRow::did).collect();
    let query =
        ReplicaQuery { dids: &dids, rse_expression: Some(&with_on_site(&config)), all_states: true, schemes: &SCHEMES };
    let listings: HashMap<Did, ReplicaListing> =
        context.rucio.replicas(&query).await?.into_iter().map(|listing| (listing.did.clone(), listing)).collect();
    // locks and storages are asked only about files that may have enough copies, that had enough before, or that have waited
    // for them so long that the copy they have may be bad
    let is_suspicious = |row: &&FileRow| row.first_look.is_some() || at - row.state_since > OVERDUE_MS;
    let suspicious: HashSet<Did> = rows.iter().filter(is_suspicious).map(FileRow::did).collect();
    let hopeful: HashMap<&Did, &ReplicaListing> = listings
        .iter()
        .filter(|(did, listing)| {
            present(listing, &offsite) >= config.offsite.copies.get() as usize || suspicious.contains(did)
        })
        .collect();
    let (locks, rules, mut unanswered) = locks(context, &offsite, rows, &hopeful).await?;
    let mut answers = Answers::new();
    for ((did, rse), answer) in storages::ask_all(context, &offsite, &hopeful, &wanted(rows)?).await {
        match answer {
            Ok(answer) => drop(answers.insert((did, rse), answer)),
            Err(waits_for) => drop(unanswered.insert(did, waits_for)),
        }
    }
    let mut copies = Vec::with_capacity(rows.len());
    let mut list_is_true = true;
    for row in rows {
        let contents = row.contents()?;
        let did = row.did();
        let Some(listing) = listings.get(&did) else {
            list_is_true = list_is_true && !is_known(context, &did).await?;
            copies.push(Err(if list_is_true {
                Doubt::NotYet("Rucio does not know the file".to_owned())
            } else {
                Doubt::Unknown(UNTRUE_LIST.to_owned())
            }));
            continue;
        };
        if !hopeful.contains_key(&did) && !listing_contradicts(listing, &contents) {
            copies.push(Err(not_enough(listing, &offsite, config.offsite.copies)));
            continue;
        }
        let judged = proofs(listing, &contents, &offsite, context, &locks, &answers);
        let evidence = Evidence::assemble(at, judged, config.offsite.copies);
        copies.push(unless_unanswered(unanswered.get(&did), evidence));
    }
    Ok(Looks { copies, rules })
}

/// What the storages are asked for of each file, the first that they know. A transfer has verified adler32 and so filled the
/// storage's cache with it; what was not asked before is computed from the bytes: crc32c in the first look, and in the last
/// one before a release md5, where the configuration has it computed.
fn wanted(rows: &[FileRow]) -> Result<HashMap<Did, Wanted>, StageError> {
    use Algorithm::{Adler32, Crc32c, Md5};
    let algorithms = |row: &FileRow| -> &'static [Algorithm] {
        match (row.md5.is_some(), row.state) {
            (false, _) => &[Crc32c, Adler32],
            (true, State::Confirmed | State::Releasing) => &[Md5, Crc32c, Adler32],
            (true, _) => &[Crc32c, Md5, Adler32],
        }
    };
    let wanted = |row: &FileRow| Ok((row.did(), Wanted { contents: row.contents()?, algorithms: algorithms(row) }));
    rows.iter().map(wanted).collect()
}

/// What a look says of a file about which not everybody answered. A contradiction stands, whatever the others would say.
fn unless_unanswered(waits_for: Option<&String>, evidence: Result<Evidence, Doubt>) -> Result<Evidence, Doubt> {
    match (waits_for, evidence) {
        (Some(_), Err(contradiction @ Doubt::Contradiction(_))) => Err(contradiction),
        (Some(waits_for), _) => Err(Doubt::Unknown(waits_for.clone())),
        (None, evidence) => evidence,
    }
}

/// Off-site copies that Rucio does not rule out.
fn present(listing: &ReplicaListing, offsite: &Offsite) -> usize {
    let counts = |state: &ReplicaState| matches!(state, ReplicaState::Available | ReplicaState::TemporaryUnavailable);
    listing.states.iter().filter(|(rse, state)| offsite.contains(rse) && counts(state)).count()
}

fn listing_contradicts(listing: &ReplicaListing, contents: &Contents) -> bool {
    listing.bytes != contents.bytes || listing.adler32.as_ref().is_some_and(|adler32| *adler32 != *contents.adler32)
}

fn not_enough(listing: &ReplicaListing, offsite: &Offsite, required: Copies) -> Doubt {
    let near =
        listing.states.keys().filter(|rse| offsite.on_the_mountain.contains(*rse)).map(|rse| on_the_mountain(rse));
    let far =
        listing.states.iter().filter(|(rse, _)| offsite.contains(rse)).map(|(rse, state)| match availability(*state) {
            Availability::Available => format!("{rse} has it"),
            Availability::OutOfReach => format!("{rse} is out of reach"),
            Availability::Not(word) => format!("the replica at {rse} is {word}"),
        });
    let states: Vec<String> = far.chain(near).collect();
    if states.is_empty() {
        return Doubt::NotYet("no off-site copy".to_owned());
    }
    Doubt::NotYet(format!("{} of {} off-site copies: {}", present(listing, offsite), required.get(), states.join(", ")))
}

fn on_the_mountain(rse: &str) -> String {
    format!("{rse} is at the site of the on-site RSE")
}

type Locks = HashMap<(Did, String), Vec<LockFacts>>;
type Answers = HashMap<(Did, String), StorageAnswer>;

fn proofs(
    listing: &ReplicaListing,
    contents: &Contents,
    offsite: &Offsite,
    context: &Context,
    locks: &Locks,
    answers: &Answers,
) -> Vec<Result<CopyProof, Doubt>> {
    let config = context.config();
    let mut judged = Vec::new();
    for (rse, state) in listing.states.iter().filter(|(rse, _)| offsite.contains(rse)) {
        let key = (listing.did.clone(), rse.clone());
        let facts = CopyFacts {
            rse: rse.clone(),
            site: offsite.site(rse).map(str::to_owned),
            availability: availability(*state),
            catalogue_bytes: listing.bytes,
            catalogue_adler32: listing.adler32.as_ref().map(ToString::to_string),
            locks: locks.get(&key).cloned().unwrap_or_default(),
            storage: answers.get(&key).cloned().unwrap_or(StorageAnswer::NotAsked),
        };
        judged.push(CopyProof::from_facts(&facts, contents, policy(config.offsite.storage_check_of(rse))));
    }
    let near = listing.states.keys().filter(|rse| offsite.on_the_mountain.contains(*rse));
    judged.extend(near.map(|rse| Err(Doubt::NotYet(on_the_mountain(rse)))));
    judged
}

fn availability(state: ReplicaState) -> Availability {
    match state {
        ReplicaState::Available => Availability::Available,
        ReplicaState::TemporaryUnavailable => Availability::OutOfReach,
        ReplicaState::Unavailable => Availability::Not("UNAVAILABLE"),
        ReplicaState::Copying => Availability::Not("COPYING"),
        ReplicaState::BeingDeleted => Availability::Not("BEING_DELETED"),
        ReplicaState::Bad => Availability::Not("BAD"),
        ReplicaState::Unknown => Availability::Not("in a state this version does not know"),
    }
}

fn policy(check: StorageCheck) -> StoragePolicy {
    match check {
        StorageCheck::Required => StoragePolicy::Required,
        StorageCheck::Preferred => StoragePolicy::Preferred,
        StorageCheck::Off => StoragePolicy::Off,
    }
}

/// The locks on these files by the rules we placed: the first-copy rule of each dataset, the further-copies rule of each
/// file; and the files about whose rules Rucio gave no good answer, with what they wait for.
async fn locks<'r>(
    context: &Context,
    offsite: &Offsite,
    rows: &'r [FileRow],
    hopeful: &HashMap<&Did, &ReplicaListing>,
) -> Result<(Locks, RulesSeen<'r>, HashMap<Did, String>), StageError> {
    let files: Vec<&FileRow> = rows.iter().filter(|row| hopeful.contains_key(&row.did())).collect();
    let mut first_copy_rules: HashMap<Did, String> = HashMap::new();
    for dataset in files.iter().map(|row| row.dataset_did()).collect::<BTreeSet<Did>>() {
        if let Some(rule) = context.ledger.first_copy_rule(&dataset).await? {
            first_copy_rules.insert(dataset, rule);
        }
    }
    let further_copies_rules = files.iter().filter_map(|row| row.further_copies_rule.clone());
    let ids: BTreeSet<String> = first_copy_rules.values().cloned().chain(further_copies_rules).collect();
    let wanted: BTreeSet<Did> = files.iter().map(|row| row.did()).collect();
    let carriers = Carriers::ask(context, &files).await?;
    let mut found = Locks::new();
    let mut seen = RulesSeen { offsite: offsite.clone(), files, standings: BTreeMap::new(), locks: OkLocks::default() };
    let begun = Instant::now();
    let mut asked = stream::iter(ids.into_iter().map(|id| async move {
        let answer = rule_and_locks(context, id.clone()).await;
        (id, answer.map_err(StageError::from))
    }))
    .buffer_unordered(RULE_QUESTIONS);
    let mut unanswered = BTreeMap::new();
    while let Some((id, answer)) = asked.next().await {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if context.may_answer_others(&error) && begun.elapsed() < PATIENCE => {
                unanswered.insert(id, error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let standing = standing_of(&context.config(), answer.as_ref().map(|(rule, _)| rule));
        seen.standings.insert(id, standing);
        // a rule that is gone gives no locks; the files then say that they have none
        let Some((rule, locks)) = answer else { continue };
        // the rule was asked first; locks that go in between make its files wait for the next look, and no more
        let (listed, counted) = (locks.len() as u64, rule.locks_ok + rule.locks_replicating + rule.locks_stuck);
        if listed < counted {
            let why = format!("Rucio lists {listed} locks of rule {}, and says that it has {counted}", rule.id);
            unanswered.insert(rule.id, StageError::Wait(why));
            continue;
        }
        let is_first = first_copy_rules.values().any(|id| *id == rule.id);
        for lock in locks.into_iter().filter(|lock| wanted.contains(&lock.did)) {
            seen.locks.note(&rule.id, is_first, &lock);
            let carrier = carriers.of(&lock.did, &rule.did);
            let fact = facts_of(&rule, &context.config().rucio.account, &lock, carrier);
            found.entry((lock.did, lock.rse)).or_default().push(fact);
        }
    }
    drop(asked);
    if seen.standings.is_empty()
        && let Some((_, error)) = unanswered.pop_first()
    {
        return Err(error);
    }
    let waiting = waiting(&seen, &first_copy_rules, &unanswered);
    Ok((found, seen, waiting))
}

fn facts_of(rule: &Rule, account: &str, lock: &Lock, carrier: Carrier) -> LockFacts {
    LockFacts {
        rule: rule.id.clone(),
        ours: rule.account == account,
        ok: lock.state == LockState::Ok,
        expires: rule.expires_at.is_some(),
        suspended: rule.state == RuleState::Suspended,
        carrier,
    }
}

/// The files about one of whose rules Rucio gave no good answer, and what they wait for.
fn waiting(
    seen: &RulesSeen<'_>,
    first_copy_rules: &HashMap<Did, String>,
    unanswered: &BTreeMap<String, StageError>,
) -> HashMap<Did, String> {
    let of = |row: &&FileRow| {
        let ids = [row.further_copies_rule.as_ref(), first_copy_rules.get(&row.dataset_did())];
        let error = ids.into_iter().flatten().find_map(|id| unanswered.get(id))?;
        Some((row.did(), format!("an answer from Rucio: {error}")))
    };
    seen.files.iter().filter_map(of).collect()
}

async fn rule_and_locks(context: &Context, id: String) -> Result<Option<(Rule, Vec<Lock>)>, rucio_client::Error> {
    let both =
        async { Ok::<_, rucio_client::Error>((context.rucio.rule(&id).await?, context.rucio.rule_locks(&id).await?)) };
    match both.await {
        Ok(both) => Ok(Some(both)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_told_with_whose_it_is_and_what_may_end_it() {
        let told = |change: fn(&mut Rule, &mut Lock)| {
            let did = Did::new("acada", "/f");
            let mut rule = Rule {
                id: "1".to_owned(),
                did: did.clone(),
                account: "ingest".to_owned(),
                rse_expression: "OFFSITE".to_owned(),
                copies: 1,
                state: RuleState::Ok,
                expires_at: None,
                locks_ok: 1,
                locks_replicating: 0,
                locks_stuck: 0,
                error: None,
                stuck_at: None,
                source_replica_expression: None,
                purge_replicas: false,
                meta: None,
            };
            let mut lock = Lock { did, rse: "STORAGE-2".to_owned(), state: LockState::Ok };
            change(&mut rule, &mut lock);
            let facts = facts_of(&rule, "ingest", &lock, Carrier::Stays);
            (facts.ours, facts.ok, facts.expires, facts.suspended)
        };
        assert_eq!(told(|_, _| ()), (true, true, false, false));
        assert_eq!(told(|rule, _| rule.account = "root".to_owned()), (false, true, false, false));
        assert_eq!(told(|_, lock| lock.state = LockState::Stuck), (true, false, false, false));
        assert_eq!(told(|rule, _| rule.expires_at = Some("soon".to_owned())), (true, true, true, false));
        assert_eq!(told(|rule, _| rule.state = RuleState::Suspended), (true, true, false, true));
    }

    #[test]
    fn an_answer_that_is_missing_makes_a_file_wait_and_hides_no_contradiction() {
        let waits_for = "an answer".to_owned();
        let unknown = || Err(Doubt::Unknown("an answer".to_owned()));
        let contradiction = || Err(Doubt::Contradiction("another digest".to_owned()));
        // without the missing answer, a file that has its copies seems to have lost one
        let not_yet = || Err(Doubt::NotYet("no lock".to_owned()));
        for (missing, evidence, said) in [
            (true, contradiction(), contradiction()),
            (true, not_yet(), unknown()),
            (false, contradiction(), contradiction()),
            (false, not_yet(), not_yet()),
        ] {
            assert_eq!(unless_unanswered(missing.then_some(&waits_for), evidence), said);
        }
    }
}
