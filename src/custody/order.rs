//! The order to give up an on-site copy: fresh evidence on top of an older first look, or the reason to keep it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use super::copies::Copies;
use super::evidence::{CopyProof, Evidence, FirstLook};
use super::identity::FileIdentity;
use super::time::UnixMillis;

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
    /// A copy proven at the first look cannot be asked about now, or lies there and is held by no rule of ours.
    #[error(
        "the copy at {rse} was proven at the first look; now it cannot be asked about, or no rule of ours holds it"
    )]
    Undecided {
        /// The RSE.
        rse: String,
    },
    /// The on-site file is not the one that was verified.
    #[error("the on-site file is not the one that was verified")]
    Changed,
    /// Too few sites. [`Evidence`] cannot be made like that with the same requirement; the requirement may have grown.
    #[error("{sites} sites hold a proven copy, {required} are required")]
    TooFewSites {
        /// With a proof.
        sites: usize,
        /// Configured.
        required: u32,
    },
    /// There are proofs at enough sites, and at too few of them there was one at the first look as well: the requirement has
    /// grown since, or the site of an RSE is another one now.
    #[error("only {sites} of {required} sites have a copy that was proven at the first look too")]
    SeenOnce {
        /// With a proof in both looks.
        sites: usize,
        /// Configured.
        required: u32,
    },
}

impl Evidence {
    /// Where a copy was proven at the first look and is not now: lost, or not decidable.
    pub fn missing_since(&self, first: &FirstLook) -> Option<KeepReason> {
        let missing = first.rses.iter().filter(|rse| !self.copies().iter().any(|copy| copy.rse() == *rse));
        let (undecided, lost): (Vec<&String>, Vec<&String>) = missing.partition(|rse| self.is_undecided_at(rse));
        let regressed = lost.first().map(|rse| KeepReason::Regressed { rse: (*rse).clone() });
        regressed.or_else(|| undecided.first().map(|rse| KeepReason::Undecided { rse: (*rse).clone() }))
    }

    /// Whether everything proven at the first look is proven still, and that at enough sites.
    pub fn stands_since(&self, first: &FirstLook, required: Copies) -> Result<(), KeepReason> {
        if let Some(missing) = self.missing_since(first) {
            return Err(missing);
        }
        let (enough, sites) = (required.get() as usize, self.sites());
        if sites < enough {
            return Err(KeepReason::TooFewSites { sites, required: required.get() });
        }
        let seen_twice = self.copies().iter().filter(|copy| first.rses.iter().any(|rse| rse == copy.rse()));
        let sites = seen_twice.map(CopyProof::site).collect::<BTreeSet<_>>().len();
        if sites < enough { Err(KeepReason::SeenOnce { sites, required: required.get() }) } else { Ok(()) }
    }

    /// Whether it is young enough to be acted upon: asked when the order is built, and again right before the effect.
    pub fn is_fresh(&self, now: UnixMillis) -> Result<(), KeepReason> {
        is_fresh(self.at(), now)
    }
}

/// Whether what was asked at a moment may still be acted upon.
pub fn is_fresh(asked_at: UnixMillis, now: UnixMillis) -> Result<(), KeepReason> {
    let (age, limit) = (since(asked_at, now), ReleaseOrder::FRESH);
    // an answer from the future is not fresh either
    if age > limit || asked_at > now { Err(KeepReason::Stale { age, limit }) } else { Ok(()) }
}

fn since(then: UnixMillis, now: UnixMillis) -> Duration {
    Duration::from_millis(u64::try_from(now - then).unwrap_or(0))
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
        evidence.is_fresh(now)?;
        let apart = since(first_look.at, evidence.at());
        if apart < hold {
            return Err(KeepReason::TooSoon { apart, hold });
        }
        evidence.stands_since(&first_look, required)?;
        if verified != found {
            return Err(KeepReason::Changed);
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

    use super::super::State;
    use super::super::evidence::tests::evidence;
    use super::super::invariants::{DecisionOnRecord, on_site_copy_may_go};
    use super::*;

    const IDENTITY: FileIdentity = FileIdentity { bytes: 10, mtime_ns: 1, inode: 7 };

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
    fn an_order_needs_two_looks_apart_a_fresh_one_and_the_same_file() {
        assert!(order(0, 10_000, 10_500, IDENTITY).is_ok());
        assert!(matches!(order(0, 9_999, 10_500, IDENTITY), Err(KeepReason::TooSoon { .. })));
        assert!(matches!(order(0, 10_000, 400_000, IDENTITY), Err(KeepReason::Stale { .. })));
        assert!(matches!(order(0, 10_000, 9_000, IDENTITY), Err(KeepReason::Stale { .. })));
        let other = FileIdentity { inode: 8, ..IDENTITY };
        assert!(matches!(order(0, 10_000, 10_500, other), Err(KeepReason::Changed)));
    }

    #[test]
    fn a_copy_that_was_proven_and_is_not_now_keeps_the_file() {
        let first = FirstLook { at: 0, rses: vec!["A".to_owned(), "C".to_owned()], copies: Vec::new() };
        let now = evidence(20_000, &[("A", "a"), ("B", "b")]).unwrap();
        let order = ReleaseOrder::new(first, now, (IDENTITY, IDENTITY), Copies::MIN, Duration::ZERO, 20_000);
        assert_eq!(order.err(), Some(KeepReason::Regressed { rse: "C".to_owned() }));
    }

    #[test]
    fn a_copy_that_only_the_last_look_has_seen_makes_no_site() {
        let copies = |number| Copies::try_from(number).unwrap();
        let first = evidence(0, &[("A", "a"), ("B", "b")]).unwrap().as_first_look();
        let order = |last: &[(&str, &str)], required| {
            let last = evidence(20_000, last).unwrap();
            let order = ReleaseOrder::new(first.clone(), last, (IDENTITY, IDENTITY), required, Duration::ZERO, 20_000);
            order.err()
        };
        let three = [("A", "a"), ("B", "b"), ("C", "c")];
        assert_eq!(order(&three, copies(2)), None);
        assert_eq!(order(&three, copies(3)), Some(KeepReason::SeenOnce { sites: 2, required: 3 }));
        // what were two sites then is one now
        let moved = [("A", "a"), ("B", "a"), ("C", "c")];
        assert_eq!(order(&moved, copies(2)), Some(KeepReason::SeenOnce { sites: 1, required: 2 }));
        assert_eq!(order(&three[..2], copies(3)), Some(KeepReason::TooFewSites { sites: 2, required: 3 }));
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
                    let first_look = FirstLook { at: first, ..found.as_first_look() };
                    let hold = Duration::from_secs(hold);
                    let order = ReleaseOrder::new(first_look, found, (IDENTITY, IDENTITY), Copies::MIN, hold, now);
                    if let Ok(order) = order {
                        let on_record = serde_json::to_string(&order).unwrap();
                        let lawful = |on_site: &str, state| {
                            let decision = DecisionOnRecord { state, evidence: Some(&on_record), invalid_path: None };
                            on_site_copy_may_go(&decision, order.evidence(), on_site, Copies::MIN)
                        };
                        prop_assert!(lawful("ON-SITE", State::Confirmed).is_ok());
                        prop_assert!(lawful("ON-SITE", State::Registered).is_err());
                        prop_assert!(lawful("R0", State::Confirmed).is_err(), "the on-site storage vouches for itself");
                        prop_assert!(now >= last && now - last <= 300_000);
                        prop_assert!(u128::try_from(last - first).unwrap_or(0) >= hold.as_millis());
                    }
                }
            }
        }
    }
}
