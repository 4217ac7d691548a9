//! The endpoint as a scraper and a browser see it.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::telemetry::health::Need;

struct Server {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn start() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Arc::new(Metrics::new());
    let health = Arc::new(Health::new(&[Need::Rucio]));
    let (stop, stopped) = oneshot::channel::<()>();
    let states = vec![StateRow { state: "verified", files: 3, bytes: 1_500_000, oldest_seconds: Some(5) }];
    let facts = vec![("deletion", "dry-run".to_owned())];
    let page = StatusPage { states, facts, rucio: "up".to_owned(), ..StatusPage::default() };
    let (_, counted) = watch::channel(Arc::new(page));
    let task = tokio::spawn(serve(listener, metrics.clone(), health.clone(), counted, async {
        let _ = stopped.await;
    }));
    Server { address, metrics, health, stop, task }
}

/// The whole answer, head and body.
async fn ask(address: SocketAddr, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_scrape_gets_openmetrics_and_a_browser_a_page() {
    let server = start().await;
    server.metrics.trigger_judged("good");
    let scrape = ask(server.address, "GET", "/metrics").await;
    assert!(scrape.starts_with("HTTP/1.1 200"));
    assert!(scrape.contains(CONTENT_TYPE));
    assert!(scrape.contains("\ndl0_ingest_triggers_judged_total{verdict=\"good\"} 1\n"));
    assert!(scrape.ends_with("# EOF\n"));
    let page = ask(server.address, "GET", "/").await;
    assert!(page.contains("content-security-policy: default-src 'none'"));
    assert!(page.contains("<td>verified</td><td class=n>3</td><td class=n>1.5 MB</td>"));
    assert!(page.contains("<th>deletion</th><td>dry-run</td>"));
    server.stop.send(()).unwrap();
    server.task.await.unwrap();
}

#[tokio::test]
async fn readiness_says_why_not_and_life_is_another_matter() {
    let server = start().await;
    let answer = ask(server.address, "GET", "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503"));
    assert!(answer.ends_with("rucio: not looked at yet\n"));
    assert!(ask(server.address, "GET", "/healthz").await.starts_with("HTTP/1.1 200"));
    server.health.set(Need::Rucio, Ok(()));
    assert!(ask(server.address, "GET", "/readyz").await.ends_with("ready\n"));
    server.stop.send(()).unwrap();
    server.task.await.unwrap();
}

#[tokio::test]
async fn nothing_can_be_changed_through_it() {
    let server = start().await;
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        for path in ["/", "/metrics", "/healthz", "/readyz", "/status"] {
            let answer = ask(server.address, method, path).await;
            assert!(answer.starts_with("HTTP/1.1 405"), "{method} {path}: {answer}");
        }
    }
    server.stop.send(()).unwrap();
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_reader_that_stands_still_does_not_hold_up_the_end() {
    let server = start().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /metrics HTTP/1.1\r\nHost").await.unwrap();
    server.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_program_learns_how_the_daemon_stands() {
    let server = start().await;
    server.health.storage("PIC", Err("timed out".to_owned()));
    server.health.storage("CSCS", Ok(()));
    let answer = ask(server.address, "GET", "/status").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{head}");
    let status: Status = serde_json::from_str(body).unwrap();
    assert!(!status.ready && status.rucio == "up");
    assert_eq!(status.troubles[0].about, "rucio");
    assert_eq!(status.notices[0].about, "PIC");
    assert_eq!(status.storages["PIC"].as_deref(), Some("timed out"));
    assert_eq!(status.storages["CSCS"], None);
    server.stop.send(()).unwrap();
    server.task.await.unwrap();
}

/// With the clock paused, time passes when everybody waits.
#[tokio::test(start_paused = true)]
async fn half_open_connections_are_few_and_end_while_others_are_answered() {
    let server = start().await;
    let mut half_open = Vec::new();
    for _ in 0..3 * CONNECTIONS {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost").await.unwrap();
        half_open.push(stream);
    }
    let asked = tokio::time::Instant::now();
    let answer = ask(server.address, "GET", "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(asked.elapsed() <= 4 * REQUEST, "{:?}", asked.elapsed());
    for mut stream in half_open {
        let mut said = Vec::new();
        // closed by the server, with or without a word
        let _ = stream.read_to_end(&mut said).await;
    }
    server.stop.send(()).unwrap();
    server.task.await.unwrap();
}
