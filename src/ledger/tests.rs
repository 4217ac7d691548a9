#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::custody::brakes::{Brake, HOUR, Limits, MINUTE, Target, Trip};
use crate::custody::invariants::{StateAndAttempts, outage_is_nobodys_fault};
use crate::custody::{Contents, FileIdentity, UnderItsName};
use crate::names::{Did, Lfn};

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
async fn a_move_that_the_road_does_not_have_is_refused() {
    let (_directory, ledger) = ledger().await;
    let row = register(&ledger).await;
    assert!(matches!(ledger.releasing(&row, "{}", 0, Limits::NONE).await, Err(Error::Illegal(_))));
    assert!(matches!(ledger.released(&row).await, Err(Error::Illegal(_))));
    assert_eq!(ledger.by_lfn(FILE).await.unwrap().unwrap().state, State::Registered);
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
    assert!(ledger.hold(&row, "code", "because").await.unwrap());
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
    assert!(ledger.hold(&row, "operator", "looked odd").await.unwrap());
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
async fn a_release_that_was_stopped_before_its_effect_and_an_identical_delivery_do_not_wait_for_each_other() {
    let (_directory, ledger) = ledger().await;
    let row = register(&ledger).await;
    ledger.replicated(&[(row, "STORAGE-2".to_owned(), "b".to_owned())]).await.unwrap();
    let row = claim_one(&ledger, State::Replicated).await;
    ledger.confirmed(&row, "{}").await.unwrap();
    let row = claim_one(&ledger, State::Confirmed).await;
    ledger.releasing(&row, "{}", now(), Limits::NONE).await.unwrap();
    assert_eq!(deliver(&ledger, FILE, 2).await, Delivered::Again);
    let redelivery = ledger.redeliveries(1).await.unwrap().remove(0);
    assert!(ledger.redelivery_identical(&redelivery).await.unwrap());
    let row = ledger.by_lfn(FILE).await.unwrap().unwrap();
    assert_eq!((row.state, row.identity().inode), (State::Releasing, 2));
    // once the on-site rule has ended, the old copy goes first
    ledger.release_ordered(&row, EndOfRule::Answered).await.unwrap();
    deliver(&ledger, FILE, 3).await;
    let redelivery = ledger.redeliveries(1).await.unwrap().remove(0);
    assert!(!ledger.redelivery_identical(&redelivery).await.unwrap());
}

/// Brings the file as far as Confirmed.
async fn confirm(ledger: &Ledger) -> FileRow {
    let row = register(ledger).await;
    ledger.replicated(&[(row, "A".to_owned(), "b".to_owned())]).await.unwrap();
    let row = ledger.by_lfn(FILE).await.unwrap().unwrap();
    assert!(ledger.confirmed(&row, "{}").await.unwrap());
    ledger.by_lfn(FILE).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_release_that_is_being_carried_out_is_hastened_by_a_restart_alone() {
    let (directory, first) = ledger().await;
    let row = confirm(&first).await;
    let intent = first.releasing(&row, "{}", now() + 600_000, Limits::NONE).await.unwrap();
    assert_eq!(intent, IntentOutcome::Written);
    assert_eq!(first.hasten(State::Releasing).await.unwrap(), 0);
    assert!(first.claim(State::Releasing, 1).await.unwrap().rows.is_empty());
    // nor by an operator who lifts a brake, or is impatient
    let releasing = first.by_lfn(FILE).await.unwrap().unwrap();
    first.trip("evidence", "of another file", None).await.unwrap();
    first.reset_breaker(&operator()).await.unwrap();
    first.place_hold(&Target::All, &operator()).await.unwrap();
    assert!(first.lift_hold(&Target::All, &operator()).await.unwrap());
    assert_eq!(first.retry(&releasing, &operator(), UnderItsName::Nothing).await.unwrap(), Retried::UnderWay);
    assert!(first.claim(State::Releasing, 1).await.unwrap().rows.is_empty());
    // whoever carried it out has given up for now
    let wait = Postpone { id: row.id, delay: Duration::from_hours(1), waits_for: "Rucio".to_owned(), failed: false };
    first.postpone(&[wait]).await.unwrap();
    assert_eq!(first.hasten(State::Releasing).await.unwrap(), 1);
    assert_eq!(first.claim(State::Releasing, 1).await.unwrap().rows.len(), 1);
    let due = sqlx::query("UPDATE files SET waits_for = NULL, next_attempt = $1").bind(now() + 600_000);
    due.execute(&first.writer).await.unwrap();
    first.close().await;
    drop(first);
    let again = Ledger::open(&directory.path().join("ledger.db")).await.unwrap();
    assert_eq!(again.claim(State::Releasing, 1).await.unwrap().rows.len(), 1);
    // told twice, it counts once
    for _ in 0..2 {
        again.release_ordered(&row, EndOfRule::Answered).await.unwrap();
    }
    assert_eq!(again.brakes(None, false).await.unwrap().spent.files, 1);
}

#[tokio::test]
async fn a_rule_that_is_replaced_is_told_only_of_the_delivery_that_it_was_placed_for() {
    let (_directory, ledger) = ledger().await;
    let row = register(&ledger).await;
    let old = FileRow { delivery: row.delivery - 1, ..row.clone() };
    ledger.set_further_copies_rule(&old, "new-b", "STORAGE-2").await.unwrap();
    ledger.set_on_site_rule(&old, "new-c").await.unwrap();
    let now = ledger.by_lfn(FILE).await.unwrap().unwrap();
    assert_eq!((&now.further_copies_rule, &now.on_site_rule), (&row.further_copies_rule, &row.on_site_rule));
    let replaced = async || {
        let events = ledger.events(&row).await.unwrap();
        events.iter().filter(|event| event.kind.ends_with("-replaced")).count()
    };
    assert_eq!(replaced().await, 0);
    ledger.set_further_copies_rule(&now, "new-b", "STORAGE-2").await.unwrap();
    ledger.set_on_site_rule(&now, "new-c").await.unwrap();
    assert_eq!(replaced().await, 2);
}

#[tokio::test]
async fn an_order_that_is_void_leaves_a_release_that_is_decided_and_not_announced() {
    let (_directory, ledger) = ledger().await;
    let row = confirm(&ledger).await;
    assert_eq!(ledger.releasing(&row, "{}", now(), Limits::NONE).await.unwrap(), IntentOutcome::Written);
    let row = ledger.by_lfn(FILE).await.unwrap().unwrap();
    assert!(!ledger.release_order_void(&row, None, "not ordered").await.unwrap());
    for (end, rule) in [(EndOfRule::Found, None), (EndOfRule::Answered, Some("another"))] {
        ledger.audited(1, "hash", Some(&row)).await.unwrap();
        ledger.release_ordered(&row, end).await.unwrap();
        assert_eq!(ledger.how_it_ended(&row).await.unwrap(), end);
        let before = ledger.by_lfn(FILE).await.unwrap().unwrap();
        assert!(ledger.release_order_void(&row, rule, "nobody deletes it").await.unwrap());
        let after = ledger.by_lfn(FILE).await.unwrap().unwrap();
        assert_eq!((after.state, after.release_ordered_at, after.release_announced_at), (State::Releasing, None, None));
        assert_eq!(after.on_site_rule, rule.map(str::to_owned).or(before.on_site_rule));
        assert_eq!(after.waits_for.as_deref(), Some("nobody deletes it"));
    }
}

fn operator() -> Operator {
    Operator { who: "ada (uid 1000)".to_owned(), reason: "for a test".to_owned() }
}

#[tokio::test]
async fn an_intent_sees_every_brake_that_an_operator_or_a_contradiction_has_put_on() {
    let (directory, ledger) = ledger().await;
    let row = confirm(&ledger).await;
    let intent = async |limits| ledger.releasing(&row, "{}", 0, limits).await.unwrap();
    let beside = Ledger::open_for_operator(&directory.path().join("ledger.db")).await.unwrap();
    let dataset = Target::Dataset(row.dataset_did().to_string());
    for target in [Target::All, dataset, Target::File(FILE.to_owned())] {
        beside.place_hold(&target, &operator()).await.unwrap();
        assert!(matches!(intent(Limits::NONE).await, IntentOutcome::Braked(Brake::Hold { .. })), "{target}");
        assert!(beside.lift_hold(&target, &operator()).await.unwrap());
    }
    beside.place_hold(&Target::File("/ctao/acada/dl0/other".to_owned()), &operator()).await.unwrap();
    ledger.trip("evidence", "first", Some(FILE)).await.unwrap();
    for reason in ["second", "the same once more"] {
        ledger.trip("evidence", reason, None).await.unwrap();
        ledger.trip("evidence", reason, Some(FILE)).await.unwrap();
    }
    assert_eq!(intent(Limits::NONE).await, IntentOutcome::Braked(Brake::Breaker("first".to_owned())));
    let further = |trips: Vec<Trip>| trips.into_iter().map(|trip| (trip.reason, trip.lfn)).collect::<Vec<_>>();
    let second = [("second".to_owned(), None)];
    assert_eq!(further(beside.further_contradictions().await.unwrap()), second);
    let (trip, since) = beside.reset_breaker(&operator()).await.unwrap().unwrap();
    assert_eq!((trip.reason.as_str(), further(since).as_slice()), ("first", second.as_slice()));
    assert_eq!(beside.reset_breaker(&operator()).await.unwrap(), None);
    assert_eq!(beside.further_contradictions().await.unwrap(), []);
    assert!(matches!(intent(Limits { files: 0, ..Limits::NONE }).await, IntentOutcome::Braked(Brake::Spent { .. })));
    assert_eq!(ledger.by_lfn(FILE).await.unwrap().unwrap().state, State::Confirmed);
    assert_eq!(intent(Limits::NONE).await, IntentOutcome::Written);
    assert_eq!(intent(Limits::NONE).await, IntentOutcome::Moved);
    // a hold that comes now may be too late, and later certainly is
    let hold = async || beside.place_hold(&Target::All, &operator()).await.unwrap();
    assert_eq!(hold().await, TooLate { perhaps: 1, ..TooLate::default() });
    // decided counts before it is carried out, and once when it is
    assert_eq!(ledger.brakes(None, true).await.unwrap().spent.files, 1);
    assert_eq!(ledger.brakes(None, false).await.unwrap().spent.files, 0);
    ledger.release_ordered(&row, EndOfRule::Answered).await.unwrap();
    assert_eq!(hold().await, TooLate { ordered: 1, ..TooLate::default() });
    for intents in [true, false] {
        let spent = ledger.brakes(None, intents).await.unwrap().spent;
        assert_eq!((spent.files, spent.bytes), (1, 10));
    }
    // an hour counts whole minutes, none too few
    for (minutes, files) in [(60, 1), (62, 0)] {
        let minute = (now() / MINUTE - minutes) * MINUTE;
        sqlx::query("UPDATE releases SET minute = $1").bind(minute).execute(&ledger.writer).await.unwrap();
        assert_eq!(ledger.brakes(None, false).await.unwrap().spent.files, files, "{minutes} minutes ago");
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

#[tokio::test]
async fn releases_of_a_clock_that_was_ahead_count_for_one_hour() {
    let (_directory, ledger) = ledger().await;
    let this_minute = now() / MINUTE * MINUTE;
    for (minutes, files) in [(-1, 1), (0, 2), (60, 4), (1440, 8)] {
        sqlx::query("INSERT INTO releases (minute, files, bytes) VALUES ($1, $2, 10)")
            .bind(this_minute + minutes * MINUTE)
            .bind(files)
            .execute(&ledger.writer)
            .await
            .unwrap();
    }
    let latest =
        || async { sqlx::query_scalar::<_, i64>("SELECT MAX(minute) FROM releases").fetch_one(&ledger.writer).await };
    // the same clock as in the last run: nothing is known to be wrong
    ledger.take_over_clock().await.unwrap();
    assert_eq!(latest().await.unwrap(), this_minute + 1440 * MINUTE);
    sqlx::query("UPDATE clock SET booted_at = booted_at + 86400000").execute(&ledger.writer).await.unwrap();
    ledger.take_over_clock().await.unwrap();
    assert!(latest().await.unwrap() <= now() / MINUTE * MINUTE);
    let spent = ledger.brakes(None, false).await.unwrap().spent;
    assert_eq!((spent.files, spent.bytes), (15, 40));
}

#[tokio::test]
async fn datasets_are_watched_page_by_page_newest_first_and_none_twice() {
    let (_directory, ledger) = ledger().await;
    for n in 0..7 {
        let dataset = Did::new("acada", format!("/ctao/acada/dl0/{n}"));
        ledger.set_settled_rule(&dataset, "f00d").await.unwrap();
        // pairs that are known since the same moment
        sqlx::query("UPDATE collections SET known_at = $1 WHERE name = $2")
            .bind(n / 2)
            .bind(&dataset.name)
            .execute(&ledger.writer)
            .await
            .unwrap();
    }
    ledger.unsettled(&Did::new("acada", "/ctao/acada/dl0/without"), "no settled rule", Duration::ZERO).await.unwrap();
    let (mut names, mut last) = (Vec::new(), None);
    loop {
        let page = ledger.watched_datasets(last.as_ref(), 3).await.unwrap();
        names.extend(page.iter().map(|known| known.name.clone()));
        last = page.last().cloned();
        if page.len() < 3 {
            break;
        }
    }
    let newest_first: Vec<String> = (0..7).rev().map(|n| format!("/ctao/acada/dl0/{n}")).collect();
    assert_eq!(names, newest_first);
}

#[tokio::test]
async fn a_dataset_that_rucio_may_not_have_any_more_is_made_again_and_watched_as_before() {
    let (_directory, ledger) = ledger().await;
    let dataset = Did::new("acada", "/ctao/acada/dl0/a");
    let (one, made) = (BTreeSet::from([dataset.clone()]), [dataset.clone()]);
    ledger.collections_known(&made).await.unwrap();
    ledger.set_first_copy_rule(&dataset, "a").await.unwrap();
    ledger.set_settled_rule(&dataset, "5").await.unwrap();
    ledger.unheld(&dataset, "it is gone").await.unwrap();
    assert_eq!(ledger.unknown_collections(&one).await.unwrap(), []);
    ledger.collections_unknown(&one).await.unwrap();
    assert_eq!(ledger.unknown_collections(&one).await.unwrap(), made);
    ledger.collections_known(&made).await.unwrap();
    assert_eq!(ledger.unknown_collections(&one).await.unwrap(), []);
    let watched = ledger.watched_datasets(None, 9).await.unwrap().remove(0);
    assert_eq!((watched.did(), &watched.first_copy_rule, watched.settled_rule.as_deref()), (dataset, &None, Some("5")));
    assert_eq!(watched.unsettled.as_deref(), Some("it is gone"));
    assert!(watched.known_at > 0);
}

#[tokio::test]
async fn datasets_that_cannot_be_settled_keep_no_other_waiting() {
    let (_directory, ledger) = ledger().await;
    for name in ["a", "b", "c"] {
        ledger.set_settled_rule(&Did::new("acada", format!("/ctao/acada/dl0/{name}")), "5").await.unwrap();
    }
    let next = async || ledger.quiet_datasets(now(), 1).await.unwrap().remove(0);
    for name in ["a", "b", "c"] {
        let dataset = next().await;
        assert!(dataset.name.ends_with(name), "{dataset}");
        ledger.unsettled(&dataset, "it stays", Duration::ZERO).await.unwrap();
    }
}

#[tokio::test]
async fn a_contradiction_trips_the_breaker_and_another_reason_to_hold_does_not() {
    for (code, trips) in [("evidence", true), ("unknown-to-rucio", true), ("other-content", false)] {
        let (_directory, ledger) = ledger().await;
        let row = confirm(&ledger).await;
        assert!(ledger.hold(&row, code, "because").await.unwrap());
        assert_eq!(ledger.breaker().await.unwrap().is_some(), trips, "{code}");
    }
}
