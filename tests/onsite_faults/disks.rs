//! Disks that are away, full, or cannot be read.

use std::fs;

use dl0_ingest::custody::State;
use rucio_miniature::{Daemon as RucioDaemon, Event};

use crate::onsite_faults::{named, site};
use crate::testkit::checker::ends_well;
use crate::testkit::command::ask;
use crate::testkit::deliveries::{Delivery, Fate};
use crate::testkit::fixture;
use crate::testkit::mounts::{Disk, Mount};
use crate::testkit::process::{Daemon, End};
use crate::testkit::site::Site;
use crate::testkit::watcher::Watcher;

fn good(site: &Site, name: &str) -> Delivery {
    site.deliver_for(&named(name), fixture("CAL"), Fate::Released)
}

fn bad(site: &Site, name: &str) -> Delivery {
    let content = fixture("SUBARRAY");
    site.deliver_for(&named(name), content[..content.len() - 2880].to_vec(), Fate::Rejected)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interface_directory_that_is_unmounted_and_comes_back_loses_and_releases_nothing() {
    let site = site().await;
    let disk = site.root().join("disk");
    fs::create_dir(&disk).unwrap();
    // a mount point with nothing below it
    fs::remove_dir_all(site.storage(1).join("ctao")).unwrap();
    let mount = Mount::again(&disk, &site.storage(1));
    site.make_tree();
    let daemon = Daemon::start(&site, &[]);
    // one whose on-site copy is given up and not yet deleted, one that is proven, one that has no copy yet
    site.rucio.faults().pause(RucioDaemon::Reaper);
    let leaving = good(&site, "leaving");
    let given_up = |event: &Event| matches!(event, Event::RuleEnding { did, .. } if *did == leaving.did());
    site.rucio.until(|history| history.iter().any(|entry| given_up(&entry.event))).await;
    fs::write(site.kill_switch(), "until the directory is away").unwrap();
    let proven = good(&site, "proven");
    site.until_state(&proven, State::Confirmed).await;
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    let registered = good(&site, "registered");
    site.until_trigger_gone(&registered).await;
    drop(mount);
    fs::remove_file(site.kill_switch()).unwrap();
    site.rucio.faults().resume(RucioDaemon::Conveyor);
    site.rucio.faults().resume(RucioDaemon::Reaper);
    for stage in ["release", "departure"] {
        let unmounted = |line: &serde_json::Value| {
            line["stage"] == stage && line["message"].as_str().is_some_and(|words| words.contains("is it mounted?"))
        };
        daemon.until_line(&site, &format!("{stage} to miss the directory"), unmounted).await;
    }
    for file in [&proven, &registered, &leaving] {
        let row = site.row(file).await.unwrap();
        assert!(!matches!(row.state, State::Held | State::Released), "{row:#?}");
    }
    let _mount = Mount::again(&disk, &site.storage(1));
    good(&site, "afterwards");
    ends_well(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_below_the_ledger_stops_the_road_and_loses_nothing() {
    let site = site().await;
    let disk = Mount::memory(&site.state(), "32m");
    let watcher = Watcher::start(&site);
    let daemon = Daemon::start(&site, &[]);
    // the ledger is made first
    daemon.ready(&site).await;
    for number in 0..5 {
        good(&site, &format!("before-{number}"));
    }
    let ballast = disk.fill();
    // more than the ledger has room for in its files as they are
    for number in 0..40 {
        good(&site, &format!("meanwhile-{number}"));
        bad(&site, &format!("bad-{number}"));
    }
    daemon.until_said(&site, "disk is full; free space on its disk").await;
    drop(ballast);
    ends_well(&site, daemon).await;
    assert!(watcher.finish() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_face_says_that_the_ledger_cannot_be_written_until_it_can() {
    let site = site().await;
    let address = site.listens();
    let disk = Mount::memory(&site.state(), "32m");
    let daemon = Daemon::start(&site, &[]);
    let ready = |said: &str| said.starts_with("HTTP/1.1 200");
    site.until_answer(address, "/readyz", ready).await;
    let ballast = disk.fill();
    for number in 0..60 {
        good(&site, &format!("full-{number}"));
    }
    daemon.until_said(&site, "disk is full; free space on its disk").await;
    let said = site.until_answer(address, "/readyz", |said| !ready(said)).await;
    assert!(said.contains("ledger: cannot be written: database or disk is full"), "{said}");
    // stages that find nothing to do go on finding nothing to do; none of them takes it back
    for _ in 0..50 {
        let said = ask(address, "/readyz");
        assert!(!ready(&said), "{said}");
        tokio::task::yield_now().await;
    }
    let page = ask(address, "/");
    assert!(page.contains("ledger: cannot be written") && !page.contains("Everything works"), "{page}");
    let status = site.say(&["status"]);
    assert!(status.out.contains("ledger: cannot be written"), "{}{}", status.out, status.err);
    site.until_answer(address, "/metrics", |said| said.contains("dl0_ingest_ready{need=\"ledger\"} 0")).await;
    drop(ballast);
    site.until_answer(address, "/readyz", ready).await;
    ends_well(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_for_the_audit_record_nothing_is_released_or_set_aside() {
    let site = site().await;
    // the record alone lies on the disk that fills up
    let disk = Mount::memory(&site.root().join("audit"), "256k");
    let (there, here) = (site.root().join("audit/audit.jsonl"), site.state().join("audit.jsonl"));
    for path in [&there, &here] {
        fs::write(path, "").unwrap();
    }
    let _mount = Mount::again(&there, &here);
    let daemon = Daemon::start(&site, &[]);
    let before = good(&site, "before");
    site.until_state(&before, State::Released).await;
    let ballast = disk.fill();
    let (sound, unsound) = (good(&site, "good"), bad(&site, "bad"));
    // what is left of the last block takes some records
    let more: Vec<Delivery> = (0..10).map(|number| good(&site, &format!("more-{number}"))).collect();
    let full = |stage: &'static str| {
        move |line: &serde_json::Value| {
            let words = line["message"].as_str().unwrap_or_default();
            line["stage"] == stage
                && words.contains("cannot write the audit record")
                && words.contains("nothing is deleted or set aside without it")
        }
    };
    daemon.until_line(&site, "the release to miss its record", full("release")).await;
    assert!(more.iter().chain([&sound]).any(|file| site.storage(1).join(&file.path).exists()));
    assert!(site.storage(1).join(&unsound.path).exists() || site.row(&unsound).await.unwrap().state == State::Rejected);
    drop(ballast);
    ends_well(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_stays_with_its_trigger_while_the_data_disk_has_no_room_for_its_reason() {
    let site = site().await;
    let disk = Mount::memory(&site.storage(1), "4m");
    site.make_tree();
    // a copy that is deleted on site would make room
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    let (sound, unsound) = (good(&site, "good"), bad(&site, "bad"));
    let ballast = disk.fill();
    let daemon = Daemon::start(&site, &[]);
    daemon.until_said(&site, "No space left on device").await;
    site.until_trigger_gone(&sound).await;
    assert!(site.storage(1).join(&unsound.path).exists());
    assert!(site.trigger_path(&unsound).symlink_metadata().is_ok());
    drop(ballast);
    site.rucio.faults().resume(RucioDaemon::Conveyor);
    ends_well(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_disk_cannot_read_waits_and_keeps_no_other_from_its_road() {
    let site = site().await;
    let mut disk = Disk::new(&site.root().join("image"), &site.storage(1));
    site.make_tree();
    let fine = good(&site, "fine");
    let damaged = good(&site, "damaged");
    let lost = disk.damage(&damaged.path);
    let watcher = Watcher::start(&site);
    let daemon = Daemon::start(&site, &[]);
    let line = daemon.until_said(&site, "Input/output error").await;
    assert_eq!(line["lfn"], *damaged.lfn());
    site.until_state(&fine, State::Released).await;
    let row = site.until_row(&damaged, |row| row.attempts > 2).await;
    assert_eq!(row.state, State::Discovered);
    assert!(site.trigger_path(&damaged).symlink_metadata().is_ok());
    lost.give_back();
    ends_well(&site, daemon).await;
    assert!(watcher.finish() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_reads_names_the_file_that_the_disk_cannot_read() {
    let site = site().await;
    let mut disk = Disk::new(&site.root().join("image"), &site.storage(1));
    site.make_tree();
    fs::write(site.kill_switch(), "until the disk was read").unwrap();
    let files = ["fine", "damaged"].map(|name| good(&site, name));
    let daemon = Daemon::start(&site, &[]);
    for file in &files {
        site.until_state(file, State::Confirmed).await;
        site.until_trigger_gone(file).await;
    }
    assert_eq!(daemon.stop(&site).await, End::Stopped);
    let lost = disk.damage(&files[1].path);
    let audit = || site.say(&["audit", "--read", "--min-age", "0s", "--settle", "1ms", "--json"]);
    let said = audit();
    let found = said.json();
    assert_eq!((said.code, found.len()), (1, 1), "{}{}", said.out, said.err);
    assert_eq!((found[0]["code"].as_str(), found[0]["file"].as_str()), (Some("unreadable"), Some(&*files[1].lfn())));
    assert!(found[0]["message"].as_str().unwrap().contains("Input/output error"), "{}", said.out);
    lost.give_back();
    let said = audit();
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    fs::remove_file(site.kill_switch()).unwrap();
    let daemon = Daemon::start(&site, &[]);
    ends_well(&site, daemon).await;
}

/// Two copies are proven, and somebody wants the third one: no want of room overrules that.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_data_disk_forces_no_deletion_that_a_brake_stops() {
    let site = site().await;
    let disk = Mount::memory(&site.storage(1), "4m");
    site.make_tree();
    fs::write(site.kill_switch(), "nothing goes tonight").unwrap();
    let daemon = Daemon::start(&site, &[]);
    let file = good(&site, "a");
    let braked = |row: &dl0_ingest::ledger::FileRow| {
        row.state == State::Confirmed && row.waits_for.as_ref().is_some_and(|why| why.contains("nothing goes tonight"))
    };
    site.until_row(&file, braked).await;
    let ballast = disk.fill();
    for _ in 0..3 {
        let due = site.row(&file).await.unwrap().next_attempt;
        assert_eq!(site.say(&["retry", "--reason", "the disk is full", &file.lfn()]).code, 0);
        let row = site.until_row(&file, |row| row.next_attempt > due).await;
        assert!(braked(&row), "{row:#?}");
    }
    assert!(site.storage(1).join(&file.path).exists());
    // an operator lifts the brake, and that makes room
    fs::remove_file(site.kill_switch()).unwrap();
    site.until_state(&file, State::Released).await;
    drop(ballast);
    ends_well(&site, daemon).await;
}
