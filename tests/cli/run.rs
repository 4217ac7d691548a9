//! `run` and `check-config --online` against the embedded Rucio, as a service manager sees them.
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::testkit::command::{ask, offline_configuration, say};
use crate::testkit::process::{Daemon, End};
use crate::testkit::site::Site;
use dl0_ingest::ledger::Ledger;
use rucio_miniature::Outage;
use rustix::process::Signal;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

/// What `check-config --online` says, and its exit code.
async fn check_online(site: &Site) -> (i32, String) {
    let config = site.config_file();
    let check = move || say(&["check-config", "--online", "--config", config.to_str().unwrap()]);
    let said = tokio::task::spawn_blocking(check).await.unwrap();
    (said.code, said.all(site.root()))
}

/// Asked to stop, it does so within ten seconds and in good order.
async fn ends_soon(daemon: &Daemon, site: &Site) {
    let asked = Instant::now();
    daemon.signal(Signal::TERM);
    daemon.until_said(site, "stopped").await;
    assert_eq!(daemon.ended().await, End::Stopped);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn check_config_online_tells_what_only_a_person_can_mend() {
    let site = Site::with_defaults().await;
    let (code, said) = check_online(&site).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Rucio is as the daemon needs it"), "{said}");

    site.change("onsite_rse: STORAGE-1", "onsite_rse: STORAGE-9");
    let (code, said) = check_online(&site).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("'STORAGE-9' does not exist"), "{said}");
    site.change("onsite_rse: STORAGE-9", "onsite_rse: STORAGE-1");

    site.change("expression: OFFSITE", "expression: STORAGE-2");
    let (code, said) = check_online(&site).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("matches 1 site"), "{said}");
    site.change("expression: STORAGE-2", "expression: OFFSITE");

    std::fs::write(site.root().join("password"), "wrong\n").unwrap();
    let (code, said) = check_online(&site).await;
    assert_eq!(code, 1, "{said}");
    assert!(!said.contains("wrong\n"), "the password is told: {said}");
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_starts_reloads_and_stops_when_asked() {
    let site = Site::with_defaults().await;
    let daemon = Daemon::start(&site, &[]);
    daemon.ready(&site).await;
    let text = std::fs::read_to_string(site.config_file()).unwrap();
    std::fs::write(site.config_file(), text.clone() + "release: {deletion: off}\n").unwrap();
    daemon.signal(Signal::HUP);
    assert_eq!(daemon.until_said(&site, "configuration read again").await["deletion"], "off");
    std::fs::write(site.config_file(), text + "releases: {deletion: on}\n").unwrap();
    daemon.signal(Signal::HUP);
    let refusal = daemon.until_said(&site, "the old one stays in force").await;
    assert!(refusal["message"].as_str().unwrap().contains("did you mean 'release'?"), "{refusal}");
    ends_soon(&daemon, &site).await;
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_release_breaker_is_told_in_the_log_the_metrics_and_the_readiness() {
    let site = Site::with_defaults().await;
    let ledger = Ledger::open(&site.ledger_file()).await.unwrap();
    ledger.trip("evidence", "the copy at STORAGE-2 is gone", Some("/ctao/acada/dl0/a")).await.unwrap();
    ledger.close().await;
    drop(ledger);
    let address = site.listens();
    let daemon = Daemon::start(&site, &[]);
    let line = daemon.until_said(&site, "the release breaker is open").await;
    let (ready, metrics) = (ask(address, "/readyz"), ask(address, "/metrics"));
    let reset = site.say(&["breaker", "reset", "--reason", "the copy is back"]);
    assert_eq!(reset.code, 0, "{}", reset.err);
    daemon.until_said(&site, "the release breaker was reset").await;
    let (ready_again, metrics_again) = (ask(address, "/readyz"), ask(address, "/metrics"));
    assert_eq!((&line["level"], &line["code"]), (&"ERROR".into(), &"evidence".into()), "{line}");
    assert_eq!(line["lfn"], "/ctao/acada/dl0/a");
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("release breaker"), "{ready}");
    assert!(!ready.contains("/ctao"), "no names on a page that anybody may read: {ready}");
    assert!(metrics.contains("dl0_ingest_release_breaker_open 1"), "{metrics}");
    assert!(!ready_again.contains("release breaker"), "{ready_again}");
    assert!(metrics_again.contains("dl0_ingest_release_breaker_open 0"), "{metrics_again}");
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_cannot_work_here_says_why_and_ends_with_3() {
    let site = Site::with_defaults().await;
    site.change("onsite_rse: STORAGE-1", "onsite_rse: STORAGE-9");
    let daemon = Daemon::start(&site, &[]);
    let line = daemon.until_said(&site, "start-up checks failed").await;
    assert!(line["message"].as_str().unwrap().contains("STORAGE-9"), "{line}");
    assert_eq!(daemon.code().await, Some(3));
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_hears_of_a_start_without_rucio_and_later_of_what_is_wrong() {
    let site = Site::with_defaults().await;
    site.rucio.faults().rucio_down(Outage::Refuse);
    site.change("onsite_rse: STORAGE-1", "onsite_rse: STORAGE-9");
    let path = site.root().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let daemon = Daemon::start(&site, &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    let heard = tokio::task::spawn_blocking(move || {
        let mut message = [0; 4096];
        loop {
            let length = socket.recv(&mut message).unwrap();
            let text = String::from_utf8(message[..length].to_vec()).unwrap();
            if text.contains("READY=1") {
                break text;
            }
        }
    });
    assert!(heard.await.unwrap().contains("STATUS=Rucio not reached yet"));
    site.rucio.faults().rucio_up();
    daemon.until_said(&site, "start-up checks failed").await;
    assert_eq!(daemon.code().await, Some(3));
    site.rucio.shutdown().await;
}

/// The start takes as long as somebody else's transaction on the ledger.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_asked_for_during_the_start_is_done_after_it_and_does_not_end_the_daemon() {
    let site = Site::with_defaults().await;
    let ledger = site.ledger_file();
    drop(Ledger::open(&ledger).await.unwrap());
    let mut busy = SqliteConnectOptions::new().filename(&ledger).connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut busy).await.unwrap();
    let daemon = Daemon::start(&site, &[]);
    let hears_hangups = || {
        let state = daemon.status("State");
        assert!(!state.contains("(zombie)"), "{state}");
        u64::from_str_radix(&daemon.status("SigCgt"), 16).unwrap() & 1 != 0
    };
    let started = Instant::now();
    while !hears_hangups() {
        // the other's transaction is waited for 10 s
        assert!(started.elapsed() < Duration::from_secs(5), "SIGHUP would end it");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    daemon.signal(Signal::HUP);
    sqlx::query("COMMIT").execute(&mut busy).await.unwrap();
    daemon.until_said(&site, "configuration read again").await;
    daemon.signal(Signal::TERM);
    daemon.until_said(&site, "stopped").await;
    assert_eq!(daemon.ended().await, End::Stopped);
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_hangs_does_not_hold_up_the_end() {
    let site = Site::with_defaults().await;
    let daemon = Daemon::start(&site, &[]);
    daemon.ready(&site).await;
    std::fs::remove_file(site.config_file()).unwrap();
    // reading it waits for a writer, as a file on a mount that hangs waits for its server
    assert!(Command::new("mkfifo").arg(site.config_file()).status().unwrap().success());
    daemon.signal(Signal::HUP);
    daemon.until_said(&site, "reading the configuration again").await;
    ends_soon(&daemon, &site).await;
    site.rucio.shutdown().await;
}

#[test]
fn without_a_password_the_daemon_ends_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let config = offline_configuration(directory.path());
    std::fs::create_dir_all(directory.path().join("onsite/ctao")).unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.contains("password")).collect();
    std::fs::write(&config, without.join("\n") + "\nhttp: {listen: null}\n").unwrap();
    let said = say(&["run", "--config", config.to_str().unwrap()]);
    assert_eq!(said.code, 2, "{}", said.all(directory.path()));
    assert!(said.out.contains("there is no password for Rucio"), "{}", said.out);
}
