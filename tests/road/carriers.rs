//! Rucio removes a file or dataset at its end with all its rules: what they hold proves nothing then.

use dl0_ingest::custody::State;
use dl0_ingest::names::Did;
use rucio_miniature::{Daemon, ReplicaState};

use crate::road::{DELETION_ON, DRY_RUN};
use crate::testkit::in_process::{confirmed_in_a_dry_run, with_first_copy_only};
use crate::testkit::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_stays_on_site_while_it_or_its_dataset_has_an_end_in_rucio() {
    for of_the_dataset in [true, false] {
        let site = Site::new(DELETION_ON).await;
        let (daemon, row) = with_first_copy_only(&site, "a.fits.fz").await;
        let ending = if of_the_dataset { row.dataset_did() } else { row.did() };
        site.rucio.give_end(&ending, Some(3600.0));
        site.rucio.faults().resume(Daemon::Conveyor);
        let waits = |row: &dl0_ingest::ledger::FileRow| {
            let reason = row.waits_for.as_deref().unwrap_or_default();
            reason.contains(&ending.to_string()) && reason.contains("at its end")
        };
        let waiting = site.until_row(&row.lfn, waits).await;
        assert_eq!(waiting.state, State::Replicated);
        // all copies are there, and none is proven
        assert!(site.rucio.replicas(&row.did()).values().all(|state| *state == ReplicaState::Available));
        site.rucio.give_end(&ending, None);
        site.until_state(&row.lfn, State::Released).await;
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_file_whose_dataset_gets_an_end_is_neither_released_nor_held() {
    let site = Site::new(DRY_RUN).await;
    let row = confirmed_in_a_dry_run(&site, "a.fits.fz").await;
    let lfn = row.lfn.clone();
    site.rucio.give_end(&row.dataset_did(), Some(3600.0));
    site.end_with(DELETION_ON);
    let daemon = site.start();
    let waits =
        |row: &dl0_ingest::ledger::FileRow| row.waits_for.as_deref().is_some_and(|why| why.contains("at its end"));
    assert_eq!(site.until_row(&lfn, waits).await.state, State::Confirmed);
    site.rucio.give_end(&row.dataset_did(), None);
    site.until_state(&lfn, State::Released).await;
    daemon.stop().await;
    assert!(!site.rucio.replicas(&Did::new("acada", &lfn)).contains_key("STORAGE-1"));
}
