//! Each brake: what waits, what the operator reads, and that files flow again without a restart.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use dl0_ingest::custody::brakes::Target;
use dl0_ingest::custody::{State, UnderItsName};
use dl0_ingest::ledger::{FileRow, Operator, Retried, TooLate};
use dl0_ingest::names::Did;
use rucio_miniature::ReplicaState;
use sqlx::Connection as _;

use crate::road::DELETION_ON;
use crate::road::ended_rules::decided_and_braked;
use crate::road::reconcile::change_ledger;
use crate::testkit::fixture;
use crate::testkit::in_process::InProcess;
use crate::testkit::site::{Site, lfn};

const CONFIRM: &str = "confirm: {hold: 200ms, poll: 50ms, poll_max: 200ms}\n";

fn release(more: &str) -> String {
    format!("release: {{deletion: on, poll: 50ms, poll_max: 200ms{more}}}\n{CONFIRM}")
}

fn ada() -> Operator {
    Operator { who: "ada (uid 1000)".to_owned(), reason: "I have looked at it".to_owned() }
}

fn waits_for(words: &str) -> impl Fn(&FileRow) -> bool {
    move |row| row.waits_for.as_ref().is_some_and(|waits_for| waits_for.contains(words))
}

/// Waits until a file says that it waits for this, proven and untouched.
async fn kept(site: &Site, lfn: &str, words: &str) {
    let row = site.until_row(lfn, waits_for(words)).await;
    assert_eq!((row.state, row.release_ordered_at), (State::Confirmed, None), "{row:#?}");
    assert_eq!(site.rucio.replicas(&Did::new("acada", lfn)).get("STORAGE-1"), Some(&ReplicaState::Available));
    assert!(site.path(Path::new(lfn).file_name().unwrap().to_str().unwrap()).exists());
}

fn hang_up() {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kill_switch_stops_releases_until_it_is_removed() {
    let site = Site::new(DELETION_ON).await;
    let switch = site.kill_switch();
    fs::write(&switch, "storage work until noon\n").unwrap();
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    kept(&site, &lfn, "storage work until noon").await;
    fs::remove_file(&switch).unwrap();
    site.until_state(&lfn, State::Released).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_switch_that_cannot_be_looked_at_counts_as_present() {
    let site = Site::new("").await;
    let in_the_way = site.root().join("in-the-way");
    fs::write(&in_the_way, "").unwrap();
    site.end_with(&release(&format!(", kill_switch: {}/stop", in_the_way.display())));
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    kept(&site, &lfn, "cannot be looked at").await;
    fs::remove_file(&in_the_way).unwrap();
    site.until_state(&lfn, State::Released).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_sees_no_more_than_its_files_whatever_is_restarted() {
    let site = Site::new(&release(", max_files_per_hour: 2")).await;
    let daemon = site.start();
    let names = ["a.fits.fz", "b.fits.fz"];
    for name in names {
        site.until_state(&site.deliver(name, &fixture("SUBARRAY")), State::Released).await;
    }
    let third = site.deliver("c.fits.fz", &fixture("SUBARRAY"));
    kept(&site, &third, "release.max_files_per_hour").await;
    daemon.stop().await;
    let daemon = site.start_reloadable();
    let fourth = site.deliver("d.fits.fz", &fixture("SUBARRAY"));
    for lfn in [&third, &fourth] {
        kept(&site, lfn, "release.max_files_per_hour").await;
    }
    site.config_with(|text| text.replace("max_files_per_hour: 2", "max_files_per_hour: 4"));
    hang_up();
    for lfn in [&third, &fourth] {
        site.until_state(lfn, State::Released).await;
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_sees_no_more_than_its_bytes() {
    let content = fixture("SUBARRAY");
    let site = Site::new(&release(&format!(", max_bytes_per_hour: {}B", 2 * content.len() - 1))).await;
    let daemon = site.start();
    site.until_state(&site.deliver("a.fits.fz", &content), State::Released).await;
    kept(&site, &site.deliver("b.fits.fz", &content), "release.max_bytes_per_hour").await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_to_off_stops_what_is_proven_and_not_decided() {
    let site = Site::new(DELETION_ON).await;
    let switch = site.kill_switch();
    fs::write(&switch, "first this").unwrap();
    let daemon = site.start_reloadable();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    kept(&site, &lfn, "first this").await;
    site.config_with(|text| text.replace("deletion: on", "deletion: off"));
    hang_up();
    kept(&site, &lfn, "deletion is off").await;
    fs::remove_file(&switch).unwrap();
    // a second file comes as far, and no further
    kept(&site, &site.deliver("b.fits.fz", &fixture("SUBARRAY")), "deletion is off").await;
    kept(&site, &lfn, "deletion is off").await;
    site.config();
    hang_up();
    site.until_state(&lfn, State::Released).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contradiction_stops_all_releases_until_an_operator_has_looked() {
    let site = Site::new(DELETION_ON).await;
    site.rucio.faults().corrupt_copies(1);
    let daemon = site.start();
    let bad = site.deliver("bad.fits.fz", &fixture("SUBARRAY"));
    let held = site.until_state(&bad, State::Held).await;
    let good = site.deliver("good.fits.fz", &fixture("MUON"));
    kept(&site, &good, "the release breaker is open").await;
    daemon.stop().await;
    // a restart is no reset
    let daemon = site.start();
    kept(&site, &good, "the release breaker is open").await;
    let ledger = site.operator().await;
    let trip = ledger.breaker().await.unwrap().unwrap();
    assert_eq!((trip.code.as_str(), trip.lfn.as_deref()), ("evidence", Some(bad.as_str())));
    assert_eq!(Some(trip.reason), held.reason);
    assert!(ledger.reset_breaker(&ada()).await.unwrap().is_some());
    site.until_state(&good, State::Released).await;
    assert_eq!(site.row(&bad).await.unwrap().state, State::Held);
    ledger.close().await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_file_whose_copy_was_mended_is_proven_anew_from_the_beginning() {
    let site = Site::new(DELETION_ON).await;
    site.rucio.faults().corrupt_copies(1);
    let daemon = site.start();
    let content = fixture("SUBARRAY");
    let lfn = site.deliver("a.fits.fz", &content);
    site.until_state(&lfn, State::Held).await;
    for number in [2, 3] {
        fs::write(site.storage(number).join(&lfn[1..]), &content).unwrap();
    }
    let ledger = site.operator().await;
    let row = ledger.by_lfn(&lfn).await.unwrap().unwrap();
    assert_eq!(ledger.retry(&row, &ada(), UnderItsName::Itself).await.unwrap(), Retried::BackTo(State::Replicated));
    ledger.reset_breaker(&ada()).await.unwrap();
    let row = site.until_state(&lfn, State::Released).await;
    assert_eq!(ledger.retry(&row, &ada(), UnderItsName::Itself).await.unwrap(), Retried::Ended(State::Released));
    let events: Vec<String> = ledger.events(&row).await.unwrap().into_iter().map(|event| event.kind).collect();
    let retried = events.iter().position(|kind| kind == "retried").unwrap();
    let looked = events.iter().rposition(|kind| kind == "first-look").unwrap();
    assert!(retried < looked, "{events:?}");
    ledger.close().await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_holds_stays_and_everything_else_goes() {
    let site = Site::new(DELETION_ON).await;
    let switch = site.kill_switch();
    fs::write(&switch, "until the holds are placed").unwrap();
    let daemon = site.start();
    let [one, two] = ["one.fits.fz", "two.fits.fz"].map(|name| site.deliver(name, &fixture("SUBARRAY")));
    for lfn in [&one, &two] {
        kept(&site, lfn, "until the holds are placed").await;
    }
    let ledger = site.operator().await;
    let (file, dataset) = (
        Target::File(one.clone()),
        Target::Dataset(ledger.by_lfn(&one).await.unwrap().unwrap().dataset_did().to_string()),
    );
    assert_eq!(ledger.place_hold(&file, &ada()).await.unwrap(), TooLate::default());
    fs::remove_file(&switch).unwrap();
    site.until_state(&two, State::Released).await;
    kept(&site, &one, "ada (uid 1000) holds").await;
    // holds on more than the file keep it as well
    ledger.place_hold(&dataset, &ada()).await.unwrap();
    assert!(ledger.lift_hold(&file, &ada()).await.unwrap());
    kept(&site, &one, "holds dataset acada:").await;
    ledger.place_hold(&Target::All, &ada()).await.unwrap();
    assert!(ledger.lift_hold(&dataset, &ada()).await.unwrap());
    kept(&site, &one, "holds all files").await;
    assert!(!ledger.lift_hold(&file, &ada()).await.unwrap());
    assert!(ledger.lift_hold(&Target::All, &ada()).await.unwrap());
    site.until_state(&one, State::Released).await;
    ledger.close().await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_on_a_file_whose_release_is_ordered_is_said_to_be_too_late() {
    let site = Site::new(DELETION_ON).await;
    site.rucio.faults().pause(rucio_miniature::Daemon::Reaper);
    let daemon = site.start();
    site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    site.until_row(&lfn("a.fits.fz"), |row| row.release_ordered_at.is_some()).await;
    let ledger = site.operator().await;
    assert_eq!(
        ledger.place_hold(&Target::File(lfn("a.fits.fz")), &ada()).await.unwrap(),
        TooLate { ordered: 1, ..TooLate::default() }
    );
    site.rucio.faults().resume(rucio_miniature::Daemon::Reaper);
    site.until_state(&lfn("a.fits.fz"), State::Released).await;
    let dataset = Target::Dataset(format!("acada:/{}", crate::testkit::site::DAY));
    for target in [Target::File(lfn("a.fits.fz")), dataset] {
        let late = ledger.place_hold(&target, &ada()).await.unwrap();
        assert_eq!(late, TooLate { gone: 1, ..TooLate::default() }, "{target}");
    }
    ledger.close().await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_trigger_beside_a_proven_file_keeps_it_and_says_why_until_it_is_removed() {
    let site = Site::new(DELETION_ON).await;
    let switch = site.kill_switch();
    fs::write(&switch, "until the trigger lies there").unwrap();
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    kept(&site, &lfn, "until the trigger lies there").await;
    assert!(!site.has_trigger("a.fits.fz"));
    let trigger = site.path("a.fits.fz.trigger");
    symlink("another.fits.fz", &trigger).unwrap();
    fs::remove_file(&switch).unwrap();
    kept(&site, &lfn, "removed if it is wrong (dl0-ingest status)").await;
    fs::remove_file(&trigger).unwrap();
    site.until_state(&lfn, State::Released).await;
    daemon.stop().await;
}

/// The numbers of a daemon.
pub(crate) struct Metrics(std::net::SocketAddr);

impl Metrics {
    /// A daemon that shows them.
    pub(crate) fn start(site: &Site) -> (InProcess, Self) {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let shown = |text: String| text.replace("listen: null", &format!("listen: '{address}'"));
        (InProcess::start(site.config_with(shown)), Self(address))
    }

    /// How often an invariant would have been broken.
    async fn violations(&self, invariant: &str) -> u64 {
        let _ = rustls::crypto::ring::default_provider().install_default(); // already there in a second test
        let client = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
        let page = client.get(format!("http://{}/metrics", self.0)).send().await.unwrap().text().await.unwrap();
        let name = format!("dl0_ingest_invariant_violations_total{{invariant=\"{invariant}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(name.as_str())).map_or(0, |count| count.parse().unwrap())
    }

    /// What would have broken this was stopped: it is counted, and the breaker is open for this reason.
    pub(crate) async fn stopped(&self, site: &Site, invariant: &str, why: &str) {
        let begun = std::time::Instant::now();
        let trip = loop {
            if let Some(trip) = site.operator().await.breaker().await.unwrap() {
                break trip;
            }
            assert!(begun.elapsed() < std::time::Duration::from_secs(30), "the breaker stays closed");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        assert_eq!(trip.code, "invariant", "{trip:?}");
        let told = format!("invariant {invariant} would be broken: {why}");
        assert!(trip.reason.starts_with(&told), "{trip:?}");
        assert!(self.violations(invariant).await >= 1);
    }
}

/// It cannot happen, so it is made to: the evidence of a release that is decided disappears from the ledger, or proves one
/// copy only.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_promise_stops_the_release_holds_the_file_opens_the_breaker_and_is_counted() {
    let one = r#"{"copies": [{"site": "PIC"}]}"#;
    for (evidence, invariant, why) in [
        (None, "I5", "the evidence of the release is not on record"),
        (Some(one), "I2", "the evidence on record proves a copy at 1 sites of 2"),
    ] {
        let site = Site::new(DELETION_ON).await;
        let (daemon, row) = decided_and_braked(&site).await;
        daemon.stop().await;
        site.forge_evidence(&row.lfn, evidence).await;
        fs::remove_file(site.kill_switch()).unwrap();
        let (daemon, metrics) = Metrics::start(&site);
        let row = site.until_state(&row.lfn, State::Held).await;
        let reason = format!("invariant {invariant} would be broken: {why}");
        assert_eq!((row.reason_code.as_deref(), row.reason), (Some("invariant"), Some(reason)));
        metrics.stopped(&site, invariant, why).await;
        assert_eq!(metrics.violations(invariant).await, 1);
        assert!(site.path("a.fits.fz").exists());
        let replicas = site.rucio.replicas(&Did::new("acada", &row.lfn));
        assert_eq!(replicas.get("STORAGE-1"), Some(&ReplicaState::Available));
        daemon.stop().await;
    }
}

/// The ledger forgets the rule that protects a file whose trigger is still to be removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_stays_and_releases_stop_when_no_rule_on_record_protects_its_file() {
    let site = Site::new(DELETION_ON).await;
    site.rucio.faults().pause(rucio_miniature::Daemon::Conveyor);
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    site.until_row(&lfn, |row| row.state == State::Registered && !row.trigger_pending).await;
    daemon.stop().await;
    change_ledger(&site, "UPDATE files SET on_site_rule = NULL, trigger_pending = 1").await;
    site.pull_trigger("a.fits.fz");
    let (daemon, metrics) = Metrics::start(&site);
    metrics.stopped(&site, "I1", "the on-site replica has no protecting rule on record").await;
    assert!(site.has_trigger("a.fits.fz"));
    daemon.stop().await;
}

/// The ledger, as if somebody else wrote there, has another place than the sentence named.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_stays_with_its_trigger_and_releases_stop_when_the_sentence_on_record_names_another_place() {
    let site = Site::new(DELETION_ON).await;
    // the first daemon makes the ledger
    let daemon = site.start();
    site.until_state(&site.deliver("good.fits.fz", &fixture("SUBARRAY")), State::Released).await;
    daemon.stop().await;
    let url = format!("sqlite://{}", site.ledger_file().display());
    let mut ledger = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let another = "CREATE TRIGGER another AFTER UPDATE OF invalid_path ON files WHEN NEW.invalid_path IS NOT NULL
                   BEGIN UPDATE files SET invalid_path = 'ctao/acada/elsewhere' WHERE id = NEW.id; END";
    sqlx::query(another).execute(&mut ledger).await.unwrap();
    ledger.close().await.unwrap();
    let (daemon, metrics) = Metrics::start(&site);
    let lfn = site.deliver("a.fits.fz", b"no FITS file");
    let row = site.until_state(&lfn, State::Held).await;
    assert_eq!(row.reason_code.as_deref(), Some("invariant"), "{row:#?}");
    metrics.stopped(&site, "I5", "the sentence on record names 'ctao/acada/elsewhere', not 'ctao/acada/invalid/").await;
    assert_eq!(fs::read(site.path("a.fits.fz")).unwrap(), b"no FITS file");
    assert!(site.has_trigger("a.fits.fz"));
    daemon.stop().await;
}
