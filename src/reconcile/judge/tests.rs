//! One thing wrong at a time, and what is said of it.

use super::*;
use crate::ledger::Proven;

const YARDSTICK: Yardstick = Yardstick { now: 1_000_000, min_age: 60_000 };
const OLD: UnixMillis = 0;
const YOUNG: UnixMillis = 999_999;
const DELIVERED: FileIdentity = FileIdentity { bytes: 10, mtime_ns: 1, inode: 2 };

type Change = fn(&mut Facts);
type Broken = (Code, Option<&'static str>);

fn file(identity: FileIdentity) -> OnDisk {
    OnDisk::File(identity, OLD)
}

/// A name that nobody knows.
fn nobody() -> Facts {
    Facts { lfn: "/ctao/acada/a".to_owned(), ..Facts::default() }
}

fn replica() -> Replica {
    Replica { state: ReplicaState::Available, bytes: 10, adler32: Some(0xabcd.into()) }
}

/// A file on its road, as it looks in this state.
fn on_its_road(state: State) -> Facts {
    let row = OnRecord {
        lfn: nobody().lfn,
        state,
        state_since: OLD,
        delivery: 1,
        bytes: DELIVERED.bytes,
        mtime_ns: DELIVERED.mtime_ns,
        inode: DELIVERED.inode.cast_signed(),
        adler32: Some("0000abcd".to_owned()),
        blake3: None,
        on_site_rule: None,
        release_ordered_at: None,
        invalid_path: None,
        proven: Proven(None),
        redelivered: false,
    };
    let mut facts = Facts { disk: Some(file(DELIVERED)), row: Some(row), ..nobody() };
    match state {
        State::Discovered | State::Verified => facts.trigger = Some(OLD),
        State::Registered | State::Replicated | State::Confirmed => {
            (facts.replica, facts.protection) = (Some(replica()), Some(Protection::Holds));
        }
        State::Releasing => {
            let leaving = Replica { state: ReplicaState::BeingDeleted, ..replica() };
            (facts.replica, facts.protection) = (Some(leaving), Some(Protection::Ended));
            ours(&mut facts).proven = Proven(Some(2));
        }
        State::Released => {
            facts.disk = None;
            facts.off_site = Some(off_site(2));
            ours(&mut facts).proven = Proven(Some(2));
        }
        State::Rejected => {
            facts.disk = None;
            ours(&mut facts).invalid_path = Some("ctao/acada/invalid/a".to_owned());
        }
        State::Held => {}
    }
    facts
}

fn off_site(sites: u32) -> OffSite {
    OffSite { bytes: 10, adler32: Some(0xabcd.into()), sites }
}

#[allow(clippy::expect_used)]
fn ours(facts: &mut Facts) -> &mut OnRecord {
    facts.row.as_mut().expect("a file with a row")
}

fn on_disk(facts: &mut Facts, change: fn(&mut FileIdentity)) {
    let mut found = DELIVERED;
    change(&mut found);
    facts.disk = Some(file(found));
}

fn rucios(facts: &mut Facts, change: fn(&mut Replica)) {
    let mut theirs = replica();
    change(&mut theirs);
    facts.replica = Some(theirs);
}

/// Codes, invariants and repairs of the findings.
fn found(facts: &Facts) -> Vec<(Code, Option<&'static str>, Option<Repair>)> {
    let told = |finding: Finding| {
        assert_eq!(finding.file, facts.lfn);
        assert_eq!(finding.state, facts.row.as_ref().map(|row| row.state));
        (finding.code, finding.invariant, finding.repair)
    };
    findings_about(facts, YARDSTICK).into_iter().map(told).collect()
}

/// States in which the file is registered and to stay.
const KEPT: [State; 3] = [State::Registered, State::Replicated, State::Confirmed];

#[test]
fn a_file_on_its_road_gives_nothing() {
    for state in State::ALL {
        assert_eq!(found(&on_its_road(state)), [], "{state}");
    }
    let also: [(&str, State, Change); 16] = [
        ("being written, before its trigger", State::Held, |f| {
            (f.row, f.disk) = (None, Some(OnDisk::File(DELIVERED, YOUNG)));
        }),
        ("announced and not seen yet", State::Held, |f| (f.row, f.trigger) = (None, Some(YOUNG))),
        ("announced before it is there", State::Held, |f| (f.row, f.disk, f.trigger) = (None, None, Some(YOUNG))),
        ("registered in Rucio, and not in the ledger yet", State::Verified, |f| f.replica = Some(replica())),
        ("overwritten before it is verified", State::Discovered, |f| on_disk(f, |found| found.bytes = 11)),
        ("sentenced, on its way to invalid/", State::Discovered, |f| {
            ours(f).invalid_path = Some("ctao/acada/invalid/a".to_owned());
            (f.disk, f.trigger) = (None, None);
        }),
        ("registered a moment ago, with its trigger", State::Registered, |f| {
            ours(f).state_since = YOUNG;
            f.trigger = Some(OLD);
        }),
        ("delivered again a moment ago", State::Confirmed, |f| f.trigger = Some(YOUNG)),
        ("delivered again with other content", State::Confirmed, |f| {
            on_disk(f, |found| found.bytes = 11);
            f.trigger = Some(OLD);
        }),
        ("being compared with its second delivery", State::Confirmed, |f| {
            on_disk(f, |found| found.inode = 3);
            ours(f).redelivered = true;
        }),
        ("gone from disk, and not yet in Rucio", State::Releasing, |f| f.disk = None),
        ("released and delivered again", State::Released, |f| (f.disk, f.trigger) = (Some(file(DELIVERED)), Some(OLD))),
        ("released and just left behind", State::Released, |f| f.disk = Some(OnDisk::File(DELIVERED, YOUNG))),
        ("released, and its copies not asked for", State::Released, |f| f.off_site = None),
        ("held after its release was ordered", State::Held, |f| {
            ours(f).release_ordered_at = Some(OLD);
            f.disk = None;
        }),
        ("a replacement of a rejected one", State::Rejected, |f| {
            (f.disk, f.trigger) = (Some(file(DELIVERED)), Some(OLD));
        }),
    ];
    for (what, state, change) in also {
        let mut facts = on_its_road(state);
        change(&mut facts);
        assert_eq!(found(&facts), [], "{what}");
    }
}

#[test]
fn what_is_wrong_with_a_registered_file_is_named() {
    let wrong: [(Change, &[Code]); 11] = [
        (|f| f.disk = None, &[Code::Missing]),
        (|f| f.disk = Some(OnDisk::Special), &[Code::Changed]),
        (|f| on_disk(f, |found| found.inode = 3), &[Code::Changed]),
        (|f| on_disk(f, |found| found.mtime_ns = 3), &[Code::Changed]),
        (|f| on_disk(f, |found| found.bytes = 11), &[Code::WrongSize]),
        (|f| f.replica = None, &[Code::Unregistered]),
        (|f| rucios(f, |replica| replica.state = ReplicaState::BeingDeleted), &[Code::ReplicaState]),
        (|f| rucios(f, |replica| replica.bytes = 11), &[Code::WrongSize]),
        (|f| rucios(f, |replica| replica.adler32 = Some(0.into())), &[Code::WrongChecksum]),
        (|f| f.protection = Some(Protection::Ended), &[Code::Unprotected]),
        (|f| (f.disk, f.replica) = (None, None), &[Code::Missing, Code::Unregistered]),
    ];
    for state in KEPT {
        for (number, (change, expected)) in wrong.iter().enumerate() {
            let mut facts = on_its_road(state);
            change(&mut facts);
            let codes: Vec<Code> = found(&facts).into_iter().map(|(code, ..)| code).collect();
            assert_eq!(codes, *expected, "{state}, change {number}");
        }
    }
}

#[test]
fn a_replica_in_any_state_but_available_is_told() {
    for state in [
        ReplicaState::Unavailable,
        ReplicaState::Copying,
        ReplicaState::BeingDeleted,
        ReplicaState::Bad,
        ReplicaState::TemporaryUnavailable,
        ReplicaState::Unknown,
    ] {
        let facts = Facts { replica: Some(Replica { state, ..replica() }), ..on_its_road(State::Confirmed) };
        assert_eq!(found(&facts), [(Code::ReplicaState, None, None)], "{state:?}");
    }
}

#[test]
fn what_is_wrong_before_and_after_that_is_named_too() {
    let wrong: [(State, Change, &[Broken]); 15] = [
        (State::Discovered, |f| f.disk = None, &[(Code::Missing, Some("I3"))]),
        (State::Verified, |f| f.trigger = None, &[(Code::Unannounced, Some("I1"))]),
        // a file that is gone has worse troubles than its trigger
        (State::Verified, |f| (f.disk, f.trigger) = (None, None), &[(Code::Missing, Some("I3"))]),
        (State::Releasing, |f| ours(f).proven = Proven(None), &[(Code::BrokenInvariant, Some("I5"))]),
        (State::Releasing, |f| ours(f).proven = Proven(Some(1)), &[(Code::TooFewCopies, Some("I2"))]),
        (State::Released, |f| ours(f).proven = Proven(None), &[(Code::BrokenInvariant, Some("I5"))]),
        (State::Released, |f| ours(f).proven = Proven(Some(0)), &[(Code::TooFewCopies, Some("I2"))]),
        (State::Released, |f| f.off_site = Some(off_site(1)), &[(Code::TooFewCopies, Some("I2"))]),
        (State::Released, |f| f.disk = Some(file(DELIVERED)), &[(Code::LeftOnSite, None)]),
        (State::Released, |f| f.replica = Some(replica()), &[(Code::Orphan, None)]),
        (State::Rejected, |f| f.disk = Some(file(DELIVERED)), &[(Code::Dark, None)]),
        (State::Rejected, |f| f.replica = Some(replica()), &[(Code::Orphan, None)]),
        (
            State::Rejected,
            |f| (f.disk, f.replica) = (Some(file(DELIVERED)), Some(replica())),
            &[(Code::Dark, None), (Code::Orphan, None)],
        ),
        (State::Held, |f| f.disk = None, &[(Code::Missing, Some("I3"))]),
        (
            State::Held,
            |f| {
                ours(f).proven = Proven(Some(1));
                f.disk = None;
            },
            &[(Code::Missing, Some("I3"))],
        ),
    ];
    for (number, (state, change, expected)) in wrong.into_iter().enumerate() {
        let mut facts = on_its_road(state);
        change(&mut facts);
        let told: Vec<_> = found(&facts).into_iter().map(|(code, invariant, _)| (code, invariant)).collect();
        assert_eq!(told, expected, "{state}, change {number}");
    }
}

#[test]
fn what_lies_under_the_name_of_a_released_file_is_told_from_the_file_itself() {
    let other = FileIdentity { inode: 3, ..DELIVERED };
    for (found, words) in [(DELIVERED, ", the one that was verified"), (other, ", not the one that was verified")] {
        let facts = Facts { disk: Some(file(found)), ..on_its_road(State::Released) };
        let left =
            findings_about(&facts, YARDSTICK).into_iter().find(|finding| finding.code == Code::LeftOnSite).unwrap();
        assert!(left.message.ends_with(words), "{left:?}");
        assert!(left.remedy().contains("before anybody removes it"));
    }
}

/// What `--repair` takes into custody must be unknown to the ledger.
#[test]
fn what_to_do_about_an_orphan_depends_on_what_became_of_the_file() {
    let orphan = |state: Option<State>| {
        let facts = match state {
            Some(state) => Facts { replica: Some(replica()), ..on_its_road(state) },
            None => Facts { replica: Some(replica()), disk: Some(file(DELIVERED)), ..Facts::default() },
        };
        let mut found = findings_about(&facts, YARDSTICK);
        found.retain(|finding| finding.code == Code::Orphan);
        (found[0].remedy(), found[0].repair)
    };
    assert!(matches!(orphan(None), (remedy, Some(Repair::Restore)) if remedy.contains("--repair")));
    for (state, words) in [(State::Released, "dl0-ingest why"), (State::Rejected, "set aside as bad")] {
        let (remedy, repair) = orphan(Some(state));
        assert!(remedy.contains(words) && !remedy.contains("--repair") && repair.is_none(), "{state}: {remedy}");
    }
}

#[test]
fn copies_of_another_content_are_no_copies() {
    for spoil in [(|copies| copies.bytes = 11) as fn(&mut OffSite), |copies| copies.adler32 = None] {
        let mut facts = on_its_road(State::Released);
        spoil(facts.off_site.get_or_insert_default());
        assert_eq!(found(&facts), [(Code::TooFewCopies, Some("I2"), None)]);
    }
}

#[test]
fn what_the_ledger_does_not_know_is_dark_or_somebody_elses() {
    let small = Replica { bytes: 9, ..replica() };
    let leaving = Replica { state: ReplicaState::BeingDeleted, ..replica() };
    let bad = Replica { state: ReplicaState::Bad, ..replica() };
    let cases = [
        (Some(file(DELIVERED)), None, Some((Code::Dark, Some(Repair::MakeTrigger)))),
        (Some(file(DELIVERED)), Some(replica()), Some((Code::Orphan, Some(Repair::Restore)))),
        (Some(file(DELIVERED)), Some(small), Some((Code::Orphan, None))),
        (Some(file(DELIVERED)), Some(bad), Some((Code::Orphan, None))),
        // what Rucio is deleting must not begin its road anew
        (Some(file(DELIVERED)), Some(leaving.clone()), Some((Code::Dark, None))),
        (None, Some(replica()), Some((Code::Missing, None))),
        (Some(OnDisk::Special), Some(replica()), Some((Code::Missing, None))),
        (None, Some(leaving), None),
        (Some(OnDisk::Special), None, None),
    ];
    for (disk, replica, expected) in cases {
        let facts = Facts { disk, replica, ..nobody() };
        let told: Vec<_> = found(&facts).into_iter().map(|(code, _, repair)| (code, repair)).collect();
        assert_eq!(told, Vec::from_iter(expected), "{facts:?}");
    }
}

#[test]
fn what_rucio_is_deleting_is_not_said_to_be_unknown_to_it() {
    let leaving = Replica { state: ReplicaState::BeingDeleted, ..replica() };
    for (replica, words) in [(None, "neither the ledger nor Rucio knows it"), (Some(leaving), "Rucio is deleting it")] {
        let facts = Facts { disk: Some(file(DELIVERED)), replica, ..nobody() };
        let told = findings_about(&facts, YARDSTICK);
        assert!(told.iter().all(|finding| finding.message.contains(words)) && told.len() == 1, "{told:?}");
    }
}

#[test]
fn a_forgotten_trigger_goes_only_from_a_file_that_is_all_right() {
    let forgotten = || Facts { trigger: Some(OLD), ..on_its_road(State::Confirmed) };
    let code = Code::ForgottenTrigger;
    assert_eq!(found(&forgotten()), [(code, None, Some(Repair::RemoveTrigger))]);
    let unknown = Facts { protection: None, ..forgotten() };
    assert_eq!(found(&unknown), [(code, None, None)]);
    let unregistered = Facts { replica: None, ..forgotten() };
    assert_eq!(found(&unregistered), [(Code::Unregistered, None, None), (code, None, None)]);
    let unprotected = Facts { protection: Some(Protection::Ended), ..forgotten() };
    assert_eq!(found(&unprotected), [(code, None, None), (Code::Unprotected, Some("I5"), None)]);
    let released = Facts { trigger: Some(OLD), ..on_its_road(State::Released) };
    assert_eq!(found(&released), [(code, None, Some(Repair::RemoveTrigger))]);
    for disk in [Some(file(DELIVERED)), None] {
        let taken_by_nobody = Facts { trigger: Some(OLD), disk, ..nobody() };
        assert_eq!(found(&taken_by_nobody), [(code, None, None)], "{disk:?}");
    }
}
