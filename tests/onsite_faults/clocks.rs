//! The system's clock is set under the daemon.

use std::fs;

use dl0_ingest::custody::State;
use rucio_miniature::Daemon as RucioDaemon;
use rustix::process::Signal;

use crate::onsite_faults::{named, site};
use crate::testkit::checker::ends_well;
use crate::testkit::clock::Clock;
use crate::testkit::deliveries::{Delivery, Fate};
use crate::testkit::fixture;
use crate::testkit::process::{Daemon, End};
use crate::testkit::site::Site;

fn good(site: &Site, name: &str) -> Delivery {
    site.deliver_for(&named(name), fixture("CAL"), Fate::Released)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_forward_makes_no_hold_time_shorter() {
    let site = site().await;
    site.change("hold: 100ms", "hold: 1h");
    let clock = Clock::new(site.root(), false);
    let daemon = Daemon::start(&site, &clock.environment(&[]));
    let file = good(&site, "a");
    site.until_row(&file, |row| row.first_look.is_some()).await;
    clock.set("+2h");
    daemon.until_said(&site, "the system's clock was set forward by").await;
    // what comes now is looked at in the same rounds
    let second = good(&site, "b");
    site.until_row(&second, |row| row.first_look.is_some()).await;
    let row = site.row(&file).await.unwrap();
    assert_eq!(row.state, State::Replicated, "{row:#?}");
    // nobody knows how long the daemon was away
    assert_eq!(daemon.stop(&site).await, End::Stopped);
    let daemon = Daemon::start(&site, &clock.environment(&[]));
    let said = daemon.until_said(&site, "begin their hold time again").await;
    assert_eq!(said["files"], 2, "{said}");
    for file in [&file, &second] {
        let row = site.until_row(file, |row| row.first_look.is_some()).await;
        assert_eq!(row.state, State::Replicated, "{row:#?}");
    }
    // the hold time of an ordinary day is over soon
    assert_eq!(daemon.stop(&site).await, End::Stopped);
    site.change("hold: 1h", "hold: 100ms");
    let daemon = Daemon::start(&site, &[]);
    ends_well(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_keeps_no_file_waiting() {
    let site = site().await;
    let clock = Clock::new(site.root(), false);
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    let daemon = Daemon::start(&site, &clock.environment(&[]));
    let file = good(&site, "a");
    site.until_row(&file, |row| row.waits_for.is_some()).await;
    clock.set("-2d");
    daemon.until_said(&site, "the system's clock was set back by").await;
    site.rucio.faults().resume(RucioDaemon::Conveyor);
    ends_well(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_back_while_the_daemon_was_away_keeps_no_file_waiting() {
    let site = site().await;
    let clock = Clock::new(site.root(), false);
    clock.set("+2d");
    fs::write(site.kill_switch(), "until the clock is right again").unwrap();
    let daemon = Daemon::start(&site, &clock.environment(&[]));
    // one that has had its hold time, one that waits for its copy
    let proven = good(&site, "proven");
    site.until_state(&proven, State::Confirmed).await;
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    let file = good(&site, "a");
    site.until_row(&file, |row| row.waits_for.is_some()).await;
    assert_eq!(daemon.stop(&site).await, End::Stopped);
    fs::remove_file(site.kill_switch()).unwrap();
    site.rucio.faults().resume(RucioDaemon::Conveyor);
    let daemon = Daemon::start(&site, &[]);
    ends_well(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_forward_gives_the_brakes_no_new_hour() {
    let site = site().await;
    site.change("deletion: on,", "deletion: on, max_files_per_hour: 1,");
    let clock = Clock::new(site.root(), false);
    let daemon = Daemon::start(&site, &clock.environment(&[]));
    let first = good(&site, "a");
    site.until_state(&first, State::Released).await;
    let second = good(&site, "b");
    let braked = |row: &dl0_ingest::ledger::FileRow| {
        row.waits_for.as_deref().is_some_and(|why| why.contains("release.max_files_per_hour"))
    };
    let before = site.until_row(&second, braked).await;
    clock.set("+3h");
    daemon.until_said(&site, "the system's clock was set forward by").await;
    // a reload makes everything that waits for a brake due
    daemon.signal(Signal::HUP);
    let after = site
        .until_row(&second, |row| {
            braked(row) && row.next_attempt > before.next_attempt || row.state != State::Confirmed
        })
        .await;
    assert_eq!(after.state, State::Confirmed, "{after:#?}");
    site.change("max_files_per_hour: 1,", "max_files_per_hour: 10,");
    clock.set("+0s");
    daemon.signal(Signal::HUP);
    ends_well(&site, daemon).await;
}
