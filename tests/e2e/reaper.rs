//! A reaper that does not reap.

use std::time::Duration;

use crate::shift::Shift;

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
