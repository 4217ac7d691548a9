//! A reaper that does not reap.

use std::time::Duration;

use crate::e2e::outcome::wait_for_state;
use crate::e2e::shift::Shift;

#[tokio::test(flavor = "multi_thread")]
async fn released_files_wait_while_rucios_reaper_stands_still_and_go_when_it_works_again() {
    let mut shift = Shift::begin().await;
    let stack = shift.stack.clone();
    let pause = tokio::task::block_in_place(|| stack.without("reaper"));
    shift.deliver_some(3, Duration::ZERO).await;
    let files = shift.delivered();
    shift
        .until("all wait for Rucio to delete them", |shift| {
            let states = shift.daemon.states();
            files.iter().all(|file| states.get(&file.lfn).is_some_and(|state| state == "releasing"))
        })
        .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for file in &files {
        assert!(file.path.exists());
        let why = shift.daemon.why(&file.lfn);
        assert!(why.contains("Rucio to delete the on-site copy (replica is Available)"), "{why}");
    }
    tokio::task::block_in_place(|| drop(pause));
    shift.end().await;
}

/// The row goes, the file stays: reported, until the configuration says that the daemon may remove it, which it does on fresh
/// evidence.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_reaper_left_on_disk_is_reported_and_removed_when_the_configuration_says_so() {
    let grace = "leftover_grace: 2s, leftover: report";
    let with_grace = |text: String| text.replace("deletion: on,", &format!("deletion: on, {grace},"));
    let mut shift = Shift::with_configuration(with_grace).await;
    let stack = shift.stack.clone();
    let reaper = tokio::task::block_in_place(|| stack.without("reaper"));
    let file = shift.deliver();
    wait_for_state(&shift.daemon, &file.lfn, "releasing").await;
    // the intent alone deletes nothing
    shift.until_row(&file.lfn, "its rule ends", |row| row.release_ordered_at.is_some()).await;
    // the same file under another name, so that the reaper removes a name only
    let kept = file.path.with_extension("kept");
    std::fs::hard_link(&file.path, &kept).unwrap();
    shift.daemon.kill();
    tokio::task::block_in_place(|| drop(reaper));
    let lfns = [file.lfn.clone()];
    let begun = std::time::Instant::now();
    while shift.rucio.replica_states(&lfns).await.unwrap()[&file.lfn].contains_key(stack.onsite().0) {
        assert!(begun.elapsed() < Duration::from_mins(3), "the reaper does not reap");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    std::fs::rename(&kept, &file.path).unwrap();
    shift.daemon.run();
    shift.until("it is reported", |shift| shift.daemon.log().contains("it is still on disk")).await;
    assert!(file.path.exists());
    shift.daemon.reload(|text| text.replace("leftover: report", "leftover: remove"));
    shift.end().await;
}
