//! The audit record of whole roads, and what happens without one.

use std::collections::BTreeSet;
use std::fs;

use dl0_ingest::audit_log::{self, Head};
use dl0_ingest::custody::State;
use dl0_ingest::ledger::Operator;
use dl0_ingest::names::Did;
use rucio_miniature::ReplicaState;
use serde_json::Value;

use crate::road::DELETION_ON;
use crate::testkit::fixture;
use crate::testkit::site::{Site, lfn};

fn records(site: &Site) -> Vec<Value> {
    let text = fs::read_to_string(site.state().join("audit.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Fails unless the whole log is proven, up to the last record the ledger knows of.
async fn prove(site: &Site) {
    let ledger = site.operator().await;
    let (seq, hash) = ledger.audit_head().await.unwrap().unwrap();
    ledger.close().await;
    let verified = audit_log::verify(&audit_log::files(&site.state()).unwrap(), Some(&Head { seq, hash })).unwrap();
    assert_eq!(verified.broken, None);
}

/// An operator has looked at the log, which stopped all releases.
async fn released_after_a_reset(site: &Site, file: &str) {
    let ledger = site.operator().await;
    let operator = Operator { who: "ada".to_owned(), reason: "a test of ours".to_owned() };
    assert_eq!(ledger.reset_breaker(&operator).await.unwrap().unwrap().0.code, "audit-record");
    ledger.close().await;
    site.until_state(file, State::Released).await;
}

/// Whoever resets the breaker because of something else must have seen it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_cut_while_the_breaker_is_open_is_told_too() {
    let site = Site::new(DELETION_ON).await;
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    site.until_state(&lfn, State::Released).await;
    daemon.stop().await;
    let ledger = site.operator().await;
    ledger.trip("evidence", "a copy differs", Some(&lfn)).await.unwrap();
    fs::write(site.state().join("audit.jsonl"), "").unwrap();
    let daemon = site.start();
    let begun = std::time::Instant::now();
    loop {
        let further = ledger.further_contradictions().await.unwrap();
        if let [other] = further.as_slice() {
            assert_eq!(other.code, "audit-record");
            assert!(other.reason.contains("records are missing at the end"), "{other:?}");
            break;
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "nothing is told: {further:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    daemon.stop().await;
    assert_eq!(ledger.breaker().await.unwrap().unwrap().code, "evidence");
    ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_release_and_every_rejection_is_on_record_with_what_justifies_it() {
    let site = Site::new(DELETION_ON).await;
    let daemon = site.start();
    let good: Vec<String> = (0..3).map(|n| site.deliver(&format!("{n}.fits.fz"), &fixture("SUBARRAY"))).collect();
    let bad = site.deliver("bad.fits.fz", b"no FITS file");
    for lfn in &good {
        site.until_state(lfn, State::Released).await;
    }
    site.until_state(&bad, State::Rejected).await;
    daemon.stop().await;
    prove(&site).await;
    let records = records(&site);
    for lfn in &good {
        let row = site.row(lfn).await.unwrap();
        let record = records.iter().find(|record| record["lfn"] == **lfn).unwrap();
        assert_eq!(record["effect"], "release");
        let copies = record["order"]["evidence"]["copies"].as_array().unwrap();
        let sites: BTreeSet<&str> = copies.iter().map(|copy| copy["site"].as_str().unwrap()).collect();
        assert!(sites.len() >= 2, "{record:#}");
        assert!(copies.iter().all(|copy| copy["storage_digest"].is_array()), "{record:#}");
        let contents = &record["contents"];
        assert_eq!(contents["blake3"].as_str(), row.blake3.as_deref());
        assert_eq!(record["rules"]["c"].as_str(), row.on_site_rule.as_deref());
        assert!(record["rules"]["a"].is_string() && record["rules"]["b"].is_string(), "{record:#}");
        assert_eq!(record["identity"]["inode"], row.identity().inode);
        assert_eq!(record["account"], "ingest");
    }
    let record = records.iter().find(|record| record["lfn"] == *bad).unwrap();
    assert_eq!(record["effect"], "set-aside");
    let moved_to = record["verdict"]["moved_to"].as_str().unwrap();
    assert!(site.data().join(moved_to).exists(), "{record:#}");
    assert!(record["verdict"]["findings"]["reasons"][0]["code"].is_string(), "{record:#}");
    assert_eq!(records.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_record_nothing_is_released_and_nothing_set_aside() {
    let site = Site::new(DELETION_ON).await;
    let in_the_way = site.state().join("audit.jsonl");
    fs::create_dir(&in_the_way).unwrap();
    let daemon = site.start();
    let good = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    let bad = site.deliver("bad.fits.fz", b"no FITS file");
    let refused =
        |row: &dl0_ingest::ledger::FileRow| row.waits_for.as_ref().is_some_and(|w| w.contains("audit record"));
    let row = site.until_row(&good, refused).await;
    assert_eq!(row.release_ordered_at, None);
    assert_eq!(site.rucio.replicas(&Did::new("acada", &good)).get("STORAGE-1"), Some(&ReplicaState::Available));
    let row = site.until_row(&bad, refused).await;
    assert_eq!(row.state, State::Discovered);
    assert!(site.path("bad.fits.fz").exists() && site.has_trigger("bad.fits.fz"));
    // the release is decided and not carried out: brakes stop it still
    let switch = site.kill_switch();
    fs::write(&switch, "not before noon").unwrap();
    fs::remove_dir(&in_the_way).unwrap();
    let row = site
        .until_row(&good, |row| row.waits_for.as_ref().is_some_and(|waits_for| waits_for.contains("not before noon")))
        .await;
    assert_eq!((row.state, row.release_ordered_at), (State::Releasing, None));
    assert!(site.path("a.fits.fz").exists());
    fs::remove_file(&switch).unwrap();
    site.until_state(&good, State::Released).await;
    site.until_state(&bad, State::Rejected).await;
    daemon.stop().await;
    prove(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_changed_stops_releases_and_nothing_else() {
    let site = Site::new(DELETION_ON).await;
    let daemon = site.start();
    site.until_state(&site.deliver("a.fits.fz", &fixture("SUBARRAY")), State::Released).await;
    daemon.stop().await;
    let log = site.state().join("audit.jsonl");
    let mut changed = fs::read(&log).unwrap();
    changed[40] ^= 1;
    fs::write(&log, &changed).unwrap();
    let daemon = site.start();
    let good = site.deliver("b.fits.fz", &fixture("SUBARRAY"));
    let bad = site.deliver("bad.fits.fz", b"no FITS file");
    site.until_row(&good, |row| row.waits_for.as_ref().is_some_and(|w| w.contains("is not as it was written"))).await;
    site.until_state(&bad, State::Rejected).await;
    assert!(site.path("b.fits.fz").exists());
    released_after_a_reset(&site, &good).await;
    daemon.stop().await;
    prove(&site).await;
    let records = records(&site);
    assert_eq!((&records[0]["effect"], records[0]["seq"].as_u64()), (&Value::from("log-restarted"), Some(2)));
    let put_away = site.state().join(records[0]["continues"].as_str().unwrap());
    assert_eq!(fs::read(put_away).unwrap(), changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_removed_below_a_running_daemon_stops_releases() {
    let site = Site::new(DELETION_ON).await;
    let daemon = site.start();
    site.until_state(&site.deliver("a.fits.fz", &fixture("SUBARRAY")), State::Released).await;
    fs::remove_file(site.state().join("audit.jsonl")).unwrap();
    let good = site.deliver("b.fits.fz", &fixture("SUBARRAY"));
    let row = site
        .until_row(&good, |row| row.waits_for.as_ref().is_some_and(|w| w.contains("is not as it was written")))
        .await;
    assert_eq!(row.release_ordered_at, None);
    assert!(site.path("b.fits.fz").exists());
    released_after_a_reset(&site, &good).await;
    daemon.stop().await;
    prove(&site).await;
    let effects: Vec<Value> = records(&site).into_iter().map(|record| record["effect"].clone()).collect();
    assert_eq!(effects, ["log-restarted", "release"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_a_crash_cut_off_costs_nothing() {
    let site = Site::new(DELETION_ON).await;
    let daemon = site.start();
    site.until_state(&site.deliver("a.fits.fz", &fixture("SUBARRAY")), State::Released).await;
    daemon.stop().await;
    let log = site.state().join("audit.jsonl");
    let whole = fs::read(&log).unwrap();
    fs::write(&log, [&whole[..], &whole[..whole.len() / 2]].concat()).unwrap();
    let daemon = site.start();
    site.until_state(&site.deliver("b.fits.fz", &fixture("SUBARRAY")), State::Released).await;
    daemon.stop().await;
    prove(&site).await;
    let last = fs::read_to_string(&log).unwrap().lines().last().map(str::to_owned).unwrap();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!((&last["lfn"], last["seq"].as_u64()), (&Value::from(lfn("b.fits.fz")), Some(2)));
    assert!(last["torn"].is_string(), "{last:#}");
}
