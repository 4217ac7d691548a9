//! Copies at the data centres: they do not come, come badly, rot and vanish.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use rand::RngExt as _;

use crate::e2e::acada::{Delivery, digest};
use crate::e2e::outcome::wait_for_state;
use crate::e2e::shift::Shift;

#[tokio::test(flavor = "multi_thread")]
async fn files_wait_while_both_data_centres_are_down_and_flow_again_when_they_are_back() {
    let mut shift = Shift::begin().await;
    shift.deliver_some(3, Duration::from_secs(2)).await;
    let stack = shift.stack.clone();
    let services: Vec<&str> = stack.offsite().map(|(_, storage)| storage.service.as_str()).collect();
    let outages: Vec<_> =
        tokio::task::block_in_place(|| services.iter().map(|service| stack.without(service)).collect());
    assert_eq!(outages.len(), 2);
    let waiting: Vec<Delivery> = (0..3).map(|_| shift.deliver()).collect();
    for file in &waiting {
        wait_for_state(&shift.daemon, &file.lfn, "registered").await;
    }
    tokio::time::sleep(Duration::from_secs(15)).await;
    shift.nobody_is_blamed();
    for file in &waiting {
        let why = shift.daemon.why(&file.lfn);
        assert!(why.contains("the first off-site copy"), "{why}");
        assert!(
            stack.offsite().all(|(_, storage)| !storage.path(&file.lfn).exists()),
            "it was copied to where nobody is"
        );
    }
    tokio::task::block_in_place(|| drop(outages));
    shift.end().await;
}

/// Rucio tries four times, and its repairer after that; the daemon waits, and both copies are right in the end.
#[tokio::test(flavor = "multi_thread")]
async fn with_three_transfers_of_ten_failing_every_file_gets_its_copies() {
    let mut shift = Shift::begin().await;
    let seed = rand::rng().random_range(0..1_000_000);
    println!("transfers fail with seed {seed}");
    let stack = shift.stack.clone();
    let before = stack.failed_transfers();
    let failing = stack.failing_transfers(30, seed);
    shift.deliver_some(16, Duration::from_millis(300)).await;
    shift
        .until("every file has both copies", |shift| {
            shift.delivered().iter().all(|delivery| {
                shift.stack.offsite().all(|(_, storage)| is_copy(&storage.path(&delivery.lfn), delivery))
                    || delivery.path.symlink_metadata().is_err()
            })
        })
        .await;
    let failed = stack.failed_transfers() - before;
    assert!(failed > 0, "none of at least 32 transfers was made to fail");
    println!("{failed} transfers were made to fail");
    drop(failing);
    shift.end().await;
}

/// The storage's remembered adler32 is that of the transfer, and the time stamp is the old one: a checksum that the storage
/// was not asked for before comes from the bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_corrupted_under_its_old_time_stamp_is_found_before_the_first_look() {
    let mut shift = Shift::begin().await;
    let file = shift.deliver();
    shift.until_available(&file.lfn, 1).await;
    let stack = shift.stack.clone();
    // the second copy arrives, and Rucio does not say so yet
    let finisher = tokio::task::block_in_place(|| stack.without("conveyor-finisher"));
    let copies: Vec<_> = stack.offsite().map(|(_, storage)| storage.path(&file.lfn)).collect();
    shift.until("both copies have come", |_| copies.iter().all(|copy| is_copy(copy, &file))).await;
    shift.until_available(&file.lfn, 1).await;
    corrupt(&copies[0]);
    tokio::task::block_in_place(|| drop(finisher));

    wait_for_state(&shift.daemon, &file.lfn, "held").await;
    let why = shift.daemon.why(&file.lfn);
    assert!(why.contains("states crc32c") && why.contains("the file on site has"), "{why}");
    kept_for_good(shift, &file).await;
}

/// A copy whose bytes change after its transfer was verified is no evidence, whatever Rucio says.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotten_copy_keeps_the_file_on_site() {
    let mut shift = Shift::begin().await;
    let file = shift.deliver();
    shift.until_available(&file.lfn, 1).await;
    shift.stack.fault(r#"{"rot_next": 1}"#);
    shift.until_available(&file.lfn, 2).await;
    let rotten = shift.stack.offsite().filter(|(_, storage)| !is_copy(&storage.path(&file.lfn), &file));
    assert_eq!(rotten.count(), 1, "one copy is rotten, or this shows nothing");
    wait_for_state(&shift.daemon, &file.lfn, "held").await;
    let why = shift.daemon.why(&file.lfn);
    assert!(why.contains("the file on site has"), "{why}");
    shift.until("the breaker", |shift| shift.daemon.measures("dl0_ingest_release_breaker_open 1")).await;
    kept_for_good(shift, &file).await;
}

/// Between the two looks a copy goes: the release does not happen, nothing else is released either until an operator has
/// looked, and once the copy is back the file goes its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_vanishes_after_it_was_proven_keeps_the_file_until_an_operator_has_mended_it() {
    let mut shift = Shift::begin().await;
    let file = shift.deliver();
    shift.until("the first look", |shift| shift.daemon.log().contains("off-site copies proven, first look")).await;
    a_copy_vanishes_and_is_mended(shift, file, || {}).await;
}

/// The same after both looks, when nothing but a brake keeps the file on site.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_vanishes_after_its_file_was_confirmed_keeps_the_file_until_an_operator_has_mended_it() {
    let mut shift = Shift::begin().await;
    let switch = shift.daemon.kill_switch();
    std::fs::write(&switch, "until a copy is lost").unwrap();
    let file = shift.deliver();
    shift.until_all("confirmed").await;
    shift.until("the brake", |shift| shift.daemon.why(&file.lfn).contains("until a copy is lost")).await;
    a_copy_vanishes_and_is_mended(shift, file, || std::fs::remove_file(&switch).unwrap()).await;
}

async fn a_copy_vanishes_and_is_mended(mut shift: Shift, file: Delivery, then: impl FnOnce()) {
    let copy = shift.stack.offsite().next().map(|(_, storage)| storage.path(&file.lfn)).unwrap();
    let bytes = std::fs::read(&copy).unwrap();
    std::fs::remove_file(&copy).unwrap();
    then();

    wait_for_state(&shift.daemon, &file.lfn, "held").await;
    let why = shift.daemon.why(&file.lfn);
    assert!(why.contains("the storage has no such file"), "{why}");
    shift.until("the metrics tell it", |shift| shift.daemon.measures("dl0_ingest_release_breaker_open 1")).await;
    let other = shift.deliver();
    kept(&mut shift, &file).await;
    assert_ne!(shift.daemon.states()[&other.lfn], "released", "nothing is released while the breaker is open");

    std::fs::write(&copy, bytes).unwrap();
    for words in [&["retry", "--reason", "copy restored", &file.lfn][..], &["breaker", "reset", "--reason", "mended"]] {
        let output = shift.daemon.command(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    shift.end().await;
}

fn is_copy(path: &Path, delivery: &Delivery) -> bool {
    digest(path).is_ok_and(|digest| digest == delivery.digest)
}

/// Changes a byte in the middle and leaves the time stamp as it was.
fn corrupt(path: &Path) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let (modified, middle) = (file.metadata().unwrap().modified().unwrap(), file.metadata().unwrap().len() / 2);
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[!byte[0]], middle).unwrap();
    file.set_modified(modified).unwrap();
}

/// For twice the hold time, the on-site copy stays as it was delivered.
async fn kept(shift: &mut Shift, file: &Delivery) {
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(is_copy(&file.path, file), "the good copy on site is still there");
    assert_eq!(shift.daemon.states()[&file.lfn], "held");
    let states = shift.rucio.replica_states(std::slice::from_ref(&file.lfn)).await.unwrap().remove(&file.lfn).unwrap();
    assert_eq!(states[shift.stack.onsite().0], "AVAILABLE");
}

async fn kept_for_good(mut shift: Shift, file: &Delivery) {
    kept(&mut shift, file).await;
    shift.end_with_all_on_site().await;
}
