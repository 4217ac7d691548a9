//! `run` and `check-config --online` against the embedded Rucio, as a service manager sees them.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use cli_support::site::Site;
use cli_support::{ask, configuration, say};
use dl0_ingest::embedded::Outage;
use dl0_ingest::ledger::Ledger;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

#[tokio::test(flavor = "multi_thread")]
async fn check_config_online_tells_what_only_a_person_can_mend() {
    let site = Site::new().await;
    let (code, said) = site.check_online().await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Rucio is as the daemon needs it"), "{said}");

    site.change("onsite_rse: STORAGE-1", "onsite_rse: STORAGE-9");
    let (code, said) = site.check_online().await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("'STORAGE-9' does not exist"), "{said}");
    site.change("onsite_rse: STORAGE-9", "onsite_rse: STORAGE-1");

    site.change("expression: OFFSITE", "expression: STORAGE-2");
    let (code, said) = site.check_online().await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("matches 1 site"), "{said}");
    site.change("expression: STORAGE-2", "expression: OFFSITE");

    std::fs::write(site.directory.path().join("password"), "wrong\n").unwrap();
    let (code, said) = site.check_online().await;
    assert_eq!(code, 1, "{said}");
    assert!(!said.contains("wrong\n"), "the password is told: {said}");
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_starts_reloads_and_stops_when_asked() {
    let site = Site::new().await;
    let config = site.config.clone();
    let mut daemon = site.run();
    let ended = tokio::task::spawn_blocking(move || {
        daemon.until("ready");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text.clone() + "release: {deletion: off}\n").unwrap();
        daemon.signal("-HUP");
        assert_eq!(daemon.until("configuration read again")["deletion"], "off");
        std::fs::write(&config, text + "releases: {deletion: on}\n").unwrap();
        daemon.signal("-HUP");
        let refusal = daemon.until("the old one stays in force");
        assert!(refusal["message"].as_str().unwrap().contains("did you mean 'release'?"), "{refusal}");
        let asked = Instant::now();
        daemon.signal("-TERM");
        daemon.until("stopped");
        (daemon.ended(), asked.elapsed())
    });
    let (code, took) = ended.await.unwrap();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_release_breaker_is_told_in_the_log_the_metrics_and_the_readiness() {
    let site = Site::new().await;
    let ledger = Ledger::open(&site.directory.path().join("state/ledger.db")).await.unwrap();
    ledger.trip("evidence", "the copy at STORAGE-2 is gone", Some("/ctao/acada/dl0/a")).await.unwrap();
    ledger.close().await;
    drop(ledger);
    // a port that was free a moment ago
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    site.change("http: {listen: null}", &format!("http: {{listen: '{address}'}}"));
    let config = site.config.clone();
    let mut daemon = site.run();
    let told = tokio::task::spawn_blocking(move || {
        let line = daemon.until("the release breaker is open");
        let open = (ask(address, "/readyz"), ask(address, "/metrics"));
        let reset = say(&["breaker", "reset", "--reason", "the copy is back", "--config", &config]);
        assert_eq!(reset.code, 0, "{}", reset.err);
        daemon.until("the release breaker was reset");
        (line, open, (ask(address, "/readyz"), ask(address, "/metrics")))
    });
    let (line, (ready, metrics), (ready_again, metrics_again)) = told.await.unwrap();
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
    let site = Site::new().await;
    site.change("onsite_rse: STORAGE-1", "onsite_rse: STORAGE-9");
    let mut daemon = site.run();
    let (line, code) =
        tokio::task::spawn_blocking(move || (daemon.until("start-up checks failed"), daemon.ended())).await.unwrap();
    assert!(line["message"].as_str().unwrap().contains("STORAGE-9"), "{line}");
    assert_eq!(code, Some(3));
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_hears_of_a_start_without_rucio_and_later_of_what_is_wrong() {
    let site = Site::new().await;
    site.rucio.faults().rucio_down(Outage::Refuse);
    site.change("onsite_rse: STORAGE-1", "onsite_rse: STORAGE-9");
    let path = site.directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut daemon = site.run_with(|command| command.env("NOTIFY_SOCKET", &path));
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
    let code = tokio::task::spawn_blocking(move || {
        daemon.until("start-up checks failed");
        daemon.ended()
    });
    assert_eq!(code.await.unwrap(), Some(3));
    site.rucio.shutdown().await;
}

/// The start takes as long as somebody else's transaction on the ledger.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_asked_for_during_the_start_is_done_after_it_and_does_not_end_the_daemon() {
    let site = Site::new().await;
    let ledger = site.directory.path().join("state/ledger.db");
    drop(Ledger::open(&ledger).await.unwrap());
    let mut busy = SqliteConnectOptions::new().filename(&ledger).connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut busy).await.unwrap();
    let mut daemon = site.run();
    let status = format!("/proc/{}/status", daemon.pid());
    let hears_hangups = || {
        let status = std::fs::read_to_string(&status).unwrap();
        assert!(!status.contains("(zombie)"), "{status}");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim().to_owned();
        u64::from_str_radix(&caught, 16).unwrap() & 1 != 0
    };
    let started = Instant::now();
    while !hears_hangups() {
        // the other's transaction is waited for 10 s
        assert!(started.elapsed() < Duration::from_secs(5), "SIGHUP would end it");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    daemon.signal("-HUP");
    sqlx::query("COMMIT").execute(&mut busy).await.unwrap();
    let ended = tokio::task::spawn_blocking(move || {
        daemon.until("configuration read again");
        daemon.signal("-TERM");
        daemon.until("stopped");
        daemon.ended()
    });
    assert_eq!(ended.await.unwrap(), Some(0));
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_hangs_does_not_hold_up_the_end() {
    let site = Site::new().await;
    let config = site.config.clone();
    let mut daemon = site.run();
    let ended = tokio::task::spawn_blocking(move || {
        daemon.until("ready");
        std::fs::remove_file(&config).unwrap();
        // reading it waits for a writer, as a file on a mount that hangs waits for its server
        assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
        daemon.signal("-HUP");
        daemon.until("reading the configuration again");
        let asked = Instant::now();
        daemon.signal("-TERM");
        daemon.until("stopped");
        (daemon.ended(), asked.elapsed())
    });
    let (code, took) = ended.await.unwrap();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
    site.rucio.shutdown().await;
}

#[test]
fn without_a_password_the_daemon_ends_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let config = configuration(directory.path());
    std::fs::create_dir_all(directory.path().join("onsite/ctao")).unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.contains("password")).collect();
    std::fs::write(&config, without.join("\n") + "\nhttp: {listen: null}\n").unwrap();
    let said = say(&["run", "--config", config.to_str().unwrap()]);
    assert_eq!(said.code, 2, "{}", said.all(directory.path()));
    assert!(said.out.contains("there is no password for Rucio"), "{}", said.out);
}
