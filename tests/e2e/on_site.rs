//! What goes wrong on the mountain, with the real Rucio and the real storages behind it: files that change, disks that are
//! away, full or cannot be read.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::acada::{Delivery, fixture, pull_trigger, trigger_of, write};
use crate::change::Change;
use crate::mounts::{Disk, Mount};
use crate::outcome::{wait_for, wait_for_state};
use crate::shift::Shift;

/// Where a file lies that is to be changed so.
fn path_for(change: Change, shift: &Shift) -> PathBuf {
    shift.directory().join(format!("TEL001_{change:?}_CHUNK000.fits.fz"))
}

/// Changes a file of the kind `CAL`.
fn happen(change: Change, path: &Path) {
    change.happen(path, &fixture("CAL"), &fixture("MUON"), &path.with_extension("beside"));
}

/// What lies there, whatever it is.
fn state_of(path: &Path) -> (bool, Vec<u8>) {
    (path.symlink_metadata().unwrap().is_symlink(), fs::read(path).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_change_on_site_after_they_were_proven_are_held_and_stay_as_they_are() {
    let mut shift = Shift::begin().await;
    let switch = shift.daemon.kill_switch();
    fs::write(&switch, "until some have changed").unwrap();
    let mut files = Vec::new();
    for change in Change::ALL {
        let path = path_for(change, &shift);
        write(&path, &fixture("CAL"));
        files.push((change, shift.note(&path)));
        pull_trigger(&path);
    }
    shift.until_all("confirmed").await;
    for (change, file) in &files {
        happen(*change, &file.path);
    }
    let before: Vec<_> = files.iter().map(|(_, file)| state_of(&file.path)).collect();
    fs::remove_file(&switch).unwrap();
    for (change, file) in &files {
        wait_for_state(&shift.daemon, &file.lfn, "held").await;
        let row = shift.daemon.rows().await.remove(&file.lfn).unwrap();
        let code = if *change == Change::Link { "changed" } else { "evidence" };
        assert_eq!(row.reason_code.as_deref(), Some(code), "{row:#?}");
    }
    shift.until("the breaker", |shift| shift.daemon.measures("dl0_ingest_release_breaker_open 1")).await;
    let after: Vec<_> = files.iter().map(|(_, file)| state_of(&file.path)).collect();
    assert_eq!(before, after);
    let onsite = shift.stack.onsite().0.to_owned();
    for (_, file) in &files {
        let rules = shift.rucio.rules(&file.lfn).await;
        let lasting = |rule: &&Value| rule["rse_expression"] == *onsite && rule["expires_at"].is_null();
        assert_eq!(rules.iter().filter(lasting).count(), 1, "{rules:#?}");
    }
    shift.end_with_all_on_site().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_change_before_they_are_registered_are_verified_anew_set_aside_or_held() {
    let mut shift = Shift::begin().await;
    let stack = shift.stack.clone();
    let outage = tokio::task::block_in_place(|| stack.without("rucio"));
    let paths = Change::ALL.map(|change| (change, path_for(change, &shift)));
    for (_, path) in &paths {
        write(path, &fixture("CAL"));
        pull_trigger(path);
    }
    shift
        .until("all are verified", |shift| shift.states().values().filter(|state| *state == "verified").count() == 4)
        .await;
    for (change, path) in &paths {
        happen(*change, path);
        if matches!(change, Change::Overwritten | Change::Replaced) {
            shift.note(path);
        }
    }
    tokio::task::block_in_place(|| drop(outage));
    for (change, path) in &paths {
        let lfn = stack.lfn(path);
        match change {
            Change::Truncated => {
                wait_for_state(&shift.daemon, &lfn, "rejected").await;
                assert!(!path.exists() && trigger_of(path).symlink_metadata().is_err());
                assert_eq!(shift.rucio.did(&lfn).await, None, "what is bad must not be registered");
            }
            Change::Link => {
                wait_for_state(&shift.daemon, &lfn, "held").await;
                assert_eq!(state_of(path), (true, fixture("CAL")));
                // ACADA takes it back
                fs::remove_file(path).unwrap();
                fs::remove_file(trigger_of(path)).unwrap();
            }
            Change::Overwritten | Change::Replaced => {}
        }
    }
    shift.operate(&["breaker", "reset", "--reason", "the link was taken away"]);
    let gone = |path: &Path| path.symlink_metadata().is_err();
    let files = shift.delivered();
    wait_for("the others leave the site", Duration::from_mins(2), &mut shift.daemon, async || {
        files.iter().all(|file| gone(&file.path))
    })
    .await;
    for Delivery { lfn, digest, .. } in files {
        wait_for_state(&shift.daemon, &lfn, "released").await;
        for (rse, storage) in stack.offsite() {
            assert_eq!(crate::acada::digest(&storage.path(&lfn)).unwrap(), digest, "{lfn} at {rse}");
        }
    }
    shift.end_with_some_on_site().await;
}

/// The storage sees the empty mount point as well, so that Rucio's transfers find nothing there either.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_interface_directory_is_unmounted_files_wait_and_when_it_is_back_they_go_on() {
    let mut shift = Shift::begin().await;
    let stack = shift.stack.clone();
    let switch = shift.daemon.kill_switch();
    fs::write(&switch, "until the directory is away").unwrap();
    shift.deliver_some(2, Duration::ZERO).await;
    shift.until_all("confirmed").await;
    let submitter = tokio::task::block_in_place(|| stack.without("conveyor-submitter"));
    let early = shift.deliver();
    wait_for_state(&shift.daemon, &early.lfn, "registered").await;
    let unseen = shift.look_away().await;
    let away = Mount::memory(&stack.onsite().1.directory, "1m");
    fs::remove_file(&switch).unwrap();
    shift.until("the release misses it", |shift| shift.daemon.log().contains("is it mounted?")).await;
    shift.until("it is not ready", |shift| !shift.daemon.is_ready()).await;
    shift.nobody_is_blamed();
    drop(away);
    drop(unseen);
    assert!(early.path.exists());
    tokio::task::block_in_place(|| drop(submitter));
    shift.deliver();
    shift.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_below_the_ledger_stops_the_road_on_the_real_stack_and_loses_nothing() {
    let mut shift = Shift::begin().await;
    shift.deliver_some(2, Duration::from_secs(1)).await;
    shift.daemon.stop();
    // a small disk takes the place of the directory, with what is there
    let state = shift.daemon.state_dir();
    let kept = state.with_file_name("kept");
    fs::rename(&state, &kept).unwrap();
    let disk = Mount::memory(&state, "32m");
    for entry in fs::read_dir(&kept).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, state.join(from.file_name().unwrap())).unwrap();
    }
    shift.daemon.run();
    let ballast = disk.fill();
    let full = |shift: &Shift| shift.daemon.log().contains("disk is full; free space on its disk");
    for _ in 0..30 {
        shift.deliver();
        if full(&shift) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    shift.until("the full disk is told", full).await;
    drop(ballast);
    shift.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_disk_cannot_read_waits_on_the_real_stack_until_it_can_be_read() {
    let mut shift = Shift::begin().await;
    shift.daemon.stop();
    let directory = shift.directory().to_owned();
    fs::create_dir_all(&directory).unwrap();
    let image = tempfile::tempdir().unwrap();
    let mut disk = Disk::new(&image.path().join("image"), &directory);
    // Rucio deletes here as another user
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    let damaged = shift.deliver();
    let unseen = shift.look_away().await;
    let lost = disk.damage(Path::new(damaged.path.file_name().unwrap()));
    drop(unseen);
    shift.daemon.run();
    shift.until("it is told", |shift| shift.daemon.log().contains("Input/output error")).await;
    // of another telescope, which has a disk of its own
    let fine = PathBuf::from(damaged.path.to_str().unwrap().replace("LSTN-01", "LSTN-02"));
    write(&fine, &fixture("MUON"));
    let fine = shift.note(&fine);
    pull_trigger(&fine.path);
    wait_for_state(&shift.daemon, &fine.lfn, "released").await;
    assert_eq!(shift.states()[&damaged.lfn], "discovered");
    assert!(trigger_of(&damaged.path).symlink_metadata().is_ok());
    lost.give_back();
    shift.end().await;
}
