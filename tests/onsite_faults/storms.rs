//! Very many triggers at once.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dl0_ingest::custody::State;
use rucio_miniature::Daemon as RucioDaemon;
use rustix::process::Signal;

use crate::onsite_faults::{named, site, with_a_confirmed_file};
use crate::testkit::checker::ends_well;
use crate::testkit::deliveries::{Delivery, Fate};
use crate::testkit::fixture;
use crate::testkit::process::{Daemon, End};

/// Files of a storm, unless `DL0_INGEST_STORM` names another number.
const STORM: usize = 2000;
/// Files of one dataset.
const NIGHT: usize = 1000;
/// Most memory that the daemon may ever have used, in kB. It does not grow with the backlog but for what the intake remembers
/// of each trigger.
const MEMORY: u64 = 200_000;
/// Deliveries of one file.
const AGAIN: usize = 1000;
/// Files that are all delivered again, each so many times.
const MANY: usize = 400;
const TIMES: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_triggers_is_taken_in_within_bounded_memory() {
    let files = std::env::var("DL0_INGEST_STORM").map_or(STORM, |text| text.parse().unwrap());
    let site = site().await;
    // what goes through the whole ledger is done every ten minutes in production, not ten times a second
    site.change("settle: {after: 500ms}", "settle: {after: 20s}");
    site.change(
        "confirm: {hold: 100ms, poll: 20ms, poll_max: 100ms}",
        "confirm: {hold: 100ms, poll: 20ms, poll_max: 3s}",
    );
    site.lift_limits_of_an_hour();
    let content = fixture("SUBARRAY");
    let path = |number| format!("ctao/acada/dl0/LST/events/2026/01/{:02}/{number}.fits.fz", number / NIGHT + 1);
    let daemon = Daemon::start(&site, &[]);
    daemon.ready(&site).await;
    let begun = Instant::now();
    let (storm, delivered) = (Arc::clone(&site), content);
    let deliver = move || {
        for number in 0..files {
            storm.deliver_for(&path(number), delivered.clone(), Fate::Released);
        }
    };
    tokio::task::spawn_blocking(deliver).await.unwrap();
    let took = begun.elapsed();
    site.until_settled().await;
    let peak = daemon.kilobytes("VmHWM");
    eprintln!("{files} files delivered in {took:.1?}, released after {:.1?}; at most {peak} kB", begun.elapsed());
    assert!(peak < MEMORY, "{peak} kB");
    ends_well(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_triggered_a_thousand_times_on_its_road_ends_like_any_other() {
    let site = site().await;
    fs::write(site.kill_switch(), "until the storm is over").unwrap();
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    let daemon = Daemon::start(&site, &[]);
    let file = site.deliver_for(&named("a"), fixture("CAL"), Fate::Released);
    let trigger_again = |file: &Delivery| {
        // always there, and always another one
        let link = site.root().join("link");
        symlink(file.path.file_name().unwrap(), &link).unwrap();
        fs::rename(&link, site.trigger_path(file)).unwrap();
    };
    for number in 0..AGAIN {
        if number == AGAIN / 3 {
            site.until_row(&file, |row| row.state == State::Registered).await;
            site.rucio.faults().resume(RucioDaemon::Conveyor);
        }
        if number == 2 * AGAIN / 3 {
            site.until_row(&file, |row| row.state == State::Confirmed).await;
        }
        trigger_again(&file);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    site.until_trigger_gone(&file).await;
    fs::remove_file(site.kill_switch()).unwrap();
    ends_well(&site, daemon).await;
}

/// Several times what the queue of second deliveries takes in one go; and every fiftieth comes with other content.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_second_deliveries_is_compared_to_the_last_one() {
    let site = site().await;
    site.lift_limits_of_an_hour();
    fs::write(site.kill_switch(), "until the storm is over").unwrap();
    let daemon = Daemon::start(&site, &[]);
    let content = fixture("SUBARRAY");
    let files: Vec<Delivery> = (0..MANY)
        .map(|number| {
            let fate = if number % 50 == 0 { Fate::Kept } else { Fate::Released };
            site.deliver_for(&format!("{}.fits.fz", named_of(fate, number)), content.clone(), fate)
        })
        .collect();
    for file in &files {
        site.until_state(file, State::Confirmed).await;
        site.until_trigger_gone(file).await;
    }
    let (kept, released): (Vec<&Delivery>, Vec<&Delivery>) = files.iter().partition(|file| file.fate == Fate::Kept);
    for _ in 0..TIMES {
        for file in &released {
            site.trigger(file);
        }
        for file in &released {
            site.until_trigger_gone(file).await;
        }
    }
    for file in &kept {
        site.replace(file, fixture("CAL"));
        site.trigger(file);
    }
    for file in &kept {
        let row = site.until_state(file, State::Held).await;
        assert_eq!(row.reason_code.as_deref(), Some("other-content"));
    }
    // whoever has looked at them lets the others go
    assert_eq!(site.say(&["breaker", "reset", "--reason", "delivered twice by mistake"]).code, 0);
    fs::remove_file(site.kill_switch()).unwrap();
    ends_well(&site, daemon).await;
}

/// What is kept lies in a dataset of its own, which is not settled.
fn named_of(fate: Fate, number: usize) -> String {
    let telescope = if fate == Fate::Kept { "MST" } else { "LST" };
    format!("ctao/acada/dl0/{telescope}/events/2026/01/01/{number}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_comes_while_the_first_is_being_removed_is_taken_too() {
    let site = site().await;
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    // removed, and for a moment not yet recorded as removed
    let daemon = Daemon::start(&site, &[("DL0_INGEST_STOP_AT", "disk.remove-trigger.after:1")]);
    let file = site.deliver_for(&named("a"), fixture("CAL"), Fate::Released);
    daemon.until_stopped(&site).await;
    site.trigger(&file);
    daemon.signal(Signal::CONT);
    site.until_trigger_gone(&file).await;
    site.rucio.faults().resume(RucioDaemon::Conveyor);
    ends_well(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proven_file_that_is_triggered_while_the_daemon_is_away_is_compared_before_it_goes() {
    let (site, daemon, file) = with_a_confirmed_file().await;
    site.until_trigger_gone(&file).await;
    assert_eq!(daemon.stop(&site).await, End::Stopped);
    site.trigger(&file);
    fs::remove_file(site.kill_switch()).unwrap();
    let daemon = Daemon::start(&site, &[]);
    daemon.until_said(&site, "delivered again with identical content").await;
    ends_well(&site, daemon).await;
}
