//! Datasets and containers: what a file needs of them, and what is done when it cannot have it.

use dl0_ingest::custody::State;
use dl0_ingest::ledger::FileRow;
use dl0_ingest::names::Did;
use rucio_client::{DidKind, DidStatus};
use rucio_miniature::Outage;

use crate::road::reconcile::sources;
use crate::testkit::deliveries::{Delivery, Fate};
use crate::testkit::fixture;
use crate::testkit::site::{DAY, Site};

fn deliver(site: &Site, path: &str) -> Delivery {
    site.deliver_for(&format!("{DAY}{path}"), fixture("SUBARRAY"), Fate::Kept)
}

/// What Rucio has under a name below the usual directory.
async fn in_rucio(site: &Site, path: &str) -> Option<DidStatus> {
    let did = Did::new("acada", format!("/{DAY}{path}"));
    sources(site, None).rucio.did_statuses(std::slice::from_ref(&did)).await.unwrap().remove(&did)
}

async fn kind_in_rucio(site: &Site, path: &str) -> Option<DidKind> {
    in_rucio(site, path).await.map(|status| status.kind)
}

async fn registered(site: &Site, delivery: &Delivery) {
    site.until_row(&delivery.lfn(), |row| row.state >= State::Registered && row.state < State::Rejected).await;
}

/// Held at its first attempt, with its trigger and its data where they are.
async fn held_at_once(site: &Site, delivery: &Delivery) -> FileRow {
    let row = site.until_row(&delivery.lfn(), |row| row.state == State::Held || row.attempts > 0).await;
    assert_eq!((row.state, row.reason_code.as_deref()), (State::Held, Some("name-taken")), "{:?}", row.waits_for);
    assert!(site.data().join(&delivery.path).exists());
    row
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_below_a_dataset_is_held_at_once_and_nothing_is_made_for_it() {
    let site = Site::new("").await;
    let daemon = site.start();
    registered(&site, &deliver(&site, "/A")).await;
    let below = deliver(&site, "/x/y/z/B");
    let row = held_at_once(&site, &below).await;
    assert!(row.reason.unwrap().contains("01/01 as a dataset"));
    for path in ["/x", "/x/y", "/x/y/z"] {
        assert_eq!(in_rucio(&site, path).await, None, "{path}");
    }
    registered(&site, &deliver(&site, "/C")).await;
    daemon.stop().await;
    let daemon = site.start();
    registered(&site, &deliver(&site, "/D")).await;
    held_at_once(&site, &below).await;
    assert_eq!(in_rucio(&site, "/x").await, None);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_a_directory_that_is_a_container_is_held_at_once_before_and_after_a_restart() {
    let site = Site::new("").await;
    let daemon = site.start();
    registered(&site, &deliver(&site, "/x/y/z/B")).await;
    let above = deliver(&site, "/A");
    let row = held_at_once(&site, &above).await;
    assert!(row.reason.unwrap().contains("01/01 as a container"));
    assert_eq!(kind_in_rucio(&site, "").await, Some(DidKind::Container));
    assert_eq!(in_rucio(&site, "/A").await, None);
    daemon.stop().await;
    let daemon = site.start();
    let (other, further) = (deliver(&site, "/x/y/z/C"), deliver(&site, "/x/D"));
    registered(&site, &other).await;
    held_at_once(&site, &further).await;
    held_at_once(&site, &above).await;
    daemon.stop().await;
}

/// The ledger knows nothing of what is there, and files are tried together.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_new_files_that_exclude_each_other_one_is_registered_and_the_others_of_their_batch_too() {
    let site = Site::new("").await;
    site.rucio.faults().rucio_down(Outage::Refuse);
    let daemon = site.start();
    let two = [deliver(&site, "/x/y/z/B"), deliver(&site, "/A")];
    let others = ["/x/y/z/C", "/x/y/v/D"].map(|path| deliver(&site, path));
    for delivery in two.iter().chain(&others) {
        site.until_state(&delivery.lfn(), State::Verified).await;
    }
    site.rucio.faults().rucio_up();
    let is_decided = |row: &FileRow| row.state == State::Held || row.state >= State::Registered;
    let mut states = Vec::new();
    for delivery in &two {
        states.push(site.until_row(&delivery.lfn(), is_decided).await.state);
    }
    let (held, gone_on): (Vec<_>, Vec<_>) = two.iter().zip(states).partition(|(_, state)| *state == State::Held);
    assert_eq!((held.len(), gone_on.len()), (1, 1));
    let held = held_at_once(&site, held[0].0).await;
    // those that need the same as the held one are held with it
    let dataset_stands = kind_in_rucio(&site, "").await == Some(DidKind::Dataset);
    for other in &others {
        if dataset_stands {
            held_at_once(&site, other).await;
        } else {
            registered(&site, other).await;
        }
    }
    assert_eq!(in_rucio(&site, "/x").await.is_some(), !dataset_stands, "{:?}", held.reason);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_closed_dataset_says_how_to_reopen_it_and_goes_on_when_it_is_open() {
    let site = Site::new("").await;
    let daemon = site.start();
    let first = deliver(&site, "/A");
    registered(&site, &first).await;
    site.rucio.set_open(&first.dataset(), false);
    let late = deliver(&site, "/B");
    let row = site.until_row(&late.lfn(), |row| row.state == State::Held || row.attempts > 0).await;
    assert_eq!(
        (row.state, row.reason_code.as_deref()),
        (State::Held, Some("closed-collection")),
        "{:?}",
        row.waits_for
    );
    let why = site.say(&["why", &late.lfn()]).out;
    assert!(why.contains("as closed") && why.contains("rucio did update --open SCOPE:NAME"), "{why}");
    site.rucio.set_open(&first.dataset(), true);
    assert_eq!(site.say(&["retry", "--reason", "reopened", &late.lfn()]).code, 0);
    registered(&site, &late).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_scope_that_rucio_lacks_say_so_and_keep_no_others_waiting() {
    let site = Site::new("").await;
    site.rucio.faults().rucio_down(Outage::Refuse);
    let daemon = site.start();
    let lacking =
        ["a", "b"].map(|name| site.deliver_for(&format!("ctao/nowhere/dl0/x/{name}"), fixture("SUBARRAY"), Fate::Kept));
    let other = deliver(&site, "/A");
    for delivery in lacking.iter().chain([&other]) {
        site.until_state(&delivery.lfn(), State::Verified).await;
    }
    site.rucio.faults().rucio_up();
    registered(&site, &other).await;
    for delivery in &lacking {
        let row = site.until_row(&delivery.lfn(), |row| row.attempts > 0).await;
        assert!(row.waits_for.unwrap().contains("rucio scope add nowhere --account ingest"));
        assert_eq!(row.state, State::Verified);
    }
    daemon.stop().await;
}
