#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::custody::brakes::{Brake, HOUR, Limits, MINUTE, Target, Trip};
use crate::custody::invariants::{StateAndAttempts, outage_is_nobodys_fault};
use crate::custody::{Contents, FileIdentity, HoldCode, State, UnderItsName};
use crate::names::{Did, Lfn};

mod decisions;
mod releases;
mod settling;
mod words;

const FILE: &str = "/ctao/acada/dl0/LST/a.fits.fz";

async fn ledger() -> (tempfile::TempDir, Ledger) {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&directory.path().join("ledger.db")).await.unwrap();
    (directory, ledger)
}

fn delivery(lfn: &str, inode: u64) -> Delivery {
    let identity = FileIdentity { bytes: 10, mtime_ns: 5, inode };
    Delivery { lfn: Lfn::try_from(lfn).unwrap(), identity, seen_at: now() }
}

async fn deliver(ledger: &Ledger, lfn: &str, inode: u64) -> Delivered {
    ledger.deliver(&[delivery(lfn, inode)]).await.unwrap()[0]
}

async fn claim_one(ledger: &Ledger, state: State) -> FileRow {
    ledger.claim(state, 1).await.unwrap().rows.remove(0)
}

fn contents() -> Contents {
    Contents { bytes: 10, adler32: "0".repeat(8), crc32c: "0".repeat(8), blake3: "0".repeat(64), md5: None }
}

/// Brings the file as far as Registered.
async fn register(ledger: &Ledger) -> FileRow {
    deliver(ledger, FILE, 1).await;
    let row = claim_one(ledger, State::Discovered).await;
    let verified = Verified { row, contents: contents(), metadata: "{}".to_owned(), valid_fits_checksum: Some(true) };
    assert_eq!(ledger.verified(&[verified]).await.unwrap(), 1);
    let row = claim_one(ledger, State::Verified).await;
    ledger.registered(&[Registration { row, on_site_rule: "c".to_owned() }], Duration::ZERO).await.unwrap();
    ledger.by_lfn(FILE).await.unwrap().unwrap()
}

/// Brings the file as far as Confirmed.
async fn confirm(ledger: &Ledger) -> FileRow {
    let row = register(ledger).await;
    ledger.replicated(&[(row, "A".to_owned(), "b".to_owned())]).await.unwrap();
    let row = ledger.by_lfn(FILE).await.unwrap().unwrap();
    assert!(ledger.confirmed(&row, "{}").await.unwrap());
    ledger.by_lfn(FILE).await.unwrap().unwrap()
}

fn operator() -> Operator {
    Operator { who: "ada (uid 1000)".to_owned(), reason: "for a test".to_owned() }
}

#[tokio::test]
async fn two_daemons_never_share_a_ledger() {
    let (directory, ledger) = ledger().await;
    let path = directory.path().join("ledger.db");
    assert!(matches!(Ledger::open(&path).await, Err(Error::InUse { .. })));
    // reading beside the daemon is fine
    Ledger::open_read_only(&path).await.unwrap().summary().await.unwrap();
    ledger.close().await;
    drop(ledger);
    Ledger::open(&path).await.unwrap();
}

#[tokio::test]
async fn a_file_is_claimed_once_and_again_after_a_restart() {
    let (directory, first) = ledger().await;
    deliver(&first, FILE, 1).await;
    let claim = first.claim(State::Discovered, 10).await.unwrap();
    assert_eq!(claim.rows.len(), 1);
    assert!(first.claim(State::Discovered, 10).await.unwrap().rows.is_empty());
    assert_eq!(first.give_back(&claim, Duration::ZERO).await.unwrap(), 1);
    assert_eq!(first.claim(State::Discovered, 10).await.unwrap().rows.len(), 1);
    first.close().await;
    drop(first);
    let again = Ledger::open(&directory.path().join("ledger.db")).await.unwrap();
    assert_eq!(again.claim(State::Discovered, 10).await.unwrap().rows.len(), 1);
}

#[tokio::test]
async fn a_claim_takes_the_dataset_of_the_file_that_waits_longest_first() {
    let (_directory, ledger) = ledger().await;
    // three datasets take turns, as telescopes do
    for number in 0..9 {
        deliver(&ledger, &format!("/ctao/acada/dl0/TEL{}/{number}.fits.fz", number % 3), number).await;
    }
    let mut claimed = Vec::new();
    for most in [3, 4, 9] {
        let rows = ledger.claim(State::Discovered, most).await.unwrap().rows;
        claimed.push(rows.iter().map(|row| row.inode).collect::<Vec<_>>());
    }
    assert_eq!(claimed, [vec![0, 3, 6], vec![1, 2, 4, 7], vec![5, 8]]);
}

#[tokio::test]
async fn a_first_look_at_a_file_delivered_anew_meanwhile_leaves_no_event() {
    let (_directory, ledger) = ledger().await;
    let row = register(&ledger).await;
    let late = FileRow { delivery: row.delivery - 1, ..row.clone() };
    ledger.looked(&late, "{}", now()).await.unwrap();
    assert!(ledger.events(&row).await.unwrap().iter().all(|event| event.kind != "first-look"));
}

#[tokio::test]
async fn work_on_a_file_that_was_delivered_anew_meanwhile_is_void() {
    let (_directory, ledger) = ledger().await;
    deliver(&ledger, FILE, 1).await;
    let row = claim_one(&ledger, State::Discovered).await;
    assert_eq!(deliver(&ledger, FILE, 2).await, Delivered::Changed);
    let verified = Verified { row, contents: contents(), metadata: "{}".to_owned(), valid_fits_checksum: None };
    assert_eq!(ledger.verified(&[verified]).await.unwrap(), 0);
    let row = ledger.by_lfn(FILE).await.unwrap().unwrap();
    assert_eq!((row.state, row.delivery, row.inode), (State::Discovered, 2, 2));
}

#[tokio::test]
async fn events_tell_every_move_and_cannot_be_changed() {
    let (_directory, ledger) = ledger().await;
    let row = register(&ledger).await;
    let kinds: Vec<String> = ledger.events(&row).await.unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["discovered", "verified", "registered"]);
    for change in ["UPDATE events SET kind = 'x'", "DELETE FROM events"] {
        assert!(sqlx::query(change).execute(&ledger.writer).await.is_err(), "{change}");
    }
}

#[tokio::test]
async fn a_second_delivery_of_a_registered_file_waits_to_be_compared() {
    let (_directory, ledger) = ledger().await;
    let row = register(&ledger).await;
    assert_eq!(deliver(&ledger, FILE, 1).await, Delivered::Leaving);
    ledger.triggers_gone(&[row.id]).await.unwrap();
    assert_eq!(deliver(&ledger, FILE, 7).await, Delivered::Again);
    let waiting = ledger.redeliveries(10).await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert!(ledger.redelivery_identical(&waiting[0]).await.unwrap());
    let row = ledger.by_lfn(FILE).await.unwrap().unwrap();
    assert_eq!((row.state, row.inode, row.trigger_pending), (State::Registered, 7, true));
    assert!(ledger.redeliveries(10).await.unwrap().is_empty());
    assert_eq!(ledger.triggers_to_remove(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_held_file_keeps_its_place_and_its_trigger() {
    let (_directory, ledger) = ledger().await;
    let row = register(&ledger).await;
    assert!(ledger.hold(&row, HoldCode::OtherContent, "because").await.unwrap());
    assert_eq!(deliver(&ledger, FILE, 9).await, Delivered::Held);
    let row = ledger.by_lfn(FILE).await.unwrap().unwrap();
    assert_eq!((row.state, row.held_from.as_deref(), row.inode), (State::Held, Some("registered"), 1));
    assert!(ledger.triggers_to_remove(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_file_is_claimed_once_however_long_its_work_takes() {
    let (_directory, ledger) = ledger().await;
    deliver(&ledger, FILE, 1).await;
    let claim = ledger.claim(State::Discovered, 1).await.unwrap();
    assert_eq!(claim.rows.len(), 1);
    // a night and a day later
    let ends = sqlx::query_scalar::<_, i64>("SELECT claimed_until FROM files").fetch_one(&ledger.writer).await.unwrap();
    assert!(ends > now() + 24 * HOUR);
    assert!(ledger.claim(State::Discovered, 1).await.unwrap().rows.is_empty());
    ledger.give_back(&claim, Duration::ZERO).await.unwrap();
    assert_eq!(ledger.claim(State::Discovered, 1).await.unwrap().rows.len(), 1);
}

#[tokio::test]
async fn an_outage_uses_up_no_attempts_and_a_failure_of_the_file_does() {
    let (_directory, ledger) = ledger().await;
    deliver(&ledger, FILE, 1).await;
    for (count, attempts) in [(false, 0), (true, 1)] {
        let claim = ledger.claim(State::Discovered, 1).await.unwrap();
        let files = [(claim.rows[0].id, Duration::ZERO)];
        ledger.failed(&claim, &files, "Rucio is away", count).await.unwrap();
        let row = ledger.by_lfn(FILE).await.unwrap().unwrap();
        assert_eq!((row.attempts, row.waits_for.as_deref()), (attempts, Some("Rucio is away")));
    }
}

#[tokio::test]
async fn a_wrong_trigger_is_news_once_until_it_changes() {
    let (_directory, ledger) = ledger().await;
    let mut wrong = WrongTrigger {
        path: "ctao/x.trigger".to_owned(),
        reason: "dangling".to_owned(),
        message: "…".to_owned(),
        signature: "1".to_owned(),
        since: now(),
    };
    assert!(ledger.wrong_trigger(&wrong).await.unwrap());
    assert!(!ledger.wrong_trigger(&wrong).await.unwrap());
    wrong.signature = "2".to_owned();
    assert!(ledger.wrong_trigger(&wrong).await.unwrap());
    assert!(ledger.trigger_mended(&wrong.path).await.unwrap());
    assert!(!ledger.trigger_mended(&wrong.path).await.unwrap());
}

#[tokio::test]
async fn a_ledger_that_cannot_be_used_says_where_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("missing/ledger.db");
    let error = Ledger::open(&nowhere).await.unwrap_err().to_string();
    assert!(error.contains("missing/ledger.lock") && error.contains("check that its directory exists"), "{error}");
    let error = Ledger::open_read_only(&nowhere).await.unwrap_err().to_string();
    assert!(error.contains("has the daemon ever run?"), "{error}");
    let broken = directory.path().join("ledger.db");
    std::fs::write(&broken, "this is no database, but it is long enough to be looked at as one").unwrap();
    std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(Ledger::open(&broken).await, Err(Error::Database { .. })));
}

#[tokio::test]
async fn what_somebody_else_has_decided_meanwhile_is_seen_right_before_an_effect() {
    let (_directory, ledger) = ledger().await;
    let row = register(&ledger).await;
    let on_record = ledger.unmoved(&row).await.unwrap().unwrap();
    assert_eq!((on_record.state, on_record.decision().evidence), (State::Registered, None));
    assert!(ledger.hold(&row, HoldCode::ReplicaState, "looked odd").await.unwrap());
    assert!(ledger.unmoved(&row).await.unwrap().is_none());
}

#[tokio::test]
async fn an_outage_costs_a_file_nothing_and_a_failure_of_its_own_an_attempt() {
    let (_directory, ledger) = ledger().await;
    deliver(&ledger, FILE, 1).await;
    let stands = |row: &FileRow| StateAndAttempts { state: row.state, attempts: row.attempts };
    for (outage, lawful) in [(true, true), (false, false)] {
        let before = stands(&ledger.by_lfn(FILE).await.unwrap().unwrap());
        let claim = ledger.claim(State::Discovered, 1).await.unwrap();
        let delays = [(claim.rows[0].id, Duration::ZERO)];
        ledger.failed(&claim, &delays, "no answer", !outage).await.unwrap();
        let after = stands(&ledger.by_lfn(FILE).await.unwrap().unwrap());
        assert_eq!(outage_is_nobodys_fault(before, after).is_ok(), lawful, "{before:?}, {after:?}");
    }
}

#[tokio::test]
async fn a_rejected_file_that_was_seen_before_it_was_moved_is_no_new_one_and_one_brought_back_is() {
    let (_directory, ledger) = ledger().await;
    deliver(&ledger, FILE, 1).await;
    let row = claim_one(&ledger, State::Discovered).await;
    let sentence =
        Sentence { code: "bad".to_owned(), reason: "bad".to_owned(), invalid_path: "ctao/acada/invalid/a".to_owned() };
    assert!(ledger.rejecting(&row, &sentence).await.unwrap());
    assert!(ledger.rejected(&row).await.unwrap());
    let rejected_at = ledger.by_lfn(FILE).await.unwrap().unwrap().state_since;
    for (seen_at, answer, state) in [
        (rejected_at - 1, Delivered::Leaving, State::Rejected),
        (rejected_at, Delivered::Leaving, State::Rejected),
        (rejected_at + 1, Delivered::Replaced, State::Discovered),
    ] {
        let seen = Delivery { seen_at, ..delivery(FILE, 1) };
        assert_eq!(ledger.deliver(&[seen]).await.unwrap(), [answer]);
        assert_eq!(ledger.by_lfn(FILE).await.unwrap().unwrap().state, state);
    }
}
