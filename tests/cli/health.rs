//! What a daemon says of itself when it cannot do its work, at each place where it says it.

use dl0_ingest::custody::State;
use rucio_miniature::{Daemon as Part, Event, Outage};

use crate::testkit::command::ask;
use crate::testkit::deliveries::Fate;
use crate::testkit::fixture;
use crate::testkit::process::Daemon;
use crate::testkit::site::{DAY, Site};

const NOT_READY: &str = "HTTP/1.1 503";
const READY: &str = "HTTP/1.1 200";

/// A daemon that looks at Rucio's settings all the time.
async fn watchful() -> Site {
    let site = Site::in_haste().await;
    site.change("  account: ingest\n", "  account: ingest\n  check_interval: 100ms\n");
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_taken_away_while_the_daemon_runs_make_it_not_ready() {
    let site = watchful().await;
    let address = site.listens();
    let daemon = Daemon::start(&site, &[]);
    site.until_answer(address, "/readyz", |said| said.starts_with(READY)).await;
    site.rucio.set_admin("ingest", false);
    let said = site.until_answer(address, "/readyz", |said| said.starts_with(NOT_READY)).await;
    assert!(said.contains("settings in rucio: the Rucio account 'ingest' lacks the attribute admin=True"), "{said}");
    let status = site.say(&["status"]);
    assert!(status.out.contains("NOT READY") && status.out.contains("lacks the attribute admin"), "{}", status.out);
    site.rucio.set_admin("ingest", true);
    site.until_answer(address, "/readyz", |said| said.starts_with(READY)).await;
    daemon.until_said(&site, "not so any more").await;
    daemon.kill().await;
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_is_registered_while_rucio_would_mark_it_for_deletion_at_once() {
    let site = watchful().await;
    let daemon = Daemon::start(&site, &[]);
    daemon.ready(&site).await;
    site.rucio.set_attribute("STORAGE-1", "tombstone_delay", Some("0"));
    let file = site.deliver_for(&format!("{DAY}/a.fits.fz"), fixture("CAL"), Fate::Released);
    daemon.until_said(&site, "Rucio would mark every file for deletion").await;
    site.until_state(&file, State::Verified).await;
    assert!(site.rucio.replicas(&file.did()).is_empty(), "it was registered");
    site.rucio.set_attribute("STORAGE-1", "tombstone_delay", None);
    site.until_state(&file, State::Released).await;
    daemon.kill().await;
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_centre_that_is_closed_for_writing_is_named_at_once_and_nothing_else_is_wrong() {
    let site = watchful().await;
    let address = site.listens();
    let daemon = Daemon::start(&site, &[]);
    site.until_answer(address, "/readyz", |said| said.starts_with(READY)).await;
    site.rucio.close_rse("STORAGE-3", true);
    let file = site.deliver_for(&format!("{DAY}/a.fits.fz"), fixture("CAL"), Fate::Released);
    let line = daemon.until_said(&site, "STORAGE-3: it is closed for writing in Rucio").await;
    assert_eq!(line["level"], "WARN", "{line}");
    let said = site.until_answer(address, "/status", |said| said.contains("STORAGE-3")).await;
    assert!(said.contains("1 site(s) take files now, 2 are needed"), "{said}");
    assert!(ask(address, "/readyz").starts_with(READY), "{said}");
    let status = site.say(&["status"]).out;
    assert!(status.contains("notice") && status.contains("STORAGE-3: it is closed for writing"), "{status}");
    site.rucio.close_rse("STORAGE-3", false);
    site.until_state(&file, State::Released).await;
    let lines = daemon.said(&site).into_iter().filter(|line| line["message"].to_string().contains("STORAGE-3: it is"));
    assert_eq!(lines.count(), 2, "once when it comes, once when it goes");
    daemon.kill().await;
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_storage_is_a_notice_and_none_that_answers_is_more() {
    let site = watchful().await;
    let address = site.listens();
    // between the two looks the storages fall silent
    site.change("confirm: {hold: 100ms", "confirm: {hold: 3s");
    let daemon = Daemon::start(&site, &[]);
    let file = site.deliver_for(&format!("{DAY}/a.fits.fz"), fixture("CAL"), Fate::Released);
    daemon.until_said(&site, "off-site copies proven, first look").await;
    site.rucio.faults().storage_down("STORAGE-2", Outage::Refuse);
    let said = site.until_answer(address, "/status", |said| said.contains("its storage does not answer")).await;
    assert!(said.contains("\"ready\":true"), "{said}");
    let metrics = site.until_answer(address, "/metrics", |said| said.contains("storage_up{rse=\"STORAGE-2\"} 0")).await;
    assert!(metrics.contains("storage_up{rse=\"STORAGE-3\"} 1"), "{metrics}");
    site.rucio.faults().storage_down("STORAGE-3", Outage::Refuse);
    let said = site.until_answer(address, "/readyz", |said| said.starts_with(NOT_READY)).await;
    assert!(said.contains("data centres: no storage of a data centre answers (STORAGE-2: "), "{said}");
    site.rucio.faults().storage_up("STORAGE-2");
    site.rucio.faults().storage_up("STORAGE-3");
    site.until_answer(address, "/readyz", |said| said.starts_with(READY)).await;
    site.until_state(&file, State::Released).await;
    daemon.kill().await;
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_rucio_is_away_every_face_says_so() {
    let site = watchful().await;
    let address = site.listens();
    let daemon = Daemon::start(&site, &[]);
    site.until_answer(address, "/readyz", |said| said.starts_with(READY)).await;
    site.rucio.faults().rucio_down(Outage::Refuse);
    let said = site.until_answer(address, "/readyz", |said| said.starts_with(NOT_READY)).await;
    assert!(said.contains("rucio: "), "{said}");
    let (page, metrics) = (ask(address, "/"), ask(address, "/metrics"));
    assert!(page.contains("Not everything works") && page.contains("<th>Rucio</th>"), "{page}");
    let status = site.say(&["status"]).out;
    assert!(status.contains("NOT READY") && status.contains("\nRucio "), "{status}");
    site.until_answer(address, "/metrics", |said| said.contains("dl0_ingest_ready{need=\"rucio\"} 0")).await;
    assert!(metrics.contains("dl0_ingest_rucio_up 0"), "{metrics}");
    daemon.kill().await;
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_warning_about_a_stuck_rule_names_the_data_centre() {
    let site = Site::new("log: {format: json}\nconfirm: {poll: 50ms, poll_max: 200ms}\n").await;
    let daemon = Daemon::start(&site, &[]);
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    let came = |event: &Event| matches!(event, Event::Available { did, rse } if did.name == lfn && rse != "STORAGE-1");
    site.rucio.until(|history| history.iter().any(|entry| came(&entry.event))).await;
    site.rucio.faults().pause(Part::Conveyor);
    site.rucio.faults().fail_transfers(100);
    site.rucio.faults().resume(Part::Conveyor);
    let line = daemon.until_said(&site, "the rule of further copies is STUCK").await;
    assert!(line["message"].as_str().unwrap().contains("its transfers failed at STORAGE-"), "{line}");
    daemon.kill().await;
    site.rucio.shutdown().await;
}
