//! A file's whole situation at one moment, held against the invariants: "no file is lost".
//!
//! The facts are gathered by whoever can: a test from its simulated world, a campaign or an audit from the ledger, the
//! disk, Rucio and the storages. What could not be asked is `None` and breaks nothing.

use super::Violation;
use crate::custody::{Copies, State};

/// What lies on site under a file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnSite {
    /// Nothing.
    Absent,
    /// The content that was delivered last.
    Delivered,
    /// Something else.
    Other,
}

/// What Rucio says of the on-site rule, which protects the on-site copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protection {
    /// It stands and has no end.
    Holds,
    /// It has ended, or Rucio does not know it.
    Ended,
}

/// Everything that is known of one delivered file at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Its name.
    pub lfn: String,
    /// Its state in the ledger; `None` while only the trigger announces it.
    pub state: Option<State>,
    /// The ledger holds the evidence of its release.
    pub evidence_on_record: bool,
    /// Sites at which that evidence proves a copy.
    pub sites_on_record: Option<u32>,
    /// The ledger holds a sentence: a place in `invalid/`.
    pub sentence_on_record: bool,
    /// What lies under its name.
    pub on_site: Option<OnSite>,
    /// The delivered content lies in `invalid/`.
    pub set_aside: Option<bool>,
    /// Its trigger is on disk.
    pub trigger: Option<bool>,
    /// The on-site rule, as far as the ledger knows one.
    pub protection: Option<Protection>,
    /// Sites that hold a right copy off site.
    pub good_sites: Option<u32>,
    /// Right copies that others are known to have destroyed since the last look before the release.
    pub destroyed_since: u32,
}

/// Files and what is asked of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// All delivered files.
    pub files: Vec<FileFacts>,
    /// Off-site copies that a release requires.
    pub required: Copies,
}

/// A violation and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{lfn}: {violation}")]
pub struct Finding {
    /// The file.
    pub lfn: String,
    /// What is broken.
    pub violation: Violation,
}

impl World {
    /// Everything that is not as the constitution has it.
    pub fn violations(&self) -> Vec<Finding> {
        let of_file = |file: &FileFacts| {
            let lfn = file.lfn.clone();
            file.violations(self.required)
                .into_iter()
                .map(move |violation| Finding { lfn: lfn.clone(), violation })
                .collect::<Vec<_>>()
        };
        self.files.iter().flat_map(of_file).collect()
    }
}

impl FileFacts {
    /// What is broken about this file.
    pub fn violations(&self, required: Copies) -> Vec<Violation> {
        let checks = [
            self.announced(),
            self.somewhere(),
            self.protected(),
            self.intended(),
            self.proven(required),
            self.released_for_a_reason(required),
        ];
        checks.into_iter().flatten().collect()
    }

    /// I1: until a file is registered or sentenced, its trigger announces it.
    fn announced(&self) -> Option<Violation> {
        let unregistered = matches!(self.state, None | Some(State::Discovered | State::Verified));
        let missing = self.trigger == Some(false) && unregistered && !self.sentence_on_record;
        missing.then(|| Violation { invariant: "I1", why: "its trigger is gone before it was registered".to_owned() })
    }

    /// I3: nothing disappears silently. What is not on site was released with an intent on record, or lies in `invalid/`.
    fn somewhere(&self) -> Option<Violation> {
        let given_up = matches!(self.state, Some(State::Releasing | State::Released));
        if self.on_site? == OnSite::Delivered || self.set_aside? || given_up {
            return None;
        }
        // a file that is held after its release was ordered may go as well: what counts then is the evidence
        if self.state == Some(State::Held) && self.evidence_on_record && self.protection == Some(Protection::Ended) {
            return None;
        }
        let why = format!("it is neither on site nor in invalid/, and {}", self.standing());
        Some(Violation { invariant: "I3", why })
    }

    /// I5: the protection of the on-site copy ends after the intent is on record.
    fn protected(&self) -> Option<Violation> {
        let kept = matches!(self.state, Some(State::Registered | State::Replicated | State::Confirmed));
        let no_evidence = self.state == Some(State::Releasing) && !self.evidence_on_record;
        if self.protection != Some(Protection::Ended) || !(kept || no_evidence) {
            return None;
        }
        let why = format!("the rule that protects the on-site copy has ended, and {}", self.standing());
        Some(Violation { invariant: "I5", why })
    }

    /// I5: a release that was carried out has its evidence on record.
    fn intended(&self) -> Option<Violation> {
        let unproven = self.state == Some(State::Released) && !self.evidence_on_record;
        unproven.then(|| Violation {
            invariant: "I5",
            why: "it was released, and the evidence of its release is not on record".to_owned(),
        })
    }

    /// I2: the evidence that a release rests on proves enough copies.
    fn proven(&self, required: Copies) -> Option<Violation> {
        let given_up = matches!(self.state, Some(State::Releasing | State::Released));
        let sites = self.sites_on_record.filter(|_| given_up && self.evidence_on_record)?;
        (sites < required.get()).then(|| Violation {
            invariant: "I2",
            why: format!("the evidence of its release proves a copy at {sites} sites of {}", required.get()),
        })
    }

    /// I2: what is gone on site is right at enough sites, but for what others destroyed after the last look.
    fn released_for_a_reason(&self, required: Copies) -> Option<Violation> {
        let given_up = matches!(self.state, Some(State::Releasing | State::Released | State::Held));
        if !given_up || self.on_site? == OnSite::Delivered || self.set_aside? {
            return None;
        }
        let (good, destroyed) = (self.good_sites?, self.destroyed_since);
        (good + destroyed < required.get()).then(|| Violation {
            invariant: "I2",
            why: format!(
                "it is not on site any more, and {good} sites hold a right copy ({destroyed} destroyed by others since \
                 the last look, {} required)",
                required.get()
            ),
        })
    }

    fn standing(&self) -> String {
        self.state.map_or("the ledger does not know it".to_owned(), |state| format!("the ledger says {state}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered() -> FileFacts {
        FileFacts {
            lfn: "/a".to_owned(),
            state: Some(State::Registered),
            evidence_on_record: false,
            sites_on_record: None,
            sentence_on_record: false,
            on_site: Some(OnSite::Delivered),
            set_aside: Some(false),
            trigger: Some(false),
            protection: Some(Protection::Holds),
            good_sites: Some(0),
            destroyed_since: 0,
        }
    }

    fn released(good: u32, destroyed: u32) -> FileFacts {
        FileFacts {
            state: Some(State::Released),
            evidence_on_record: true,
            on_site: Some(OnSite::Absent),
            protection: Some(Protection::Ended),
            good_sites: Some(good),
            destroyed_since: destroyed,
            ..registered()
        }
    }

    fn found(file: FileFacts) -> Vec<&'static str> {
        let world = World { files: vec![file], required: Copies::MIN };
        world.violations().into_iter().map(|finding| finding.violation.invariant).collect()
    }

    #[test]
    fn a_file_that_is_where_it_must_be_breaks_nothing() {
        assert!(found(registered()).is_empty());
        assert!(found(released(2, 0)).is_empty());
        assert!(found(released(1, 1)).is_empty(), "what others destroy after the last look is theirs");
        let rejected = FileFacts {
            state: Some(State::Rejected),
            on_site: Some(OnSite::Absent),
            set_aside: Some(true),
            protection: None,
            ..registered()
        };
        assert!(found(rejected).is_empty());
    }

    #[test]
    fn each_way_to_lose_a_file_is_named() {
        assert_eq!(found(released(1, 0)), ["I2"]);
        assert_eq!(found(FileFacts { on_site: Some(OnSite::Absent), ..registered() }), ["I3"]);
        assert_eq!(found(FileFacts { protection: Some(Protection::Ended), ..registered() }), ["I5"]);
        assert_eq!(found(FileFacts { state: Some(State::Verified), ..registered() }), ["I1"]);
        assert_eq!(found(FileFacts { state: None, ..registered() }), ["I1"]);
        let gone = FileFacts { state: Some(State::Rejected), on_site: Some(OnSite::Absent), ..registered() };
        assert_eq!(found(gone), ["I3"]);
        assert_eq!(
            found(FileFacts { evidence_on_record: false, state: Some(State::Releasing), ..released(2, 0) }),
            ["I5"]
        );
        assert_eq!(found(FileFacts { evidence_on_record: false, ..released(2, 0) }), ["I5"]);
        assert_eq!(found(FileFacts { sites_on_record: Some(1), ..released(2, 0) }), ["I2"]);
        assert!(found(FileFacts { sites_on_record: Some(2), ..released(2, 0) }).is_empty());
    }

    #[test]
    fn what_could_not_be_asked_breaks_nothing() {
        let unknown = FileFacts {
            on_site: None,
            set_aside: None,
            trigger: None,
            protection: None,
            good_sites: None,
            ..registered()
        };
        assert!(found(unknown).is_empty());
        assert!(found(FileFacts { good_sites: None, ..released(0, 0) }).is_empty());
    }
}
