//! An operator asks for more copies, or Rucio has other data centres: a decision, which holds nothing and stops nothing.

use std::collections::BTreeSet;
use std::fs;

use dl0_ingest::custody::State;
use dl0_ingest::ledger::{FileRow, Ledger};
use dl0_ingest::names::Did;
use rucio_miniature::{Options, RseOptions};

use crate::road::{DELETION_ON, DRY_RUN};
use crate::testkit::fixture;
use crate::testkit::in_process::confirmed_in_a_dry_run;
use crate::testkit::site::Site;

/// A storage more at a site.
fn add(options: &mut Options, number: u32, site: &str) {
    let name = format!("STORAGE-{number}");
    let attributes = [("OFFSITE".to_owned(), "True".to_owned()), ("site".to_owned(), site.to_owned())];
    let directory = options.root.join(format!("storage-{number}"));
    options.rses.push(RseOptions { name, directory, attributes: attributes.into() });
}

/// A site with a third data centre.
async fn with_three(extra: &str) -> Site {
    Site::with(extra, |options| add(options, 4, "DESY")).await
}

fn sites_of(site: &Site, lfn: &str) -> BTreeSet<String> {
    let at = |rse: &str| match rse {
        "STORAGE-2" => "PIC".to_owned(),
        "STORAGE-3" => "CSCS".to_owned(),
        _ => "DESY".to_owned(),
    };
    let there = site.rucio.replicas(&Did::new("acada", lfn));
    there.keys().map(String::as_str).filter(|rse| *rse != "STORAGE-1").map(at).collect()
}

async fn breaker_is_closed(site: &Site) -> bool {
    let ledger = Ledger::open_read_only(&site.ledger_file()).await.unwrap();
    let open = ledger.breaker().await.unwrap();
    ledger.close().await;
    open.is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn proven_files_get_the_copies_that_are_required_since_and_none_is_held() {
    let site = with_three(DRY_RUN).await;
    let row = confirmed_in_a_dry_run(&site, "a.fits.fz").await;
    assert_eq!(sites_of(&site, &row.lfn).len(), 2);
    site.change("  expression: OFFSITE\n", "  expression: OFFSITE\n  copies: 3\n");
    site.change(DRY_RUN, DELETION_ON);
    let daemon = site.start();
    let released = site.until_state(&row.lfn, State::Released).await;
    assert_eq!(sites_of(&site, &row.lfn), ["CSCS", "DESY", "PIC"].map(str::to_owned).into());
    assert!(breaker_is_closed(&site).await);
    assert!(released.earlier_further_copies_rule.is_some(), "{released:#?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_copies_go_to_three_sites_though_one_of_them_has_two_storages() {
    let site = Site::with(DELETION_ON, |options| {
        add(options, 4, "DESY");
        add(options, 5, "DESY");
        add(options, 6, "DESY");
    })
    .await;
    site.change("  expression: OFFSITE\n", "  expression: OFFSITE\n  copies: 3\n");
    let daemon = site.start();
    for name in ["a.fits.fz", "b.fits.fz", "c.fits.fz"] {
        let lfn = site.deliver(name, &fixture("SUBARRAY"));
        site.until_state(&lfn, State::Released).await;
        let copies = site.rucio.replicas(&Did::new("acada", &lfn));
        assert_eq!((copies.len(), sites_of(&site, &lfn).len()), (3, 3), "{copies:?}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_centre_that_leaves_the_expression_holds_nothing_and_another_takes_its_place() {
    let site = with_three(DRY_RUN).await;
    let row = confirmed_in_a_dry_run(&site, "a.fits.fz").await;
    let has = site.rucio.replicas(&row.did());
    for leaving in has.keys().filter(|rse| *rse != "STORAGE-1") {
        let site = with_three(DRY_RUN).await;
        let row = confirmed_in_a_dry_run(&site, "a.fits.fz").await;
        if !site.rucio.replicas(&row.did()).contains_key(leaving) {
            continue;
        }
        site.rucio.set_attribute(leaving, "OFFSITE", None);
        site.end_with(DELETION_ON);
        let daemon = site.start();
        site.until_state(&row.lfn, State::Released).await;
        let there = site.rucio.replicas(&row.did());
        let counted = there.keys().filter(|rse| *rse != leaving).count();
        assert_eq!(counted, 2, "{leaving} has left, and {there:?}");
        assert!(breaker_is_closed(&site).await);
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_cannot_be_had_are_reported_with_their_numbers_and_wait() {
    let site = Site::new(DELETION_ON).await;
    fs::write(site.kill_switch(), "until a data centre has left").unwrap();
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    let stopped = |row: &FileRow| row.waits_for.as_deref().is_some_and(|why| why.contains("until a data centre"));
    site.until_row(&lfn, stopped).await;
    site.rucio.set_attribute("STORAGE-3", "OFFSITE", None);
    fs::remove_file(site.kill_switch()).unwrap();
    let waits = |row: &FileRow| {
        let why = row.waits_for.as_deref().unwrap_or_default();
        row.state == State::Confirmed && (why.contains("1 site(s)") || why.contains("1 of 2 sites"))
    };
    site.until_row(&lfn, waits).await;
    assert!(breaker_is_closed(&site).await);
    site.rucio.set_attribute("STORAGE-3", "OFFSITE", Some("True"));
    site.until_state(&lfn, State::Released).await;
    daemon.stop().await;
}
