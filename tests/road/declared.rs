//! Somebody, or one of Rucio's own tools, declares an on-site replica bad. Rucio takes that for the truth; the file decides.

use std::fs;

use dl0_ingest::custody::{State, UnderItsName};
use dl0_ingest::ledger::{FileRow, Operator, Retried};
use dl0_ingest::names::Did;
use rucio_miniature::{Daemon, ReplicaState};

use crate::road::DELETION_ON;
use crate::road::reconcile::sources;
use crate::testkit::fixture;
use crate::testkit::in_process::InProcess;
use crate::testkit::site::Site;

const ONSITE: &str = "STORAGE-1";

/// A registered file that has no other copy, and nothing is deleted for now.
async fn with_the_only_copy_on_site(site: &Site) -> (InProcess, FileRow, Did) {
    for daemon in [Daemon::Conveyor, Daemon::Reaper] {
        site.rucio.faults().pause(daemon);
    }
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    let row = site.until_row(&lfn, |row| row.state == State::Registered && !row.trigger_pending).await;
    (daemon, row, Did::new("acada", &lfn))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_that_a_sound_file_on_site_is_bad_is_taken_back() {
    let site = Site::new(DELETION_ON).await;
    let (daemon, row, did) = with_the_only_copy_on_site(&site).await;
    site.rucio.declare_bad(&did, ONSITE);
    while site.rucio.replicas(&did).get(ONSITE) != Some(&ReplicaState::Available) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    site.rucio.bury_the_bad();
    for daemon in [Daemon::Conveyor, Daemon::Reaper] {
        site.rucio.faults().resume(daemon);
    }
    site.until_state(&row.lfn, State::Released).await;
    daemon.stop().await;
}

/// Rucio was faster than the daemon, which was away.
#[tokio::test(flavor = "multi_thread")]
async fn a_sound_file_that_rucio_gave_up_as_lost_is_kept_from_the_reaper_and_held() {
    let site = Site::new(DELETION_ON).await;
    let (daemon, row, did) = with_the_only_copy_on_site(&site).await;
    daemon.stop().await;
    site.rucio.declare_bad(&did, ONSITE);
    site.rucio.bury_the_bad();
    let rucio = sources(&site, None).rucio;
    let void = rucio.rule(row.on_site_rule.as_ref().unwrap()).await.unwrap();
    assert_eq!((void.expires_at, void.locks_ok), (None, 0), "the rule stands, and holds nothing");
    let daemon = site.start();
    let held = site.until_state(&row.lfn, State::Held).await;
    assert_eq!(held.reason_code.as_deref(), Some("unprotected"));
    let rule = held.on_site_rule.unwrap();
    assert!(held.reason.unwrap().contains(&format!("LOST; it is on site as it was verified, and rule {rule} keeps")));
    for daemon in [Daemon::Conveyor, Daemon::Reaper] {
        site.rucio.faults().resume(daemon);
    }
    // a file that goes its road shows that the reaper has come by
    let ledger = site.operator().await;
    let ada = Operator { who: "ada (uid 1000)".to_owned(), reason: "I have looked".to_owned() };
    ledger.reset_breaker(&ada).await.unwrap();
    site.until_state(&site.deliver("b.fits.fz", &fixture("MUON")), State::Released).await;
    assert!(site.path("a.fits.fz").exists());
    // whoever has mended Rucio's database sends it on its road again
    site.rucio.undo_loss(&did);
    let held = ledger.by_lfn(&row.lfn).await.unwrap().unwrap();
    let retried = ledger.retry(&held, &ada, UnderItsName::Itself).await.unwrap();
    assert_eq!(retried, Retried::BackTo(State::Verified));
    site.until_state(&row.lfn, State::Released).await;
    assert!(!site.path("a.fits.fz").exists(), "the second rule does not keep it");
    ledger.close().await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_on_site_that_was_declared_bad_rightly_is_held() {
    let site = Site::new(DELETION_ON).await;
    let (daemon, row, did) = with_the_only_copy_on_site(&site).await;
    let mut content = fixture("SUBARRAY");
    content[100] ^= 1;
    fs::write(site.path("a.fits.fz"), content).unwrap();
    site.rucio.declare_bad(&did, ONSITE);
    let held = site.until_state(&row.lfn, State::Held).await;
    assert_eq!(held.reason_code.as_deref(), Some("changed"));
    let reason = held.reason.unwrap();
    assert!(
        reason.starts_with("its replica at STORAGE-1 was declared bad, and the file on site differs: "),
        "{reason}"
    );
    assert_eq!(site.rucio.replicas(&did).get(ONSITE), Some(&ReplicaState::Bad));
    daemon.stop().await;
}
