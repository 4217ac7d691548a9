//! Second deliveries that meet the first one on its way out.

use std::fs;
use std::path::PathBuf;

use dl0_ingest::custody::State;
use dl0_ingest::ledger::{EventRow, FileRow};
use dl0_ingest::names::Lfn;
use rucio_miniature::Daemon as RucioDaemon;
use serde_json::Value;

use crate::road::DELETION_ON;
use crate::testkit::fixture;
use crate::testkit::in_process::InProcess;
use crate::testkit::site::{Site, lfn};

const NAME: &str = "a.fits.fz";

/// A file whose release is ordered and which Rucio does not delete yet.
async fn leaving(site: &Site) -> (InProcess, FileRow) {
    site.rucio.faults().pause(RucioDaemon::Reaper);
    let daemon = site.start();
    let lfn = site.deliver(NAME, &fixture("SUBARRAY"));
    let row = site.until_row(&lfn, |row| row.release_ordered_at.is_some() && !row.trigger_pending).await;
    (daemon, row)
}

/// Waits until other content was dealt with so often.
async fn until_settled(site: &Site, row: &FileRow, times: usize) {
    let begun = std::time::Instant::now();
    let settled = |event: &&EventRow| event.kind == "delivered-again-different";
    while site.events(row).await.iter().filter(settled).count() < times {
        assert!(begun.elapsed() < std::time::Duration::from_mins(1), "{:#?}", site.events(row).await);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn invalid(site: &Site) -> PathBuf {
    let lfn = Lfn::try_from(lfn(NAME).as_str()).unwrap();
    site.data().join(lfn.invalid_path().parent().unwrap())
}

fn aside(site: &Site, name: &str) -> PathBuf {
    invalid(site).join(name)
}

/// Other content lies in `invalid/` with its reason, its trigger is gone, and Rucio deletes what it was to delete.
async fn saved_and_released(site: &Site, row: &FileRow, times: usize) {
    until_settled(site, row, times).await;
    assert_eq!(fs::read(aside(site, NAME)).unwrap(), fixture("CAL"));
    let reason: Value =
        serde_json::from_slice(&fs::read(aside(site, &format!("{NAME}.reason.json"))).unwrap()).unwrap();
    assert_eq!(
        (reason["lfn"].as_str(), reason["reasons"][0]["code"].as_str()),
        (Some(&*row.lfn), Some("other-content"))
    );
    assert_eq!(fs::read_dir(invalid(site)).unwrap().count(), 2, "the file and its reason");
    assert!(!site.path(NAME).exists() && !site.has_trigger(NAME));
    site.rucio.faults().resume(RucioDaemon::Reaper);
    site.until_state(&row.lfn, State::Released).await;
    assert_eq!(fs::read(aside(site, NAME)).unwrap(), fixture("CAL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_content_under_a_name_that_is_leaving_is_saved_from_deletion() {
    let site = Site::new(DELETION_ON).await;
    let (daemon, row) = leaving(&site).await;
    site.deliver(NAME, &fixture("CAL"));
    saved_and_released(&site, &row, 1).await;
    daemon.stop().await;
}

/// A stop after the reason was written and before the file was moved, or after that and before its trigger went.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_stop_left_of_saving_a_file_is_finished_without_a_second_copy_of_its_reason() {
    for moved in [false, true] {
        let site = Site::new(DELETION_ON).await;
        let (daemon, row) = leaving(&site).await;
        site.deliver(NAME, &fixture("CAL"));
        until_settled(&site, &row, 1).await;
        daemon.stop().await;
        // as if the stop had come before
        site.pull_trigger(NAME);
        if moved {
            site.remember_redelivery(&row, &aside(&site, NAME)).await;
        } else {
            fs::rename(aside(&site, NAME), site.path(NAME)).unwrap();
        }
        let daemon = site.start();
        saved_and_released(&site, &row, 2).await;
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_delivery_that_cannot_be_dealt_with_keeps_no_other_waiting() {
    let site = Site::new(DELETION_ON).await;
    let (daemon, row) = leaving(&site).await;
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    let staying = site.deliver("b.fits.fz", &fixture("SUBARRAY"));
    site.until_row(&staying, |row| row.state == State::Registered && !row.trigger_pending).await;
    let in_the_way = site.data().join("ctao/acada/invalid");
    fs::write(&in_the_way, "not a directory").unwrap();
    site.deliver(NAME, &fixture("CAL"));
    let trouble = || fs::read(site.path(NAME)).is_ok_and(|content| content == fixture("CAL"));
    site.until_row(&row.lfn, |_| trouble()).await;
    site.deliver("b.fits.fz", &fixture("SUBARRAY"));
    site.until_row(&staying, |row| row.delivery == 2 && !row.trigger_pending).await;
    assert!(trouble() && site.has_trigger(NAME));
    fs::remove_file(&in_the_way).unwrap();
    saved_and_released(&site, &row, 1).await;
    daemon.stop().await;
}

/// Rucio takes the letters of an adler32 as they come, and compares them.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_adler32_somebody_registered_in_upper_case_is_the_same_file() {
    let site = Site::new(DELETION_ON).await;
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    let daemon = site.start();
    let first = site.deliver(NAME, &fixture("SUBARRAY"));
    let first = site.until_row(&first, |row| row.state == State::Registered && !row.trigger_pending).await;
    let (content, name) = (fixture("CAL"), lfn("b.fits.fz"));
    site.register_by_hand_as(&first.dataset_did(), &name, &content, |adler32| format!("{adler32:08X}")).await;
    site.deliver("b.fits.fz", &content);
    let row = site.until_row(&name, |row| matches!(row.state, State::Registered | State::Held)).await;
    assert_eq!(row.state, State::Registered, "{row:#?}");
    daemon.stop().await;
}
