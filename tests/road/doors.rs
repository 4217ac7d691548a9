//! One storage behind two doors is one copy.

use dl0_ingest::custody::State;
use dl0_ingest::ledger::FileRow;
use dl0_ingest::names::Did;
use rucio_miniature::RseOptions;

use crate::road::DELETION_ON;
use crate::testkit::fixture;
use crate::testkit::site::Site;

/// STORAGE-`number` at `site` is another door to the directory of STORAGE-`of`.
async fn with_door(number: u32, of: u32, site: &str) -> Site {
    Site::with(DELETION_ON, |options| {
        options.rses.retain(|rse| rse.name != format!("STORAGE-{number}"));
        let attributes = [("OFFSITE".to_owned(), "True".to_owned()), ("site".to_owned(), site.to_owned())].into();
        let directory = options.root.join(format!("storage-{of}"));
        options.rses.push(RseOptions { name: format!("STORAGE-{number}"), directory, attributes });
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_doors_on_one_directory_are_one_copy_and_no_file_is_released_for_them() {
    let site = with_door(3, 2, "CSCS").await;
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    let waits = |row: &FileRow| {
        let why = row.waits_for.as_deref().unwrap_or_default();
        !matches!(row.state, State::Held | State::Releasing) && why.contains("1 site(s)")
    };
    let row = site.until_row(&lfn, waits).await;
    assert!(site.path("a.fits.fz").exists());
    let ledger = dl0_ingest::ledger::Ledger::open_read_only(&site.ledger_file()).await.unwrap();
    let same = ledger.same_storages().await.unwrap();
    assert!(
        same.iter().any(|((one, other), why)| one == "STORAGE-2" && other == "STORAGE-3" && why.contains(&row.lfn))
    );
    assert!(ledger.breaker().await.unwrap().is_none());
    ledger.close().await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_third_data_centre_the_second_copy_goes_there() {
    let site = Site::with(DELETION_ON, |options| {
        let attributes =
            |site: &str| [("OFFSITE".to_owned(), "True".to_owned()), ("site".to_owned(), site.to_owned())].into();
        let door = RseOptions {
            name: "STORAGE-4".to_owned(),
            directory: options.root.join("storage-2"),
            attributes: attributes("DESY"),
        };
        options.rses.push(door);
    })
    .await;
    let daemon = site.start();
    // wherever the first copies go
    for number in 0..4 {
        let lfn = site.deliver(&format!("{number}.fits.fz"), &fixture("SUBARRAY"));
        site.until_state(&lfn, State::Released).await;
        let there = site.rucio.replicas(&Did::new("acada", &lfn));
        assert!(there.contains_key("STORAGE-3"), "the only other storage: {there:?}");
        for storage in [2, 3] {
            assert!(site.storage(storage).join(&lfn[1..]).exists());
        }
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_door_to_the_storage_on_site_is_no_data_centre() {
    let site = with_door(3, 1, "CSCS").await;
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    let waits = |row: &FileRow| {
        let why = row.waits_for.as_deref().unwrap_or_default();
        row.state != State::Held && (why.contains("site") || why.contains("first off-site copy"))
    };
    site.until_row(&lfn, waits).await;
    let seen = || async {
        let ledger = dl0_ingest::ledger::Ledger::open_read_only(&site.ledger_file()).await.unwrap();
        let same = ledger.same_storages().await.unwrap();
        ledger.close().await;
        same.iter().any(|((one, other), _)| one == "STORAGE-1" && other == "STORAGE-3")
    };
    site.until("the door to be found out", seen).await;
    assert!(site.path("a.fits.fz").exists());
    daemon.stop().await;
}
