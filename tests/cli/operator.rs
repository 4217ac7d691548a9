//! The commands with which operators keep files, let them go, and look at what stops releases.
use std::time::Duration;

use crate::testkit::command::{Offline, say};
use dl0_ingest::custody::brakes::Limits;
use dl0_ingest::custody::{Contents, FileIdentity, HoldCode, State};
use dl0_ingest::ledger::{Delivery, EndOfRule, IntentOutcome, Ledger, Operator, Registration, Sentence, Verified};
use dl0_ingest::names::Lfn;
use insta::assert_snapshot;

const WAITING: &str = "/ctao/acada/dl0/LSTN-01/events/2026/01/01/waiting.fits.fz";
const HELD: &str = "/ctao/acada/dl0/LSTN-01/events/2026/01/01/held.fits.fz";
const BAD: &str = "/ctao/acada/dl0/LSTN-01/events/2026/01/01/bad.fits.fz";
const DATASET: &str = "acada:/ctao/acada/dl0/LSTN-01/events/2026/01/01";

/// A site with one file verified, one held for a contradiction, one rejected. Its daemon keeps the lock.
async fn site() -> (Offline, Ledger) {
    let site = Offline::new();
    let ledger = Ledger::open(&site.directory.path().join("state/ledger.db")).await.unwrap();
    let deliveries = [WAITING, HELD, BAD].map(|lfn| Delivery {
        lfn: Lfn::try_from(lfn).unwrap(),
        identity: FileIdentity { bytes: 1000, mtime_ns: 1, inode: 1 },
        seen_at: 0,
    });
    ledger.deliver(&deliveries).await.unwrap();
    let claim = ledger.claim(State::Discovered, 10).await.unwrap();
    let row = |lfn: &str| claim.rows.iter().find(|row| row.lfn == lfn).unwrap().clone();
    let contents =
        Contents { bytes: 1000, adler32: "0".repeat(8), crc32c: "0".repeat(8), blake3: "0".repeat(64), md5: None };
    let verified = [WAITING, HELD].map(|lfn| Verified {
        row: row(lfn),
        contents: contents.clone(),
        metadata: "{}".to_owned(),
        valid_fits_checksum: None,
    });
    ledger.verified(&verified).await.unwrap();
    let held = ledger.by_lfn(HELD).await.unwrap().unwrap();
    ledger.hold(&held, HoldCode::Changed, "a symlink took its place").await.unwrap();
    let reason = "the file is empty".to_owned();
    let sentence = Sentence { code: "empty".to_owned(), reason, invalid_path: "ctao/acada/invalid/bad".to_owned() };
    ledger.rejecting(&row(BAD), &sentence).await.unwrap();
    ledger.rejected(&row(BAD)).await.unwrap();
    (site, ledger)
}

/// What a command says, with the user made equal.
fn told(site: &Offline, arguments: &[&str]) -> String {
    let told = site.told(arguments);
    let Some(at) = told.find("(uid ") else { return told };
    let user = told[..at].trim_end().rfind([' ', '\n', '"']).map_or(0, |start| start + 1);
    let name = told[user..=at + told[at..].find(')').unwrap()].to_owned();
    told.replace(&name, "[user]")
}

#[tokio::test]
async fn the_breaker_is_told_and_reset() {
    let (site, ledger) = site().await;
    assert_snapshot!(told(&site, &["breaker"]), @"
    code: 1
    --- out
    open: nothing is released
      since  [moment], for [age]
      file  /ctao/acada/dl0/LSTN-01/events/2026/01/01/held.fits.fz
      code  changed
      reason  a symlink took its place

    You can
      look at the file: dl0-ingest show --config DIR/dl0-ingest.yaml /ctao/acada/dl0/LSTN-01/events/2026/01/01/held.fits.fz
      then let releases go on: dl0-ingest breaker --config DIR/dl0-ingest.yaml reset --reason TEXT
    --- err
    ");
    let json = say(&["breaker", "--json", "--config", site.config.to_str().unwrap()]).json().remove(0);
    assert_eq!((&json["open"], &json["code"], &json["lfn"]), (&true.into(), &"changed".into(), &HELD.into()));
    assert!(json["since"].as_str().unwrap().ends_with('Z'), "{json}");
    let reset = [&["breaker", "reset"][..], &["--reason", "a planned change of the storage"]].concat();
    assert_snapshot!(told(&site, &reset), @"
    code: 0
    --- out
    reset; it was open since [moment]: a symlink took its place
    --- err
    ");
    assert_snapshot!(told(&site, &reset), @"
    code: 0
    --- out
    it was not open
    --- err
    ");
    assert_snapshot!(told(&site, &["breaker"]), @"
    code: 0
    --- out
    closed: releases are not stopped
    --- err
    ");
    assert_eq!(ledger.breaker().await.unwrap(), None);
    // without a reason nothing is reset
    assert!(told(&site, &["breaker", "reset"]).starts_with("code: 2"));
    ledger.close().await;
}

#[tokio::test]
async fn holds_are_placed_shown_and_lifted_beside_the_daemon() {
    let (site, ledger) = site().await;
    let reason = ["--reason", "compared by hand"];
    assert_snapshot!(told(&site, &[&["hold", WAITING, DATASET], &reason[..]].concat()), @"
    code: 0
    --- out
    /ctao/acada/dl0/LSTN-01/events/2026/01/01/waiting.fits.fz: held, the on-site copies stay until release-hold
    dataset acada:/ctao/acada/dl0/LSTN-01/events/2026/01/01: held, the on-site copies stay until release-hold
    --- err
    ");
    assert_snapshot!(told(&site, &["status"]), @"
    code: 0
    --- out
    STATE  FILES  SIZE  OLDEST FOR
    discovered  0  -  -
    verified  1  1.0 kB  [age]
    registered  0  -  -
    replicated  0  -  -
    confirmed  0  -  -
    releasing  0  -  -
    released  0  -  -
    rejected  1  1.0 kB  [age]
    held  1  1.0 kB  [age]

    daemon  running; how it stands is not known: http.listen is null
    ledger  [id]
    deletion  dry-run, the log says what would be deleted
    stopped  by the release breaker since [moment], see dl0-ingest breaker --config DIR/dl0-ingest.yaml: a symlink took its place
    held  dataset acada:/ctao/acada/dl0/LSTN-01/events/2026/01/01 by [user] since [moment]: compared by hand
    held  /ctao/acada/dl0/LSTN-01/events/2026/01/01/waiting.fits.fz by [user] since [moment]: compared by hand
    --- err
    ");
    assert_snapshot!(told(&site, &["why", WAITING]), @"
    code: 0
    --- out
    /ctao/acada/dl0/LSTN-01/events/2026/01/01/waiting.fits.fz
      It is sound and waits to be registered in Rucio.
      [user] holds dataset acada:/ctao/acada/dl0/LSTN-01/events/2026/01/01 since [moment]: compared by hand. The on-site copy stays.
      It stands there since [moment], for [age].

    Next
      It is registered with size, checksum and metadata, and protected; then its trigger goes.

    You can
      see whether the daemon runs and Rucio answers: dl0-ingest status --config DIR/dl0-ingest.yaml, or its page over HTTP
      see its history: dl0-ingest show --config DIR/dl0-ingest.yaml /ctao/acada/dl0/LSTN-01/events/2026/01/01/waiting.fits.fz
    --- err
    ");
    assert_snapshot!(told(&site, &["list", "--held-by-operator"]), @"
    code: 0
    --- out
    STATE  FOR  SIZE  REASON  FILE
    verified  [age]  1.0 kB  -  /ctao/acada/dl0/LSTN-01/events/2026/01/01/waiting.fits.fz
    held  [age]  1.0 kB  changed  /ctao/acada/dl0/LSTN-01/events/2026/01/01/held.fits.fz
    --- err
    ");
    assert_snapshot!(told(&site, &[&["release-hold", DATASET, "--all"], &reason[..]].concat()), @"
    code: 2
    --- out
    --- err
    error: the argument '[LFN|PATH|DATASET]...' cannot be used with '--all'

    Usage: dl0-ingest release-hold --reason <TEXT> --config <FILE> <LFN|PATH|DATASET>...

    For more information, try '--help'.
    ");
    assert_snapshot!(told(&site, &[&["release-hold", DATASET, HELD], &reason[..]].concat()), @"
    code: 1
    --- out
    dataset acada:/ctao/acada/dl0/LSTN-01/events/2026/01/01: the hold is lifted
    /ctao/acada/dl0/LSTN-01/events/2026/01/01/held.fits.fz: there is no hold on exactly that, see dl0-ingest status --config DIR/dl0-ingest.yaml
    --- err
    ");
    // nothing is held if one of the names is wrong
    assert_snapshot!(told(&site, &[&["hold", HELD, "acada:/ctao/acada/dl0/NOWHERE"], &reason[..]].concat()), @"
    code: 1
    --- out
    --- err
    dl0-ingest: no file of a dataset acada:/ctao/acada/dl0/NOWHERE is on record
    ");
    let holds: Vec<String> = ledger.holds().await.unwrap().iter().map(|hold| hold.target.to_string()).collect();
    assert_eq!(holds, [WAITING]);
    assert_snapshot!(told(&site, &["show", WAITING]), @"
    code: 0
    --- out
    /ctao/acada/dl0/LSTN-01/events/2026/01/01/waiting.fits.fz
      state  verified, since [moment]
      delivered  [moment]
      size  1.0 kB (1000 bytes)
      adler32  00000000
      crc32c  00000000
      blake3  0000000000000000000000000000000000000000000000000000000000000000

    events
      [moment]  discovered
      [moment]  verified
      [moment]  hold-placed: [user]: compared by hand
    --- err
    ");
    ledger.close().await;
}

#[tokio::test]
async fn a_hold_on_a_file_that_is_being_released_does_not_promise_to_be_in_time() {
    let (site, ledger) = site().await;
    let row = async || ledger.by_lfn(WAITING).await.unwrap().unwrap();
    let registration = Registration { row: row().await, on_site_rule: "c".to_owned() };
    ledger.registered(&[registration], Duration::ZERO).await.unwrap();
    ledger.replicated(&[(row().await, "STORAGE-2".to_owned(), "b".to_owned())]).await.unwrap();
    ledger.confirmed(&row().await, "{}").await.unwrap();
    let operator = Operator { who: "ada (uid 1000)".to_owned(), reason: "the link was a mistake".to_owned() };
    ledger.reset_breaker(&operator).await.unwrap();
    assert_eq!(ledger.releasing(&row().await, "{}", 0, Limits::NONE).await.unwrap(), IntentOutcome::Written);
    let hold = ["hold", WAITING, "--reason", "compared by hand"];
    assert_snapshot!(told(&site, &hold), @"
    code: 1
    --- out
    /ctao/acada/dl0/LSTN-01/events/2026/01/01/waiting.fits.fz: held, the on-site copies stay until release-hold
      perhaps too late for 1 file on the way out just now: dl0-ingest list --config DIR/dl0-ingest.yaml --state releasing
    --- err
    ");
    ledger.release_ordered(&row().await, EndOfRule::Answered).await.unwrap();
    assert_snapshot!(told(&site, &hold), @"
    code: 1
    --- out
    /ctao/acada/dl0/LSTN-01/events/2026/01/01/waiting.fits.fz: held, the on-site copies stay until release-hold
      too late for 1 file, whose release is ordered already
    --- err
    ");
    ledger.close().await;
}

#[tokio::test]
async fn retry_moves_what_is_held_hastens_what_waits_and_refuses_the_rest() {
    let (site, ledger) = site().await;
    let retry = ["retry", HELD, WAITING, BAD, "--reason", "the link was a mistake"];
    assert_snapshot!(told(&site, &retry), @"
    code: 1
    --- out
    /ctao/acada/dl0/LSTN-01/events/2026/01/01/held.fits.fz: goes on as verified; everything from there is proven anew
    /ctao/acada/dl0/LSTN-01/events/2026/01/01/waiting.fits.fz: was not held; it is looked at now
    /ctao/acada/dl0/LSTN-01/events/2026/01/01/bad.fits.fz: is rejected, there is nothing to try again
    --- err
    ");
    let row = ledger.by_lfn(HELD).await.unwrap().unwrap();
    assert_eq!((row.state, row.reason_code, row.held_from), (State::Verified, None, None));
    let unknown = told(&site, &["retry", "/ctao/acada/dl0/nowhere.fits.fz", "--reason", "x"]);
    assert!(unknown.starts_with("code: 1"), "{unknown}");
    ledger.close().await;
}

#[test]
fn a_ledger_of_another_version_is_not_written_to() {
    let site = Offline::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let path = site.directory.path().join("state/ledger.db");
        Ledger::open(&path).await.unwrap().close().await;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::query("DELETE FROM _sqlx_migrations WHERE version > 1").execute(&mut connection).await.unwrap();
        sqlx::Connection::close(connection).await.unwrap();
    });
    assert_snapshot!(site.told(&["hold", "--all", "--reason", "x"]), @"
    code: 3
    --- out
    --- err
    dl0-ingest: the ledger DIR/state/ledger.db has schema 1, this dl0-ingest needs 12; start the daemon of this version first
    ");
}
