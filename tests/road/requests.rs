//! How many requests to Rucio the road costs. They are counted, and nothing is timed.

use dl0_ingest::custody::State;
use rucio_miniature::{Endpoint, Outage};

use crate::testkit::deliveries::Fate;
use crate::testkit::fixture;
use crate::testkit::in_process::{InProcess, with_first_copy_only};
use crate::testkit::site::Site;

/// Delivers so many files to each of so many datasets, in ACADA's tree, while Rucio is away; goes on when all are verified, so
/// that it is not the pace of this machine that makes the batches.
async fn backlog(site: &Site, daemon: impl FnOnce() -> InProcess, datasets: usize, files: usize) -> InProcess {
    site.rucio.faults().rucio_down(Outage::Refuse);
    let content = fixture("WEATHER");
    for number in 0..datasets * files {
        let (telescope, day) = (number % datasets / 10, number % datasets % 10);
        let path = format!("ctao/acada/dl0/LST-{telescope}/events/2026/01/{day:02}/{number}.fits");
        site.deliver_for(&path, content.clone(), Fate::Kept);
    }
    let daemon = daemon();
    reached(site, State::Verified, datasets * files).await;
    site.rucio.faults().rucio_up();
    daemon
}

/// Waits until so many files are in a state.
async fn reached(site: &Site, state: State, files: usize) {
    site.until(&format!("{files} files to be {state}"), || async {
        let Ok(ledger) = dl0_ingest::ledger::Ledger::open_read_only(&site.ledger_file()).await else { return false };
        let summary = ledger.summary().await.unwrap();
        ledger.close().await;
        summary.iter().any(|in_state| in_state.state == state && in_state.files == i64::try_from(files).unwrap())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_datasets_of_fifty_files_cost_at_most_one_request_in_twenty_files() {
    let (datasets, files) = (30, 50);
    let site = Site::new("").await;
    // the copies are not looked for meanwhile
    let seldom =
        |text: String| text.replace("replicate: {poll: 50ms, poll_max: 200ms}", "replicate: {poll: 1h, poll_max: 1h}");
    let daemon = backlog(&site, || InProcess::start(site.config_with(seldom)), datasets, files).await;
    reached(&site, State::Registered, datasets * files).await;
    // login and first-copy rules included
    let asked = site.rucio.requests();
    assert!(asked.values().sum::<u64>() * 20 <= (datasets * files) as u64, "{asked:#?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_at_a_file_that_waits_for_its_copies_do_not_ask_for_the_data_centres_each_time() {
    let site = Site::new("confirm: {hold: 200ms, poll: 50ms, poll_max: 50ms}\n").await;
    let (daemon, _) = with_first_copy_only(&site, "a.fits.fz").await;
    let asked = |endpoint| site.rucio.requests().get(&endpoint).copied().unwrap_or(0);
    let (looks, sites) = (asked(Endpoint::Replicas), asked(Endpoint::RseAttributes));
    site.until("twenty looks", || async { asked(Endpoint::Replicas) >= looks + 20 }).await;
    // of three RSEs, once: a minute may end meanwhile
    let sites = asked(Endpoint::RseAttributes) - sites;
    assert!(sites <= 3, "{sites}");
    daemon.stop().await;
}
