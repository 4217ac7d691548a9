//! A release that is ordered or about to be, and a rule of the on-site copy that is not as we believe.

use std::fs;
use std::time::{Duration, Instant};

use dl0_ingest::custody::State;
use dl0_ingest::ledger::FileRow;
use dl0_ingest::names::Did;
use rucio_miniature::{Answer, Daemon, Endpoint, Event, ReplicaState};

use crate::road::DELETION_ON;
use crate::road::ended_rules::{Somebody, decided_and_braked, until_removed};
use crate::road::reconcile::{change_ledger, sources};
use crate::testkit::fixture;
use crate::testkit::in_process::InProcess;
use crate::testkit::site::Site;

/// Longer than an order is trusted without its effect.
const LONG: Duration = Duration::from_mins(6);

/// Nobody looks at the rules of files on site while the test runs.
fn seldom_listed() -> String {
    DELETION_ON.replace("hold: 200ms, poll: 50ms, poll_max: 200ms", "hold: 200ms, poll: 50ms, poll_max: 1min")
}

/// A file that is proven and kept by the kill switch, which is to be removed.
pub(crate) async fn confirmed(site: &Site) -> (InProcess, FileRow) {
    fs::write(site.kill_switch(), "until it is proven").unwrap();
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    let braked = |row: &FileRow| row.waits_for.as_ref().is_some_and(|why| why.contains("until it is proven"));
    let row = site.until_row(&lfn, braked).await;
    assert_eq!(row.state, State::Confirmed);
    (daemon, row)
}

fn lift(site: &Site) {
    fs::remove_file(site.kill_switch()).unwrap();
}

/// A file whose release is ordered, while a daemon of Rucio stands still.
async fn ordered(site: &Site, pause: Daemon) -> (InProcess, FileRow) {
    let (daemon, row) = confirmed(site).await;
    site.rucio.faults().pause(pause);
    lift(site);
    let row = site.until_row(&row.lfn, |row| row.release_ordered_at.is_some()).await;
    (daemon, row)
}

async fn events(site: &Site, row: &FileRow, kind: &str) -> usize {
    site.events(row).await.iter().filter(|event| event.kind == kind).count()
}

/// By a request of ours that came late, by somebody, or by a database that lost its last commits.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_rule_lost_its_end_after_the_release_was_ordered_is_released_all_the_same() {
    let site = Site::new(DELETION_ON).await;
    let (daemon, row) = ordered(&site, Daemon::Judge).await;
    sources(&site, None).rucio.keep_rule(row.on_site_rule.as_ref().unwrap()).await.unwrap();
    site.rucio.faults().resume(Daemon::Judge);
    daemon.stop().await;
    site.age_order(&row.lfn, LONG).await;
    let daemon = site.start();
    let row = site.until_state(&row.lfn, State::Released).await;
    assert_eq!(events(&site, &row, "release-order-void").await, 1);
    assert_eq!(events(&site, &row, "release-ordered").await, 2);
    daemon.stop().await;
}

/// `DELETE` gives it an hour, and purges nothing then.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_rule_was_given_another_end_after_the_release_was_ordered_is_released_all_the_same() {
    for (lifetime, purge) in [(3600, true), (0, false)] {
        let site = Site::new(DELETION_ON).await;
        let (daemon, row) = ordered(&site, Daemon::Judge).await;
        Somebody::at(&site).await.limits(row.on_site_rule.as_ref().unwrap(), lifetime, purge).await;
        daemon.stop().await;
        site.age_order(&row.lfn, LONG).await;
        let daemon = site.start();
        site.until_row(&row.lfn, |row| row.release_ordered_at.is_none()).await;
        site.rucio.faults().resume(Daemon::Judge);
        site.until_state(&row.lfn, State::Released).await;
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_file_that_anothers_rule_holds_on_site_names_that_rule_and_goes_when_it_ends() {
    let site = Site::new(DELETION_ON).await;
    let (daemon, row) = ordered(&site, Daemon::Judge).await;
    let somebody = Somebody::at(&site).await;
    let rule = somebody.wants(&row.did(), "STORAGE-1").await;
    site.rucio.faults().resume(Daemon::Judge);
    until_removed(&site, row.on_site_rule.as_ref().unwrap()).await;
    daemon.stop().await;
    site.age_order(&row.lfn, LONG).await;
    let daemon = site.start();
    let named =
        |row: &FileRow| row.waits_for.as_ref().is_some_and(|why| why.contains(&rule) && why.contains("account 'root'"));
    site.until_row(&row.lfn, named).await;
    assert!(site.path("a.fits.fz").exists());
    somebody.limits(&rule, 0, true).await;
    let row = site.until_state(&row.lfn, State::Released).await;
    assert_eq!(events(&site, &row, "release-ordered").await, 1);
    daemon.stop().await;
}

/// Rucio's word for the end was heard: what is slow now are its own daemons.
#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_release_waits_for_a_cleaner_or_a_reaper_that_is_slow_and_begins_nothing_anew() {
    for slow in [Daemon::Judge, Daemon::Reaper] {
        let site = Site::new(DELETION_ON).await;
        let (daemon, row) = ordered(&site, slow).await;
        if slow == Daemon::Reaper {
            until_removed(&site, row.on_site_rule.as_ref().unwrap()).await;
        }
        daemon.stop().await;
        site.age_order(&row.lfn, LONG).await;
        let asked = site.rucio.requests()[&Endpoint::UpdateRule];
        let daemon = site.start();
        let told = |row: &FileRow| row.waits_for.as_ref().is_some_and(|why| why.contains("its rule has ended"));
        let row = site.until_row(&row.lfn, |row| row.release_ordered_at.is_none() || told(row)).await;
        assert!(row.release_ordered_at.is_some(), "{slow:?}: {row:#?}");
        assert_eq!(site.rucio.requests()[&Endpoint::UpdateRule], asked, "{slow:?}");
        site.rucio.faults().resume(slow);
        site.until_state(&row.lfn, State::Released).await;
        assert_eq!(events(&site, &row, "release-ordered").await, 1);
        daemon.stop().await;
    }
}

/// Without purge Rucio deletes nothing until it needs the space: such an end is no release.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_rule_somebody_ended_without_purge_right_before_its_release_is_released() {
    let site = Site::new(&seldom_listed()).await;
    let (daemon, row) = confirmed(&site).await;
    let rule = row.on_site_rule.unwrap();
    Somebody::at(&site).await.limits(&rule, 0, false).await;
    until_removed(&site, &rule).await;
    lift(&site);
    let row = site.until_state(&row.lfn, State::Released).await;
    assert_ne!(row.on_site_rule.as_ref(), Some(&rule));
    assert_eq!(events(&site, &row, "on-site-rule-replaced").await, 1);
    assert!(!site.path("a.fits.fz").exists());
    daemon.stop().await;
}

/// The same, and a stop comes after the announcement: nobody knows any more who has ended it.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_taken_for_ours_and_deletes_nothing_is_asked_for_again() {
    let site = Site::new(DELETION_ON).await;
    let (daemon, row) = decided_and_braked(&site).await;
    daemon.stop().await;
    change_ledger(&site, "UPDATE files SET release_announced_at = 1, next_attempt = 0").await;
    let rule = row.on_site_rule.unwrap();
    Somebody::at(&site).await.limits(&rule, 0, false).await;
    until_removed(&site, &rule).await;
    lift(&site);
    let daemon = site.start();
    site.until_row(&row.lfn, |row| row.release_ordered_at.is_some()).await;
    daemon.stop().await;
    site.age_order(&row.lfn, LONG).await;
    let daemon = site.start();
    let row = site.until_state(&row.lfn, State::Released).await;
    assert_ne!(row.on_site_rule, Some(rule));
    daemon.stop().await;
}

/// Between two readings of the ledger: what was found out about the rule belongs to a row that is not there any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_delivered_again_while_its_ended_rule_is_asked_about_loses_no_end_and_gets_no_rule() {
    let site = Site::new(DELETION_ON).await;
    let (daemon, row) = decided_and_braked(&site).await;
    daemon.stop().await;
    change_ledger(&site, "UPDATE files SET release_announced_at = 1, next_attempt = 0").await;
    let faults = site.rucio.faults();
    faults.pause(Daemon::Judge);
    faults.pause(Daemon::Reaper);
    let rule = row.on_site_rule.clone().unwrap();
    Somebody::at(&site).await.limits(&rule, 0, true).await;
    let spoilt = || faults.spoilt().get(&Endpoint::Rule).copied().unwrap_or_default();
    faults.answer(Endpoint::Rule, 1, &Answer::Delay(Duration::from_secs(2)));
    let asked = site.rucio.requests()[&Endpoint::UpdateRule];
    let daemon = site.start();
    let begun = Instant::now();
    while spoilt() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody asks about the rule");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    change_ledger(&site, "UPDATE files SET delivery = delivery + 1").await;
    site.until_row(&row.lfn, |row| row.release_ordered_at.is_some()).await;
    assert_eq!(site.rucio.requests()[&Endpoint::UpdateRule], asked, "its end was taken away");
    assert_eq!(events(&site, &row, "on-site-rule-replaced").await, 0);
    assert!(sources(&site, None).rucio.rule(&rule).await.unwrap().expires_at.is_some());
    assert_eq!(site.rucio.replicas(&Did::new("acada", &row.lfn)).get("STORAGE-1"), Some(&ReplicaState::Available));
    faults.resume(Daemon::Judge);
    faults.resume(Daemon::Reaper);
    let gone = |event: &Event| matches!(event, Event::FileDeleted { did, .. } if did.name == row.lfn);
    site.rucio.until(|history| history.iter().any(|entry| gone(&entry.event))).await;
    site.until_state(&row.lfn, State::Released).await;
    daemon.stop().await;
}
