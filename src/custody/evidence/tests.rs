#![allow(clippy::unwrap_used)]

use super::*;
use crate::custody::KeepReason;

fn contents() -> Contents {
    Contents {
        bytes: 10,
        adler32: "0000abcd".to_owned(),
        crc32c: "12345678".to_owned(),
        blake3: "b".repeat(64),
        md5: None,
    }
}

fn copy(rse: &str, site: &str) -> CopyFacts {
    CopyFacts {
        rse: rse.to_owned(),
        site: Some(site.to_owned()),
        availability: Availability::Available,
        catalogue_bytes: 10,
        catalogue_adler32: Some("0000abcd".to_owned()),
        locks: vec![LockFacts {
            rule: "r".to_owned(),
            ours: true,
            ok: true,
            expires: false,
            suspended: false,
            carrier: Carrier::Stays,
        }],
        storage: StorageAnswer::Stated { bytes: 10, digest: Some(("crc32c", "12345678".to_owned())) },
    }
}

fn ends() -> Carrier {
    Carrier::Ends { did: "acada:d".to_owned(), at: "Sun, 22 Nov 2026 12:00:13 UTC".to_owned() }
}

fn unknown() -> Carrier {
    Carrier::Unknown { did: "acada:d".to_owned() }
}

fn prove(facts: &CopyFacts) -> Result<CopyProof, Doubt> {
    CopyProof::from_facts(facts, &contents(), StoragePolicy::Required)
}

pub(in crate::custody) fn evidence(at: UnixMillis, copies: &[(&str, &str)]) -> Result<Evidence, Doubt> {
    let judged = copies.iter().map(|(rse, site)| prove(&copy(rse, site))).collect();
    Evidence::assemble(at, judged, Copies::MIN)
}

#[test]
fn each_missing_part_leaves_a_copy_unproven() {
    type Spoil = fn(&mut CopyFacts);
    let spoil: [(&str, Spoil); 14] = [
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
        ("its dataset ends", |c| c.locks[0].carrier = ends()),
        ("whether its dataset ends is not known", |c| c.locks[0].carrier = unknown()),
        ("storage silent", |c| c.storage = StorageAnswer::Silent("down".to_owned())),
        ("storage size", |c| c.storage = StorageAnswer::Stated { bytes: 9, digest: None }),
    ];
    assert!(prove(&copy("A", "a")).is_ok());
    for (what, spoil) in spoil {
        let mut facts = copy("A", "a");
        spoil(&mut facts);
        assert!(prove(&facts).is_err(), "{what}");
    }
}

#[test]
fn what_carries_the_rule_must_stay_and_until_that_is_known_the_copy_is_neither_proven_nor_lost() {
    for carrier in [ends(), unknown()] {
        let mut facts = copy("A", "a");
        facts.locks[0].carrier = carrier;
        assert!(matches!(prove(&facts), Err(Doubt::Unknown(_))));
        // another rule, on what stays, holds the copy as well
        facts.locks.push(copy("A", "a").locks.remove(0));
        assert!(prove(&facts).is_ok());
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

/// XRootD issue 1218: `Content-Length: 0` with the digest of the file.
#[test]
fn another_size_with_the_right_digest_is_an_unknown_whatever_the_policy_that_asks() {
    let mut facts = copy("A", "a");
    facts.storage = StorageAnswer::Stated { bytes: 0, digest: Some(("crc32c", "12345678".to_owned())) };
    for policy in [StoragePolicy::Required, StoragePolicy::Preferred] {
        let judged = CopyProof::from_facts(&facts, &contents(), policy);
        assert!(matches!(judged, Err(Doubt::Unknown(_))), "{judged:?}");
    }
}

#[test]
fn an_md5_is_a_proof_if_it_was_computed_on_site_and_a_contradiction_if_it_differs() {
    let mut facts = copy("A", "a");
    facts.storage = StorageAnswer::Stated { bytes: 10, digest: Some(("md5", "c".repeat(32))) };
    let judged = |md5: Option<&str>| {
        let contents = Contents { md5: md5.map(|digit| digit.repeat(32)), ..contents() };
        CopyProof::from_facts(&facts, &contents, StoragePolicy::Required)
    };
    assert_eq!(judged(Some("c")).unwrap().storage_digest, Some(("md5", "c".repeat(32))));
    assert!(matches!(judged(Some("d")), Err(Doubt::Contradiction(_))));
    assert!(matches!(judged(None), Err(Doubt::Unknown(_))));
}

#[test]
fn two_copies_at_one_site_are_one() {
    assert!(evidence(0, &[("A", "a"), ("B", "b")]).is_ok());
    let proven = |judged: Result<Evidence, Doubt>| match judged {
        Err(Doubt::TooFew { proven, .. }) => proven,
        other => panic!("{other:?}"),
    };
    assert_eq!(proven(evidence(0, &[("A", "a"), ("B", "a")])), ["A", "B"]);
    assert!(proven(evidence(0, &[])).is_empty());
}

#[test]
fn what_was_written_down_tells_how_many_sites_it_proves() {
    let look = serde_json::json!(evidence(0, &[("A", "a"), ("B", "b"), ("C", "b")]).unwrap());
    assert_eq!(sites_on_record(&look.to_string()), 2);
    let order = serde_json::json!({ "first_look": { "at": 0, "rses": [] }, "evidence": look, "on_site": {} });
    assert_eq!(sites_on_record(&order.to_string()), 2);
    let one = serde_json::json!({ "at": 0, "copies": [look["copies"][0]], "undecided": false });
    assert_eq!(sites_on_record(&one.to_string()), 1);
    assert_eq!(sites_on_record("{}"), 0);
    assert_eq!(sites_on_record(""), 0);
}

#[test]
fn one_contradiction_spoils_the_look() {
    let mut bad = copy("C", "c");
    bad.storage = StorageAnswer::Missing;
    let judged = vec![prove(&copy("A", "a")), prove(&copy("B", "b")), prove(&bad)];
    assert!(matches!(Evidence::assemble(0, judged, Copies::MIN), Err(Doubt::Contradiction(_))));
}

#[test]
fn a_first_look_counts_where_data_centres_are_still() {
    let first = FirstLook { at: 0, rses: vec!["A".to_owned(), "B".to_owned()], copies: Vec::new() };
    let proven = ["B".to_owned()];
    assert_eq!(first.lost(&proven, &[]), Some("A"));
    assert_eq!(first.lost(&proven, &["A".to_owned()]), None);
    let decided = first.among(|rse| rse != "A");
    assert_eq!(decided.lost(&proven, &[]), None);
    assert_eq!(decided.lost(&[], &[]), Some("B"));
}

#[test]
fn a_right_copy_that_no_rule_of_ours_holds_is_neither_proof_nor_loss() {
    let first = evidence(0, &[("A", "a"), ("B", "b")]).unwrap().as_first_look();
    let mut unheld = copy("B", "b");
    unheld.locks.clear();
    let look = |further: Vec<Result<CopyProof, Doubt>>| {
        let judged = [prove(&copy("A", "a"))].into_iter().chain(further).collect();
        Evidence::assemble(1, judged, Copies::MIN)
    };
    let doubt = look(vec![prove(&unheld)]).unwrap_err();
    assert!(matches!(&doubt, Doubt::TooFew { unheld, .. } if unheld == &["B"]), "{doubt:?}");
    assert!(!doubt.has_lost(&first));
    // with enough other copies it keeps the file as well
    let waits = look(vec![prove(&unheld), prove(&copy("C", "c"))]).unwrap();
    assert!(matches!(waits.stands_since(&first, Copies::MIN), Err(KeepReason::Undecided { rse }) if rse == "B"));
    // a wrong one is a contradiction whoever holds it
    unheld.storage = StorageAnswer::Missing;
    assert!(matches!(look(vec![prove(&unheld)]), Err(Doubt::Contradiction(_))));
    // what is gone is lost
    assert!(look(Vec::new()).unwrap_err().has_lost(&first));
    let gone = look(vec![prove(&copy("C", "c"))]).unwrap();
    assert!(matches!(gone.stands_since(&first, Copies::MIN), Err(KeepReason::Regressed { rse }) if rse == "B"));
}
