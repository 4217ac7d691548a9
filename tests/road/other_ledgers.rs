//! Two ledgers on one interface directory: neither touches what is the other's, and both say so.

use std::fs;
use std::os::unix::fs::symlink;

use dl0_ingest::custody::State;
use dl0_ingest::daemon;
use dl0_ingest::ledger::{Ledger, Operator, UNSIGNED};
use dl0_ingest::names::Did;
use rucio_miniature::Event;
use tokio_util::sync::CancellationToken;

use crate::road::{DELETION_ON, DRY_RUN};
use crate::testkit::in_process::{InProcess, confirmed_in_a_dry_run};
use crate::testkit::site::Site;

/// The configuration with another state directory, and so another ledger.
fn elsewhere(site: &Site) -> dl0_ingest::config::Config {
    let mut config = site.config();
    config.state_dir = site.root().join("another-state");
    config
}

/// The file is delivered to whoever looks.
fn trigger(site: &Site) {
    symlink("a.fits.fz", site.path("a.fits.fz.trigger")).unwrap();
}

async fn id_of(config: &dl0_ingest::config::Config) -> String {
    let ledger = Ledger::open_read_only(&config.ledger_path()).await.unwrap();
    let id = ledger.id().await.unwrap();
    ledger.close().await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ledger_on_one_directory_does_not_start_and_names_the_first() {
    let site = Site::new(DRY_RUN).await;
    confirmed_in_a_dry_run(&site, "a.fits.fz").await;
    let first = site.start();
    let second = CancellationToken::new();
    let refused = daemon::run(elsewhere(&site), None, second).await.unwrap_err();
    assert!(matches!(refused, daemon::Error::Taken(_)), "{refused}");
    let words = refused.to_string();
    assert!(words.contains(&id_of(&site.config()).await) || words.contains("cannot be told"), "{words}");
    first.stop().await;
    let other = InProcess::start(elsewhere(&site));
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_ends_no_rule_that_another_has_placed_until_it_takes_that_one_over() {
    let site = Site::new(DRY_RUN).await;
    let row = confirmed_in_a_dry_run(&site, "a.fits.fz").await;
    // the other one has never seen the file, and meets it as new
    site.end_with(DELETION_ON);
    let theirs = elsewhere(&site);
    trigger(&site);
    let daemon = InProcess::start(theirs.clone());
    let waits = || async {
        let ledger = Ledger::open_read_only(&theirs.ledger_path()).await;
        let Ok(ledger) = ledger else { return false };
        let found = ledger.by_lfn(&row.lfn).await.unwrap();
        ledger.close().await;
        found.is_some_and(|row| {
            row.state == State::Verified && row.waits_for.is_some_and(|why| why.contains("take-over"))
        })
    };
    site.until("the other ledger to meet the rule", waits).await;
    assert!(site.path("a.fits.fz").exists());
    let ended = |event: &Event| matches!(event, Event::RuleEnding { .. });
    assert!(!site.rucio.history().iter().any(|entry| ended(&entry.event)));
    daemon.stop().await;
    let ledger = Ledger::open_for_operator(&theirs.ledger_path()).await.unwrap();
    let operator = Operator { who: "a test".to_owned(), reason: "the first ledger is gone".to_owned() };
    assert!(ledger.take_over(&id_of(&site.config()).await, &operator).await.unwrap());
    assert!(!ledger.take_over(&id_of(&site.config()).await, &operator).await.unwrap(), "once is enough");
    ledger.close().await;
    let daemon = InProcess::start(theirs.clone());
    let released = || async {
        let ledger = Ledger::open_read_only(&theirs.ledger_path()).await.unwrap();
        let found = ledger.by_lfn(&row.lfn).await.unwrap();
        ledger.close().await;
        found.is_some_and(|row| row.state == State::Released)
    };
    site.until("the other ledger to release the file", released).await;
    daemon.stop().await;
    assert!(!site.rucio.replicas(&Did::new("acada", &row.lfn)).contains_key("STORAGE-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_name_no_ledger_are_ours_only_if_they_are_on_record() {
    let site = Site::new(DRY_RUN).await;
    let row = confirmed_in_a_dry_run(&site, "a.fits.fz").await;
    // as if an earlier version had placed them
    site.rucio.forget_meta();
    site.end_with(DELETION_ON);
    let theirs = elsewhere(&site);
    trigger(&site);
    let daemon = InProcess::start(theirs.clone());
    let waits = || async {
        let Ok(ledger) = Ledger::open_read_only(&theirs.ledger_path()).await else { return false };
        let found = ledger.by_lfn(&row.lfn).await.unwrap();
        ledger.close().await;
        let why = format!("take-over {UNSIGNED}");
        found.is_some_and(|row| row.waits_for.is_some_and(|waits| waits.contains(&why)))
    };
    site.until("the other ledger to meet the rule", waits).await;
    daemon.stop().await;
    fs::remove_file(site.path("a.fits.fz.trigger")).unwrap();
    let daemon = site.start();
    site.until_state(&row.lfn, State::Released).await;
    daemon.stop().await;
}
