//! Somebody changes a file on site and sets its modification time back, or touches it in a way that changes no content.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{Seek, SeekFrom, Write};

use dl0_ingest::custody::State;

use crate::road::{DELETION_ON, DRY_RUN};
use crate::testkit::in_process::confirmed_in_a_dry_run;
use crate::testkit::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn bytes_overwritten_in_place_under_their_old_time_stamp_are_not_released_away() {
    let site = Site::new(DRY_RUN).await;
    let lfn = confirmed_in_a_dry_run(&site, "a.fits.fz").await.lfn;
    let path = site.path("a.fits.fz");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(100)).unwrap();
    file.write_all(b"x").unwrap();
    file.set_times(FileTimes::new().set_modified(modified)).unwrap();
    drop(file);
    site.end_with(DELETION_ON);
    let daemon = site.start();
    let row = site.until_state(&lfn, State::Held).await;
    assert_eq!(row.reason_code.as_deref(), Some("changed"), "{row:#?}");
    assert!(row.reason.unwrap().contains("overwritten in place"));
    assert!(path.exists());
    daemon.stop().await;
}

/// Rucio does so with an on-site replica that was declared bad, and people with `cp --preserve=timestamps` or without.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_put_there_again_is_judged_by_its_content() {
    for (content, state) in [("the same", State::Released), ("other", State::Held)] {
        let site = Site::new(DRY_RUN).await;
        let lfn = confirmed_in_a_dry_run(&site, "a.fits.fz").await.lfn;
        let path = site.path("a.fits.fz");
        let mut bytes = fs::read(&path).unwrap();
        if content == "other" {
            bytes[100] ^= 1;
        }
        fs::write(site.root().join("again"), bytes).unwrap();
        fs::rename(site.root().join("again"), &path).unwrap();
        site.end_with(DELETION_ON);
        let daemon = site.start();
        let row = site.until_state(&lfn, state).await;
        assert_eq!(row.reason_code.as_deref(), (state == State::Held).then_some("changed"), "{row:#?}");
        assert_eq!(path.exists(), state == State::Held);
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_only_touched_is_read_again_once_and_released() {
    let site = Site::new(DRY_RUN).await;
    let lfn = confirmed_in_a_dry_run(&site, "a.fits.fz").await.lfn;
    let path = site.path("a.fits.fz");
    // as backups do
    fs::hard_link(&path, site.root().join("linked")).unwrap();
    site.end_with(DELETION_ON);
    let daemon = site.start();
    let row = site.until_state(&lfn, State::Released).await;
    daemon.stop().await;
    let ledger = dl0_ingest::ledger::Ledger::open_read_only(&site.ledger_file()).await.unwrap();
    let events = ledger.events(&row).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == "read-again").count(), 1);
    ledger.close().await;
    assert!(File::open(site.root().join("linked")).is_ok());
}
