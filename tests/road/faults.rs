//! Faults of Rucio that are quick to have here and slow or impossible on a real one.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use dl0_ingest::custody::State;
use dl0_ingest::embedded::{Answer, Event};
use rand::RngExt as _;

use crate::DELETION_ON;
use crate::site::{self, Site, fixture};

fn wished(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// The row is dropped, the file left: told as an error, and nothing is done without the operator's wish.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_reaper_left_on_disk_is_reported_until_somebody_removes_it() {
    let grace = DELETION_ON.replace("deletion: on", "deletion: on, leftover_grace: 300ms");
    let site = Site::new(&grace).await;
    site.rucio.faults().leave_files(true);
    let daemon = site.start();
    let content = fixture("SUBARRAY");
    let lfn = site.deliver("a.fits.fz", &content);
    let told = "Rucio says the on-site copy is deleted, it is still on disk; remove it or set release.leftover";
    let row = site.until_row(&lfn, |row| row.waits_for.as_deref() == Some(told)).await;
    assert_eq!(row.state, State::Releasing);
    assert_eq!(fs::read(site.path("a.fits.fz")).unwrap(), content);
    fs::remove_file(site.path("a.fits.fz")).unwrap();
    site.until(&lfn, State::Released).await;
    daemon.stop().await;
}

/// As `tests/e2e` does it on a real Rucio, with more files in less time: `DL0_INGEST_FAULT_SECONDS` of deliveries.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_fifth_of_all_answers_goes_wrong_every_file_of_a_stream_takes_its_road() {
    let seed = wished("DL0_INGEST_FAULT_SEED").unwrap_or_else(|| rand::rng().random());
    let lasts = Duration::from_secs(wished("DL0_INGEST_FAULT_SECONDS").unwrap_or(10));
    println!("DL0_INGEST_FAULT_SEED={seed}, for {} s", lasts.as_secs());
    let site = Site::new(DELETION_ON).await;
    let ways = [
        Answer::Refuse { status: 500, class: "DatabaseException", message: "away" },
        Answer::Status(500),
        Answer::Status(503),
        Answer::Garbage,
        Answer::Truncated,
        Answer::Lost,
        Answer::HangUp,
        Answer::Delay(Duration::from_millis(300)),
        // longer than the daemon waits
        Answer::Delay(Duration::from_secs(2)),
    ];
    site.rucio.faults().answers_percent(20, seed, &ways);
    let impatient =
        |text: String| text.replace("  account: ingest\n", "  account: ingest\n  timeout: 1s\n  connect_timeout: 1s\n");
    let daemon = site::Daemon::start(site.config_with(impatient));
    let contents = ["CAL", "MUON", "SUBARRAY"].map(fixture);
    let (mut lfns, end) = (Vec::new(), Instant::now() + lasts);
    while Instant::now() < end {
        lfns.push(site.deliver(&format!("{}.fits.fz", lfns.len()), &contents[lfns.len() % 3]));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for lfn in &lfns {
        site.until(lfn, State::Released).await;
    }
    daemon.stop().await;
    for (number, lfn) in lfns.iter().enumerate() {
        for storage in [2, 3] {
            assert_eq!(fs::read(site.storage(storage).join(&lfn[1..])).unwrap(), contents[number % 3], "{lfn}");
        }
    }
    assert_in_order(&site, &lfns);
    let spoilt: u64 = site.rucio.faults().spoilt().values().sum();
    println!("{} files, {spoilt} answers spoilt", lfns.len());
    assert!(spoilt > 10);
}

/// By Rucio's own account: one rule B and one rule C for each file, and no file deleted before it had two copies.
fn assert_in_order(site: &Site, lfns: &[String]) {
    let mut rules: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    for entry in site.rucio.history() {
        match entry.event {
            Event::RulePlaced { did, rse_expression, .. } => rules.entry(did.name).or_default().push(rse_expression),
            Event::Available { did, .. } => *copies.entry(did.name).or_default() += 1,
            Event::FileDeleted { did, rse } => {
                assert_eq!((rse.as_str(), copies.get(&did.name)), ("STORAGE-1", Some(&2)), "{did}");
            }
            _ => {}
        }
    }
    for lfn in lfns {
        let (on_site, off_site): (Vec<_>, Vec<_>) = rules[lfn].iter().partition(|rse| *rse == "STORAGE-1");
        assert_eq!((on_site.len(), off_site.len()), (1, 1), "{lfn}: {rules:?}", rules = rules[lfn]);
    }
}
