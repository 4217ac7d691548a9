//! What proves that an off-site copy exists and is right, and the order to give up the on-site one.
//!
//! Facts are what Rucio and the storages said; a proof can only be made from complete facts, evidence only from proofs at
//! enough distinct sites, and a release order only from fresh evidence on top of an older first look.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Copies, FileIdentity, UnixMillis};

/// What the ledger knows of a file's content since it was verified. Hex, lower case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Size in bytes.
    pub bytes: u64,
    /// Adler-32, 8 digits.
    pub adler32: String,
    /// CRC-32C, 8 digits.
    pub crc32c: String,
    /// BLAKE3, 64 digits.
    pub blake3: String,
}

/// How much the storage's own word counts for an RSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoragePolicy {
    /// No proof without the storage's size and digest.
    Required,
    /// Used when it answers; a silent storage does not stop the proof, a contradicting one does.
    Preferred,
    /// Not asked.
    Off,
}

/// What the storage itself said about the physical file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageAnswer {
    /// It was not asked.
    NotAsked,
    /// It gave no usable answer (down, slow, refused); the reason for humans.
    Silent(String),
    /// It says there is no such file.
    Missing,
    /// Size, and the digest with the algorithm's name as the storage stated it.
    Stated {
        /// Size in bytes.
        bytes: u64,
        /// Algorithm (`crc32c`, `adler32`) and value in hex; `None` when it computes none we can compare.
        digest: Option<(&'static str, String)>,
    },
}

/// A lock as Rucio states it, with what matters of its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockFacts {
    /// The rule that holds the lock.
    pub rule: String,
    /// The rule belongs to our account.
    pub ours: bool,
    /// The lock's state is OK.
    pub ok: bool,
    /// The rule has an end.
    pub expires: bool,
}

/// What Rucio says of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It is there.
    Available,
    /// Its storage is out of reach for now, which says nothing about the copy.
    OutOfReach,
    /// It is not there, or not any more; Rucio's word for the state.
    Not(&'static str),
}

/// Everything that was said about one file at one off-site RSE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFacts {
    /// The RSE; never the on-site one.
    pub rse: String,
    /// Value of the RSE attribute that tells sites apart.
    pub site: Option<String>,
    /// What Rucio says of the replica.
    pub availability: Availability,
    /// Size in Rucio's catalogue.
    pub catalogue_bytes: u64,
    /// Adler-32 in Rucio's catalogue, 8 hex digits.
    pub catalogue_adler32: Option<String>,
    /// Locks on the file at this RSE.
    pub locks: Vec<LockFacts>,
    /// The storage's own word.
    pub storage: StorageAnswer,
}

/// Why there is no proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The copy is not (or no longer) what it must be, as far as those say who must know.
    NotYet(String),
    /// Somebody who must know could not be asked.
    Unknown(String),
    /// Somebody says that the copy differs from the file.
    Contradiction(String),
}

impl Doubt {
    /// The reason, for humans.
    pub fn reason(&self) -> &str {
        match self {
            Self::NotYet(reason) | Self::Unknown(reason) | Self::Contradiction(reason) => reason,
        }
    }
}

/// The proof of one off-site copy. Cannot be made without all its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopyProof {
    rse: String,
    site: String,
    rule: String,
    bytes: u64,
    adler32: String,
    storage_digest: Option<(&'static str, String)>,
}

impl CopyProof {
    /// Judges the facts about one copy against the content that was verified on site.
    pub fn from_facts(facts: &CopyFacts, contents: &Contents, policy: StoragePolicy) -> Result<Self, Doubt> {
        let rse = &facts.rse;
        if facts.catalogue_bytes != contents.bytes {
            return Err(Doubt::Contradiction(format!(
                "Rucio states {} bytes, the file on site has {}",
                facts.catalogue_bytes, contents.bytes
            )));
        }
        match &facts.catalogue_adler32 {
            Some(adler32) if *adler32 == contents.adler32 => {}
            Some(other) => {
                return Err(Doubt::Contradiction(format!(
                    "Rucio states adler32 {other}, the file on site has {}",
                    contents.adler32
                )));
            }
            None => return Err(Doubt::NotYet("Rucio states no adler32 for the file".to_owned())),
        }
        match facts.availability {
            Availability::Available => {}
            Availability::OutOfReach => {
                return Err(Doubt::Unknown(format!("Rucio says that {rse} is out of reach for now")));
            }
            Availability::Not(state) => return Err(Doubt::NotYet(format!("the replica at {rse} is {state}"))),
        }
        let site = facts.site.clone().ok_or_else(|| {
            Doubt::NotYet(format!("{rse} lacks the attribute that tells sites apart (see offsite.distinct_by)"))
        })?;
        let storage_digest = Self::judge_storage(facts, contents, policy)?;
        let rule = facts
            .locks
            .iter()
            .find(|lock| lock.ours && lock.ok && !lock.expires)
            .map(|lock| lock.rule.clone())
            .ok_or_else(|| Doubt::NotYet(format!("no permanent rule of ours holds an OK lock at {rse}")))?;
        Ok(Self {
            rse: rse.clone(),
            site,
            rule,
            bytes: contents.bytes,
            adler32: contents.adler32.clone(),
            storage_digest,
        })
    }

    fn judge_storage(
        facts: &CopyFacts,
        contents: &Contents,
        policy: StoragePolicy,
    ) -> Result<Option<(&'static str, String)>, Doubt> {
        let rse = &facts.rse;
        match (&facts.storage, policy) {
            (_, StoragePolicy::Off) => Ok(None),
            (StorageAnswer::Missing, _) => {
                Err(Doubt::Contradiction(format!("Rucio says AVAILABLE at {rse}, the storage has no such file")))
            }
            (StorageAnswer::Stated { bytes, .. }, _) if *bytes != contents.bytes => Err(Doubt::Contradiction(format!(
                "the storage of {rse} holds {bytes} bytes, the file on site has {}",
                contents.bytes
            ))),
            (StorageAnswer::Stated { digest: Some((algorithm, value)), .. }, _) => {
                let expected = match *algorithm {
                    "crc32c" => &contents.crc32c,
                    "adler32" => &contents.adler32,
                    other => {
                        return Err(Doubt::Unknown(format!(
                            "the storage of {rse} states a {other}, which we do not keep"
                        )));
                    }
                };
                if value == expected {
                    Ok(Some((algorithm, value.clone())))
                } else {
                    Err(Doubt::Contradiction(format!(
                        "the storage of {rse} states {algorithm} {value}, the file on site has {expected}"
                    )))
                }
            }
            (_, StoragePolicy::Preferred) => Ok(None),
            (StorageAnswer::Stated { digest: None, .. }, StoragePolicy::Required) => {
                Err(Doubt::Unknown(format!("the storage of {rse} gives no digest we can compare (crc32c or adler32)")))
            }
            (StorageAnswer::Silent(reason), StoragePolicy::Required) => {
                Err(Doubt::Unknown(format!("the storage of {rse} does not answer: {reason}")))
            }
            (StorageAnswer::NotAsked, StoragePolicy::Required) => {
                Err(Doubt::Unknown(format!("the storage of {rse} was not asked")))
            }
        }
    }

    /// The RSE of the copy.
    pub fn rse(&self) -> &str {
        &self.rse
    }

    /// The site of the copy.
    pub fn site(&self) -> &str {
        &self.site
    }
}

/// Proofs of at least the required number of copies at distinct sites, all from one look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    at: UnixMillis,
    copies: Vec<CopyProof>,
    /// Further copies about which somebody could not be asked: neither proven nor lost.
    undecided: bool,
}

impl Evidence {
    /// Assembles one look. A single contradiction spoils it, whatever the other copies say.
    pub fn assemble(at: UnixMillis, judged: Vec<Result<CopyProof, Doubt>>, required: Copies) -> Result<Self, Doubt> {
        if let Some(contradiction) = judged.iter().find_map(|copy| match copy {
            Err(doubt @ Doubt::Contradiction(_)) => Some(doubt.clone()),
            _ => None,
        }) {
            return Err(contradiction);
        }
        let mut copies = Vec::new();
        let mut doubts = Vec::new();
        let mut unknown = false;
        for copy in judged {
            match copy {
                Ok(proof) => copies.push(proof),
                Err(doubt) => {
                    unknown |= matches!(doubt, Doubt::Unknown(_));
                    doubts.push(doubt.reason().to_owned());
                }
            }
        }
        let sites: BTreeSet<&str> = copies.iter().map(CopyProof::site).collect();
        if sites.len() >= required.get() as usize {
            return Ok(Self { at, copies, undecided: unknown });
        }
        let mut reason = format!("{} of {} sites hold a proven copy", sites.len(), required.get());
        if !doubts.is_empty() {
            reason = format!("{reason}; {}", doubts.join("; "));
        }
        Err(if unknown { Doubt::Unknown(reason) } else { Doubt::NotYet(reason) })
    }

    /// When the look was taken.
    pub fn at(&self) -> UnixMillis {
        self.at
    }

    /// The proven copies.
    pub fn copies(&self) -> &[CopyProof] {
        &self.copies
    }

    /// Where a copy was proven at the first look and is not now: lost, or not decidable.
    pub fn missing_since(&self, first: &FirstLook) -> Option<KeepReason> {
        let rse = first.rses.iter().find(|rse| !self.copies.iter().any(|copy| copy.rse == **rse))?.clone();
        Some(if self.undecided { KeepReason::Undecided { rse } } else { KeepReason::Regressed { rse } })
    }

    /// What a later look is held against.
    pub fn as_first_look(&self) -> FirstLook {
        FirstLook { at: self.at, rses: self.copies.iter().map(|copy| copy.rse.clone()).collect() }
    }

    fn sites(&self) -> usize {
        self.copies.iter().map(CopyProof::site).collect::<BTreeSet<_>>().len()
    }
}

/// The earlier look, as remembered: a time and a list, no proof of anything by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstLook {
    /// When it was taken.
    pub at: UnixMillis,
    /// Where copies were proven then.
    pub rses: Vec<String>,
}

/// Why an on-site copy must stay although there is evidence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeepReason {
    /// The looks are too close together.
    #[error("the two looks are {apart:?} apart, {hold:?} are required")]
    TooSoon {
        /// Between the looks.
        apart: Duration,
        /// Configured.
        hold: Duration,
    },
    /// The evidence is not fresh any more.
    #[error("the last look is {age:?} old, at most {limit:?} is fresh")]
    Stale {
        /// Since the last look.
        age: Duration,
        /// Limit.
        limit: Duration,
    },
    /// A copy proven at the first look is not proven now.
    #[error("the copy at {rse} was proven at the first look and is not now")]
    Regressed {
        /// The RSE.
        rse: String,
    },
    /// A copy proven at the first look cannot be asked about now.
    #[error("the copy at {rse} was proven at the first look and cannot be asked about now")]
    Undecided {
        /// The RSE.
        rse: String,
    },
    /// The on-site file is not the one that was verified.
    #[error("the on-site file is not the one that was verified: {was:?} then, {is:?} now")]
    Changed {
        /// As verified.
        was: FileIdentity,
        /// As found.
        is: FileIdentity,
    },
    /// Too few sites. [`Evidence`] cannot be made like that with the same requirement; the requirement may have grown.
    #[error("{sites} sites hold a proven copy, {required} are required")]
    TooFewSites {
        /// With a proof.
        sites: usize,
        /// Configured.
        required: u32,
    },
}

/// The permission to give up one on-site copy. Built right before it is used, never stored, never copied.
#[derive(Debug, Serialize)]
pub struct ReleaseOrder {
    first_look: FirstLook,
    evidence: Evidence,
    on_site: FileIdentity,
}

impl ReleaseOrder {
    /// How old the last look may be when the order is built.
    pub const FRESH: Duration = Duration::from_mins(5);

    /// Builds the order, or says why the copy must stay (invariant I2).
    pub fn new(
        first_look: FirstLook,
        evidence: Evidence,
        (verified, found): (FileIdentity, FileIdentity),
        required: Copies,
        hold: Duration,
        now: UnixMillis,
    ) -> Result<Self, KeepReason> {
        let since = |then: UnixMillis, now: UnixMillis| Duration::from_millis(u64::try_from(now - then).unwrap_or(0));
        let age = since(evidence.at, now);
        // a look from the future means a clock that was set back: not fresh either
        if age > Self::FRESH || evidence.at > now {
            return Err(KeepReason::Stale { age, limit: Self::FRESH });
        }
        let apart = since(first_look.at, evidence.at);
        if apart < hold {
            return Err(KeepReason::TooSoon { apart, hold });
        }
        if let Some(missing) = evidence.missing_since(&first_look) {
            return Err(missing);
        }
        let sites = evidence.sites();
        if sites < required.get() as usize {
            return Err(KeepReason::TooFewSites { sites, required: required.get() });
        }
        if verified != found {
            return Err(KeepReason::Changed { was: verified, is: found });
        }
        Ok(Self { first_look, evidence, on_site: found })
    }

    /// The evidence the order rests on.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDENTITY: FileIdentity = FileIdentity { bytes: 10, mtime_ns: 1, inode: 7 };

    fn contents() -> Contents {
        Contents { bytes: 10, adler32: "0000abcd".to_owned(), crc32c: "12345678".to_owned(), blake3: "b".repeat(64) }
    }

    fn copy(rse: &str, site: &str) -> CopyFacts {
        CopyFacts {
            rse: rse.to_owned(),
            site: Some(site.to_owned()),
            availability: Availability::Available,
            catalogue_bytes: 10,
            catalogue_adler32: Some("0000abcd".to_owned()),
            locks: vec![LockFacts { rule: "r".to_owned(), ours: true, ok: true, expires: false }],
            storage: StorageAnswer::Stated { bytes: 10, digest: Some(("crc32c", "12345678".to_owned())) },
        }
    }

    fn judge(facts: &CopyFacts) -> Result<CopyProof, Doubt> {
        CopyProof::from_facts(facts, &contents(), StoragePolicy::Required)
    }

    fn evidence(at: UnixMillis, copies: &[(&str, &str)]) -> Result<Evidence, Doubt> {
        let judged = copies.iter().map(|(rse, site)| judge(&copy(rse, site))).collect();
        Evidence::assemble(at, judged, Copies::MIN)
    }

    fn order(
        first: UnixMillis,
        last: UnixMillis,
        now: UnixMillis,
        found: FileIdentity,
    ) -> Result<ReleaseOrder, KeepReason> {
        let sites = [("A", "a"), ("B", "b")];
        let first = evidence(first, &sites).unwrap().as_first_look();
        let hold = Duration::from_secs(10);
        ReleaseOrder::new(first, evidence(last, &sites).unwrap(), (IDENTITY, found), Copies::MIN, hold, now)
    }

    #[test]
    fn each_missing_part_leaves_a_copy_unproven() {
        type Spoil = fn(&mut CopyFacts);
        let spoil: [(&str, Spoil); 12] = [
            ("unavailable", |c| c.availability = Availability::Not("COPYING")),
            ("out of reach", |c| c.availability = Availability::OutOfReach),
            ("no site", |c| c.site = None),
            ("catalogue size", |c| c.catalogue_bytes = 11),
            ("catalogue checksum", |c| c.catalogue_adler32 = Some("deadbeef".to_owned())),
            ("no catalogue checksum", |c| c.catalogue_adler32 = None),
            ("no lock", |c| c.locks.clear()),
            ("a stranger's lock", |c| c.locks[0].ours = false),
            ("lock not OK", |c| c.locks[0].ok = false),
            ("rule expires", |c| c.locks[0].expires = true),
            ("storage silent", |c| c.storage = StorageAnswer::Silent("down".to_owned())),
            ("storage size", |c| c.storage = StorageAnswer::Stated { bytes: 9, digest: None }),
        ];
        assert!(judge(&copy("A", "a")).is_ok());
        for (what, spoil) in spoil {
            let mut facts = copy("A", "a");
            spoil(&mut facts);
            assert!(judge(&facts).is_err(), "{what}");
        }
    }

    #[test]
    fn a_lying_storage_is_a_contradiction_whatever_the_policy_that_asks_it() {
        let mut facts = copy("A", "a");
        facts.storage = StorageAnswer::Stated { bytes: 10, digest: Some(("crc32c", "ffffffff".to_owned())) };
        for policy in [StoragePolicy::Required, StoragePolicy::Preferred] {
            let judged = CopyProof::from_facts(&facts, &contents(), policy);
            assert!(matches!(judged, Err(Doubt::Contradiction(_))));
        }
    }

    #[test]
    fn two_copies_at_one_site_are_one() {
        assert!(evidence(0, &[("A", "a"), ("B", "b")]).is_ok());
        assert!(matches!(evidence(0, &[("A", "a"), ("B", "a")]), Err(Doubt::NotYet(_))));
        assert!(matches!(evidence(0, &[]), Err(Doubt::NotYet(_))));
    }

    #[test]
    fn one_contradiction_spoils_the_look() {
        let mut bad = copy("C", "c");
        bad.storage = StorageAnswer::Missing;
        let judged = vec![judge(&copy("A", "a")), judge(&copy("B", "b")), judge(&bad)];
        assert!(matches!(Evidence::assemble(0, judged, Copies::MIN), Err(Doubt::Contradiction(_))));
    }

    #[test]
    fn an_order_needs_two_looks_apart_a_fresh_one_and_the_same_file() {
        assert!(order(0, 10_000, 10_500, IDENTITY).is_ok());
        assert!(matches!(order(0, 9_999, 10_500, IDENTITY), Err(KeepReason::TooSoon { .. })));
        assert!(matches!(order(0, 10_000, 400_000, IDENTITY), Err(KeepReason::Stale { .. })));
        assert!(matches!(order(0, 10_000, 9_000, IDENTITY), Err(KeepReason::Stale { .. })));
        let other = FileIdentity { inode: 8, ..IDENTITY };
        assert!(matches!(order(0, 10_000, 10_500, other), Err(KeepReason::Changed { .. })));
    }

    #[test]
    fn a_copy_that_was_proven_and_is_not_now_keeps_the_file() {
        let first = FirstLook { at: 0, rses: vec!["A".to_owned(), "C".to_owned()] };
        let now = evidence(20_000, &[("A", "a"), ("B", "b")]).unwrap();
        let order = ReleaseOrder::new(first, now, (IDENTITY, IDENTITY), Copies::MIN, Duration::ZERO, 20_000);
        assert_eq!(order.err(), Some(KeepReason::Regressed { rse: "C".to_owned() }));
    }

    proptest! {
        #[test]
        fn no_order_without_two_sites_at_the_required_distance(
            sites in proptest::collection::vec(0u8..3, 0..4),
            first in 0i64..100_000, last in 0i64..100_000, now in 0i64..600_000, hold in 0u64..60,
        ) {
            let named: Vec<(String, String)> = sites.iter().enumerate().map(|(i, s)| (format!("R{i}"), format!("s{s}"))).collect();
            let copies: Vec<(&str, &str)> = named.iter().map(|(r, s)| (r.as_str(), s.as_str())).collect();
            let distinct: BTreeSet<u8> = sites.iter().copied().collect();
            match evidence(last, &copies) {
                Err(_) => prop_assert!(distinct.len() < 2),
                Ok(found) => {
                    prop_assert!(distinct.len() >= 2);
                    let first_look = FirstLook { at: first, rses: found.as_first_look().rses };
                    let hold = Duration::from_secs(hold);
                    let order = ReleaseOrder::new(first_look, found, (IDENTITY, IDENTITY), Copies::MIN, hold, now);
                    if order.is_ok() {
                        prop_assert!(now >= last && now - last <= 300_000);
                        prop_assert!(u128::try_from(last - first).unwrap_or(0) >= hold.as_millis());
                    }
                }
            }
        }
    }
}
