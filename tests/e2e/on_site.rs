//! What goes wrong on the mountain, with the real Rucio and the real storages behind it: files that change, disks that are
//! away, full or cannot be read.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dl0_ingest::custody::State;
use dl0_ingest::ledger::FileRow;
use serde_json::Value;

use crate::e2e::acada::{Delivery, fixture, pull_trigger, trigger_of, write};
use crate::e2e::outcome::{wait_for, wait_for_state};
use crate::e2e::shift::Shift;
use crate::e2e::stack::Stack;
use crate::testkit::change::Change;
use crate::testkit::mounts::{Disk, Mount, run};

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

/// Every file that counts as delivered is released, with its bytes at both data centres; the others may stay.
async fn all_delivered_leave(shift: &mut Shift) {
    let files = shift.delivered();
    wait_for("all that was delivered leaves the site", Duration::from_mins(2), &mut shift.daemon, async || {
        files.iter().all(|file| file.path.symlink_metadata().is_err())
    })
    .await;
    for Delivery { lfn, digest, .. } in files {
        wait_for_state(&shift.daemon, &lfn, "released").await;
        for (rse, storage) in shift.stack.offsite() {
            assert_eq!(crate::e2e::acada::digest(&storage.path(&lfn)).unwrap(), digest, "{lfn} at {rse}");
        }
    }
}

/// Puts the on-site storage on a disk of its own. What is on the big one is out of sight; the daemon must not run.
fn small_disk(stack: &Stack, size: &str) -> Mount {
    let storage = &stack.onsite().1.directory;
    // Rucio deletes there as another user
    let rights = tempfile::NamedTempFile::new().unwrap();
    fs::write(rights.path(), run("getfacl", &["--absolute-names", storage.to_str().unwrap()])).unwrap();
    let disk = Mount::memory(storage, size);
    run("setfacl", &[&format!("--restore={}", rights.path().display())]);
    fs::create_dir_all(stack.acada_base()).unwrap();
    disk
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_change_on_site_after_they_were_proven_are_held_and_stay_as_they_are() {
    let mut shift = Shift::begin().await;
    let switch = shift.daemon.kill_switch();
    fs::write(&switch, "until some have changed").unwrap();
    let mut files = Vec::new();
    // one that is replaced has the same content, and goes
    for change in Change::ALL.into_iter().filter(|change| *change != Change::Replaced) {
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
        // the first one that is held opens the breaker, and the others are not looked at until somebody resets it
        let held = |shift: &Shift| {
            let is_held = shift.states()[&file.lfn] == "held";
            if !is_held && shift.daemon.measures("dl0_ingest_release_breaker_open 1") {
                shift.operate(&["breaker", "reset", "--reason", "one was enough"]);
            }
            is_held
        };
        shift.until(&format!("{change:?} is held"), held).await;
        let row = shift.daemon.rows().await.remove(&file.lfn).unwrap();
        assert_eq!(row.reason_code.as_deref(), Some("changed"), "{row:#?}");
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
    all_delivered_leave(&mut shift).await;
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

/// Two copies are proven, and somebody wants the third one: no want of room overrules a brake. Nor does a bad file leave its
/// place while there is no room for its reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_data_disk_on_the_real_stack_forces_no_deletion_and_moves_no_bad_file() {
    let mut shift = Shift::begin().await;
    shift.daemon.stop();
    let disk = small_disk(&shift.stack, "8m");
    shift.daemon.run();
    let switch = shift.daemon.kill_switch();
    fs::write(&switch, "nothing goes tonight").unwrap();
    let kept = shift.deliver();
    shift.until_all("confirmed").await;
    shift.daemon.stop();
    let late = shift.deliver();
    let bad = shift.directory().join("TEL001_BAD_CHUNK000.fits.fz");
    let content = fixture("CAL");
    write(&bad, &content[..content.len() - 2880]);
    pull_trigger(&bad);
    let ballast = disk.fill();
    shift.daemon.run();
    shift.until("the want of room is told", |shift| shift.daemon.log().contains("No space left on device")).await;
    // what needs no room goes on
    shift.until_all("confirmed").await;
    let braked = |row: &FileRow| row.waits_for.as_ref().is_some_and(|why| why.contains("nothing goes tonight"));
    for look in 1..=3 {
        let due = shift.until_row(&kept.lfn, "it meets the brake", braked).await.next_attempt;
        shift.operate(&["retry", "--reason", "the disk is full", &kept.lfn]);
        let what = format!("look {look} with a full disk");
        let row = shift.until_row(&kept.lfn, &what, |row| row.next_attempt > due && braked(row)).await;
        assert_eq!(row.state, State::Confirmed, "{row:#?}");
    }
    assert!(kept.path.exists() && late.path.exists());
    assert!(bad.exists() && trigger_of(&bad).is_symlink());
    // an operator lifts the brake, and that makes room, also for the reason
    fs::remove_file(&switch).unwrap();
    all_delivered_leave(&mut shift).await;
    wait_for_state(&shift.daemon, &shift.stack.lfn(&bad), "rejected").await;
    assert!(!bad.exists() && !trigger_of(&bad).is_symlink());
    drop(ballast);
    shift.end_with_some_on_site().await;
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

/// Rucio's necromancer gives a file up that has no other copy, and the reaper deletes it, whatever rules protect it.
#[tokio::test(flavor = "multi_thread")]
async fn on_site_replicas_that_are_declared_bad_are_taken_back_or_kept_from_the_reaper() {
    let mut shift = Shift::begin().await;
    let stack = shift.stack.clone();
    let onsite = stack.onsite().0.to_owned();
    let submitter = tokio::task::block_in_place(|| stack.without("conveyor-submitter"));
    let reaper = tokio::task::block_in_place(|| stack.without("reaper"));
    let (taken_back, given_up) = (shift.deliver(), shift.deliver());
    for file in [&taken_back, &given_up] {
        wait_for_state(&shift.daemon, &file.lfn, "registered").await;
    }
    let root = stack.root().await;
    // Rucio says of these files that they leave without a copy, which is what must not come true
    let unasked = shift.do_not_ask().await;
    root.declare_bad(&taken_back.lfn, &onsite).await;
    shift.until("the declaration is taken back", |shift| shift.daemon.log().contains("is taken back")).await;
    // this time Rucio is faster than the daemon, which is away
    shift.daemon.kill();
    root.declare_bad(&given_up.lfn, &onsite).await;
    stack.ctl(&["once", "necromancer"]);
    shift.daemon.run();
    let held = shift.until_row(&given_up.lfn, "held", |row| row.reason_code.is_some()).await;
    assert_eq!(held.reason_code.as_deref(), Some("unprotected"), "{held:#?}");
    drop(unasked);
    tokio::task::block_in_place(|| drop(reaper));
    // Rucio's administrators undo what its interface cannot
    let undo = format!("UPDATE dids SET availability = 'A' WHERE scope = 'acada' AND name = '{}'", given_up.lfn);
    assert_eq!(stack.database(&undo), 1);
    shift.operate(&["breaker", "reset", "--reason", "it was declared bad by mistake"]);
    shift.operate(&["retry", &given_up.lfn, "--reason", "Rucio has it again"]);
    tokio::task::block_in_place(|| drop(submitter));
    shift.end().await;
}
