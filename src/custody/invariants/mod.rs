//! The constitution: what must hold before an irreversible effect, stated once.
//!
//! Every function takes the facts as they are and answers with the broken invariant. Production calls them right before
//! the effect (a violation stops the effect and raises `dl0_ingest_invariant_violations_total`), tests call the same ones.
//! [`world`] holds a file's whole situation against all of them at once.

pub mod world;

use std::collections::BTreeMap;
use std::path::Path;

use super::settling::FileInRucio;
use super::{Contents, Copies, Evidence, State, sites_on_record};
use crate::names::INVALID_DIRECTORY;

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invariant {invariant} would be broken: {why}")]
pub struct Violation {
    /// `I1` … `I8`.
    pub invariant: &'static str,
    /// What is wrong, for humans.
    pub why: String,
}

fn broken(invariant: &'static str, why: impl Into<String>) -> Result<(), Violation> {
    Err(Violation { invariant, why: why.into() })
}

/// I5: nothing that cannot be undone is done to a file that the ledger does not have.
pub fn not_on_record() -> Violation {
    Violation { invariant: "I5", why: "the ledger does not have the file".to_owned() }
}

/// I1: a trigger is removed only when the file's registration is durable in Rucio and in the ledger.
pub fn trigger_may_go(state: State, protecting_rule: Option<&str>) -> Result<(), Violation> {
    match state {
        // set aside with its reason, or given up for a proven one: no protecting rule is needed any more
        State::Rejected | State::Released | State::Releasing => Ok(()),
        _ if state.registered() && protecting_rule.is_some() => Ok(()),
        _ if state.registered() => broken("I1", "the on-site replica has no protecting rule on record"),
        _ => broken("I1", format!("the file is {state}, not registered")),
    }
}

/// I2: the on-site copy is given up only on complete evidence for enough copies at different sites, none of them the
/// on-site storage itself. What is on record of the release proves that as well.
pub fn on_site_copy_may_go(
    decision: &DecisionOnRecord,
    evidence: &Evidence,
    on_site_rse: &str,
    required: Copies,
) -> Result<(), Violation> {
    if !matches!(decision.state, State::Confirmed | State::Releasing) {
        return broken("I2", format!("the file is {}, not confirmed", decision.state));
    }
    release_is_proven(decision)?;
    if evidence.copies().iter().any(|copy| copy.rse() == on_site_rse) {
        return broken("I2", format!("{on_site_rse} is the on-site storage and cannot vouch for itself"));
    }
    if evidence.sites() < required.get() as usize {
        return broken("I2", format!("{} of {} sites are proven", evidence.sites(), required.get()));
    }
    Ok(())
}

/// I2: the evidence on record proves as many copies as any release needs. (More may be asked for since.)
fn release_is_proven(decision: &DecisionOnRecord) -> Result<(), Violation> {
    let sites = decision.evidence.map_or(0, sites_on_record);
    if sites < Copies::MIN.get() {
        return broken("I2", format!("the evidence on record proves a copy at {sites} sites of {}", Copies::MIN.get()));
    }
    Ok(())
}

/// I5, I2: a rule of a released file's own is ended only when that very intent is on record, with the evidence of the release,
/// and the dataset's rules hold each copy that it holds, at enough sites. `sites`: the site of each RSE that says one.
pub fn own_rule_may_end(
    decision: &DecisionOnRecord,
    (rule, ending): (Option<&str>, Option<&str>),
    held: &FileInRucio,
    required: Copies,
    sites: &BTreeMap<String, String>,
) -> Result<(), Violation> {
    if decision.state != State::Released {
        return broken("I5", format!("the file is {}, its rule is needed", decision.state));
    }
    if rule.is_none() || rule != ending {
        return broken("I5", "the intent to end this rule is not on record");
    }
    release_is_proven(decision)?;
    held.own_rule_may_go(required, sites).or_else(|why| broken("I2", why.to_string()))
}

/// What the ledger has durably on record about a decision that cannot be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionOnRecord<'a> {
    /// The file's state.
    pub state: State,
    /// The evidence of a release.
    pub evidence: Option<&'a str>,
    /// Where a rejected file is sentenced to go, relative to the data root.
    pub invalid_path: Option<&'a str>,
}

/// I5: the rule that protects the on-site copy is ended, and what is left of the copy removed, only when the intent and
/// its evidence are durable, so that a restart finds a release that was begun and never a file that merely vanished.
pub fn release_may_be_carried_out(decision: &DecisionOnRecord) -> Result<(), Violation> {
    if decision.state != State::Releasing {
        return broken("I5", format!("the ledger says {}, the intent to release is not on record", decision.state));
    }
    match decision.evidence {
        Some(evidence) if !evidence.is_empty() => Ok(()),
        _ => broken("I5", "the evidence of the release is not on record"),
    }
}

/// I5: a file counts as released only when its release is on record as carried out: the evidence it rests on, and that Rucio
/// had no on-site replica any more.
pub fn release_is_on_record(evidence: Option<&str>, replica_gone: bool) -> Result<(), Violation> {
    match evidence {
        Some(evidence) if !evidence.is_empty() && replica_gone => Ok(()),
        Some(evidence) if !evidence.is_empty() => broken("I5", "that its on-site replica is gone is not on record"),
        _ => broken("I5", "the evidence of the release is not on record"),
    }
}

/// I5: a file is moved to `invalid/` only when the sentence, and the very place it names, is on record.
pub fn file_may_be_set_aside(decision: &DecisionOnRecord, destination: &Path) -> Result<(), Violation> {
    if decision.state != State::Discovered {
        return broken("I5", format!("a file that is {} is not set aside", decision.state));
    }
    match decision.invalid_path {
        Some(place) if !place.is_empty() && Path::new(place) == destination => Ok(()),
        Some(place) => broken("I5", format!("the sentence on record names '{place}', not '{}'", destination.display())),
        None => broken("I5", "no sentence is on record"),
    }
}

/// I1, I3: the trigger of a rejected file goes when the file lies where the sentence says, or when there is no file left.
pub fn trigger_of_rejected_may_go(decision: &DecisionOnRecord, still_in_place: bool) -> Result<(), Violation> {
    if decision.invalid_path.is_none() {
        return broken("I1", "the file is not registered, and no sentence is on record");
    }
    if still_in_place {
        return broken("I3", "the file is not set aside, it still lies where it was delivered");
    }
    Ok(())
}

/// I1, I3: the trigger of other content that was moved from under a name that leaves goes when that content lies in
/// `invalid/`, and not where it was delivered any more.
pub fn trigger_of_moved_may_go(set_aside: bool, still_in_place: bool) -> Result<(), Violation> {
    if !set_aside {
        return broken("I1", "what was delivered is neither registered nor set aside");
    }
    if still_in_place {
        return broken("I3", "what was delivered is not set aside, it still lies where it was delivered");
    }
    Ok(())
}

/// I4: what was read of a file is the file, once. In bytes.
pub fn read_once(delivered: u64, read: u64) -> Result<(), Violation> {
    if delivered == read {
        return Ok(());
    }
    broken("I4", format!("{read} bytes were read of a file of {delivered}"))
}

/// The part of a file's row that an outage must not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateAndAttempts {
    /// State.
    pub state: State,
    /// Failures of its own in this state.
    pub attempts: i64,
}

/// I6: an outage neither rejects nor holds a file, nor counts as an attempt. What was under way may still arrive.
pub fn outage_is_nobodys_fault(before: StateAndAttempts, after: StateAndAttempts) -> Result<(), Violation> {
    if after.state != before.state && matches!(after.state, State::Rejected | State::Held) {
        return broken("I6", format!("an outage made a {} file {}", before.state, after.state));
    }
    if after.state == before.state && after.attempts > before.attempts {
        return broken("I6", format!("an outage was counted: {} attempts, then {}", before.attempts, after.attempts));
    }
    Ok(())
}

/// I7: a registered LFN never changes content.
pub fn same_content(registered: &Contents, delivered: &Contents) -> Result<(), Violation> {
    // whether MD5 was computed depends on the configuration of the day
    let without_md5 = |contents: &Contents| Contents { md5: None, ..contents.clone() };
    if without_md5(registered) == without_md5(delivered) {
        return Ok(());
    }
    broken(
        "I7",
        format!(
            "registered with {} bytes and BLAKE3 {}, delivered with {} bytes and BLAKE3 {}",
            registered.bytes, registered.blake3, delivered.bytes, delivered.blake3
        ),
    )
}

/// I7, I3: what is moved away from under a name that is being released is other content than what has its copies under that
/// name, and it goes into `invalid/`.
pub fn other_content_may_be_moved(
    state: State,
    registered: &Contents,
    delivered: &Contents,
    destination: &Path,
) -> Result<(), Violation> {
    if state != State::Releasing {
        return broken("I5", format!("the file is {state}: nothing is about to delete what was delivered"));
    }
    if registered == delivered {
        return broken("I7", "what was delivered is the registered content, whose place is here");
    }
    if !destination.components().any(|part| part.as_os_str() == INVALID_DIRECTORY) {
        return broken("I3", format!("'{}' is not in {INVALID_DIRECTORY}/", destination.display()));
    }
    Ok(())
}

/// What became of a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// The same request is made again.
    Repeated,
    /// The file waits and its stage comes back to it later.
    Postponed,
    /// The file leaves the road: held or rejected.
    GivenUp,
}

/// I8: what will never pass is not repeated as it is, and what may pass is not given up.
pub fn failure_is_met_rightly(may_pass: bool, met: AfterFailure) -> Result<(), Violation> {
    match (may_pass, met) {
        (true, AfterFailure::GivenUp) => broken("I8", "a file was given up for an error that may pass"),
        (false, AfterFailure::Repeated) => broken("I8", "a request that cannot pass was repeated"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(result: Result<(), Violation>) -> Option<&'static str> {
        result.err().map(|violation| violation.invariant)
    }

    #[test]
    fn a_trigger_stays_until_the_replica_is_registered_and_protected() {
        assert!(trigger_may_go(State::Registered, Some("rule")).is_ok());
        for state in [State::Discovered, State::Verified, State::Held] {
            assert_eq!(name(trigger_may_go(state, Some("rule"))), Some("I1"), "{state}");
        }
        assert_eq!(name(trigger_may_go(State::Registered, None)), Some("I1"));
    }

    #[test]
    fn a_release_is_carried_out_only_on_a_durable_intent() {
        for state in State::ALL {
            let decision = DecisionOnRecord { state, evidence: Some("{}"), invalid_path: None };
            assert_eq!(release_may_be_carried_out(&decision).is_ok(), state == State::Releasing, "{state}");
        }
        for evidence in [None, Some("")] {
            let decision = DecisionOnRecord { state: State::Releasing, evidence, invalid_path: None };
            assert_eq!(name(release_may_be_carried_out(&decision)), Some("I5"));
        }
    }

    #[test]
    fn a_file_counts_as_released_only_when_that_is_on_record() {
        assert!(release_is_on_record(Some("{}"), true).is_ok());
        for (evidence, gone) in [(Some("{}"), false), (Some(""), true), (None, true)] {
            assert_eq!(name(release_is_on_record(evidence, gone)), Some("I5"));
        }
    }

    #[test]
    fn a_file_is_set_aside_only_where_its_sentence_says() {
        let decision = |state, invalid_path| DecisionOnRecord { state, evidence: None, invalid_path };
        let place = Path::new("ctao/acada/invalid/a");
        let sentenced = decision(State::Discovered, Some("ctao/acada/invalid/a"));
        assert!(file_may_be_set_aside(&sentenced, place).is_ok());
        assert_eq!(name(file_may_be_set_aside(&sentenced, Path::new("ctao/acada/invalid/b"))), Some("I5"));
        assert_eq!(name(file_may_be_set_aside(&decision(State::Discovered, None), place)), Some("I5"));
        assert_eq!(
            name(file_may_be_set_aside(&decision(State::Registered, Some("ctao/acada/invalid/a")), place)),
            Some("I5")
        );
        assert!(trigger_of_rejected_may_go(&sentenced, false).is_ok());
        assert_eq!(name(trigger_of_rejected_may_go(&sentenced, true)), Some("I3"));
        assert_eq!(name(trigger_of_rejected_may_go(&decision(State::Discovered, None), false)), Some("I1"));
    }

    #[test]
    fn only_other_content_is_moved_from_under_a_name_that_leaves() {
        let content = |letter: &str| Contents {
            bytes: 1,
            adler32: letter.repeat(8),
            crc32c: letter.repeat(8),
            md5: None,
            blake3: letter.repeat(64),
        };
        let place = Path::new("ctao/acada/invalid/a");
        let (ours, other) = (content("a"), content("b"));
        assert!(other_content_may_be_moved(State::Releasing, &ours, &other, place).is_ok());
        for (state, delivered, place, broken) in [
            (State::Released, &other, place, "I5"),
            (State::Releasing, &ours, place, "I7"),
            (State::Releasing, &other, Path::new("ctao/acada/dl0/a"), "I3"),
        ] {
            assert_eq!(name(other_content_may_be_moved(state, &ours, delivered, place)), Some(broken));
        }
    }

    #[test]
    fn the_trigger_of_other_content_stays_until_that_is_out_of_the_way() {
        assert!(trigger_of_moved_may_go(true, false).is_ok());
        assert_eq!(name(trigger_of_moved_may_go(false, false)), Some("I1"));
        assert_eq!(name(trigger_of_moved_may_go(true, true)), Some("I3"));
    }

    #[test]
    fn a_rule_of_a_released_file_ends_only_as_intended_and_when_others_hold_its_copies() {
        const TWO: &str = r#"{"copies": [{"site": "a"}, {"site": "b"}]}"#;
        const ONE: &str = r#"{"copies": [{"site": "a"}]}"#;
        let set = |rse: &str| std::collections::BTreeSet::from([rse.to_owned()]);
        let held = FileInRucio {
            lfn: "/f".to_owned(),
            as_verified: true,
            replicas: [("A", true), ("B", true)].map(|(rse, there)| (rse.to_owned(), there)).into(),
            first: set("A"),
            own: Some(set("B")),
            dataset: set("B"),
        };
        let sites = BTreeMap::from([("A", "a"), ("B", "b")].map(|(rse, site)| (rse.to_owned(), site.to_owned())));
        let ask = |state, evidence, ending, held: &FileInRucio| {
            let decision = DecisionOnRecord { state, evidence, invalid_path: None };
            name(own_rule_may_end(&decision, (Some("rule"), ending), held, Copies::MIN, &sites))
        };
        assert_eq!(ask(State::Released, Some(TWO), Some("rule"), &held), None);
        assert_eq!(ask(State::Held, Some(TWO), Some("rule"), &held), Some("I5"));
        assert_eq!(ask(State::Released, Some(TWO), None, &held), Some("I5"));
        assert_eq!(ask(State::Released, Some(TWO), Some("other"), &held), Some("I5"));
        for evidence in [None, Some(""), Some(ONE)] {
            assert_eq!(ask(State::Released, evidence, Some("rule"), &held), Some("I2"));
        }
        let unheld = FileInRucio { dataset: set("C"), ..held };
        assert_eq!(ask(State::Released, Some(TWO), Some("rule"), &unheld), Some("I2"));
    }

    #[test]
    fn an_outage_leaves_a_file_where_it_stands() {
        let at = |state, attempts| StateAndAttempts { state, attempts };
        let before = at(State::Verified, 1);
        assert!(outage_is_nobodys_fault(before, before).is_ok());
        assert!(outage_is_nobodys_fault(before, at(State::Registered, 0)).is_ok());
        for after in [at(State::Verified, 2), at(State::Held, 0), at(State::Rejected, 0)] {
            assert_eq!(name(outage_is_nobodys_fault(before, after)), Some("I6"), "{after:?}");
        }
    }

    #[test]
    fn what_may_pass_is_awaited_and_what_cannot_is_not_repeated() {
        assert_eq!(name(failure_is_met_rightly(true, AfterFailure::GivenUp)), Some("I8"));
        assert_eq!(name(failure_is_met_rightly(false, AfterFailure::Repeated)), Some("I8"));
        assert!(failure_is_met_rightly(true, AfterFailure::Repeated).is_ok());
        assert!(failure_is_met_rightly(false, AfterFailure::GivenUp).is_ok());
        for may_pass in [true, false] {
            assert!(failure_is_met_rightly(may_pass, AfterFailure::Postponed).is_ok());
        }
    }

    #[test]
    fn a_file_is_read_whole_and_once() {
        assert!(read_once(10, 10).is_ok());
        for read in [9, 20] {
            assert_eq!(name(read_once(10, read)), Some("I4"));
        }
    }
}
