//! More than one daemon, and one that stands still.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use dl0_ingest::custody::State;
use dl0_ingest::ledger::Ledger;
use rucio_miniature::{Answer, Daemon as RucioDaemon, Endpoint, Entry, Event};
use rustix::process::Signal;

use crate::onsite_faults::{named, site};
use crate::testkit::checker::ends_well;
use crate::testkit::clock::Clock;
use crate::testkit::deliveries::{Delivery, Fate};
use crate::testkit::fixture;
use crate::testkit::process::{Daemon, End};
use crate::testkit::site::Site;
use crate::testkit::watcher::Watcher;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_one_ledger_ends_at_once_and_disturbs_nothing() {
    let site = site().await;
    let watcher = Watcher::start(&site);
    let daemon = Daemon::start(&site, &[]);
    daemon.ready(&site).await;
    for number in 0..20 {
        site.deliver_for(&named(&number.to_string()), fixture("CAL"), Fate::Released);
    }
    for _ in 0..3 {
        let second = Daemon::start(&site, &[]);
        assert_eq!(second.ended().await, End::Other(ExitStatus::from_raw(3 << 8)));
    }
    daemon.until_said(&site, "is in use by another dl0-ingest").await;
    ends_well(&site, daemon).await;
    assert!(watcher.finish() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_stood_still_before_it_ended_the_rule_looks_again() {
    // the release is decided, and its record is written
    looks_again(site().await, "ledger.audited.after:1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_stood_still_right_before_it_asked_for_the_end_of_the_rule_looks_again() {
    looks_again(site().await, "rucio.end_rule.before:1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_stood_still_before_it_asked_once_more_for_the_end_of_the_rule_looks_again() {
    let site = site().await;
    site.rucio.faults().answer(Endpoint::UpdateRule, 1, &Answer::Status(503));
    looks_again(site, "rucio.end_rule.before:2").await;
}

/// The daemon stands still where it is told to, on evidence that was fresh then.
async fn looks_again(site: Arc<Site>, stop_at: &str) {
    let clock = Clock::new(site.root(), true);
    let daemon = Daemon::start(&site, &clock.environment(&[("DL0_INGEST_STOP_AT", stop_at)]));
    let file = site.deliver_for(&named("a"), fixture("CAL"), Fate::Released);
    daemon.until_stopped(&site).await;
    // a quarter of an hour passes, in which a copy is lost
    clock.set("+900s");
    let copy = site.storage(3).join(&file.path);
    let content = fs::read(&copy).unwrap();
    fs::remove_file(&copy).unwrap();
    daemon.signal(Signal::CONT);
    let row = site.until_state(&file, State::Held).await;
    assert!(row.reason.as_deref().unwrap().contains("the storage has no such file"), "{row:#?}");
    daemon.until_said(&site, "the last look is too old to act upon").await;
    let ending =
        |entry: &Entry| matches!(&entry.event, Event::RuleEnding { id, .. } if Some(id) == row.on_site_rule.as_ref());
    assert!(!site.rucio.history().iter().any(ending), "asked for on old evidence");
    assert!(site.storage(1).join(&file.path).exists());
    // the copy is brought back; the daemon's clock is the true one again
    assert_eq!(daemon.stop(&site).await, End::Stopped);
    fs::write(&copy, content).unwrap();
    site.go_on(&file);
    let daemon = Daemon::start(&site, &[]);
    ends_well(&site, daemon).await;
}

/// Of two rules that hold a further copy, the file's own goes because there is the other one.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_stood_still_before_it_ended_a_files_own_rule_asks_again_what_else_holds_the_copy() {
    let site = site().await;
    let clock = Clock::new(site.root(), true);
    let stop = [("DL0_INGEST_STOP_AT", "rucio.retire_rule.before:1")];
    let daemon = Daemon::start(&site, &clock.environment(&stop));
    let file = site.deliver_for(&named("a"), fixture("CAL"), Fate::Released);
    daemon.until_stopped(&site).await;
    let own = site.row(&file).await.unwrap().further_copies_rule_ending.unwrap();
    let ledger = Ledger::open_read_only(&site.ledger_file()).await.unwrap();
    let of_dataset = ledger.settlement(&file.dataset()).await.unwrap().settled_rule.unwrap();
    ledger.close().await;
    clock.set("+900s");
    site.set_clock_ahead(Duration::from_mins(15));
    site.end_rule(&of_dataset).await;
    let removed = |entry: &Entry| matches!(&entry.event, Event::RuleRemoved { id, .. } if *id == of_dataset);
    site.rucio.until(|history| history.iter().any(removed)).await;
    daemon.signal(Signal::CONT);
    daemon.until_said(&site, "what Rucio said of the dataset is too old to act upon").await;
    site.until_settled().await;
    let history = site.rucio.history();
    let again = |entry: &Entry| matches!(&entry.event, Event::RulePlaced { id, did, .. } if *did == file.dataset() && *id != of_dataset);
    let ending = |entry: &Entry| matches!(&entry.event, Event::RuleEnding { id, .. } if *id == own);
    let (placed, ended) = (history.iter().rposition(again).unwrap(), history.iter().position(ending).unwrap());
    assert!(placed < ended, "it ended before another rule held the copy: {history:#?}");
    assert_eq!(daemon.stop(&site).await, End::Stopped);
    let daemon = Daemon::start(&site, &[]);
    ends_well(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_stood_still_for_long_takes_up_where_it_was() {
    let site = site().await;
    let clock = Clock::new(site.root(), true);
    let watcher = Watcher::start(&site);
    let daemon = Daemon::start(&site, &clock.environment(&[]));
    daemon.ready(&site).await;
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    let files: Vec<Delivery> =
        (0..10).map(|number| site.deliver_for(&named(&number.to_string()), fixture("CAL"), Fate::Released)).collect();
    site.until_trigger_gone(&files[0]).await;
    daemon.signal(Signal::STOP);
    daemon.until_stopped(&site).await;
    // longer than claims, tokens and connections last
    clock.set("+3h");
    site.set_clock_ahead(Duration::from_hours(3));
    site.rucio.forget_tokens();
    site.rucio.faults().resume(RucioDaemon::Conveyor);
    daemon.signal(Signal::CONT);
    ends_well(&site, daemon).await;
    assert!(watcher.finish() > 0);
}
