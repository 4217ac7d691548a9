//! The endpoint as a scraper and a browser see it.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

struct Server {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

async fn start() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Arc::new(Metrics::new());
    let health = Arc::new(Health::new(&["rucio"]));
    let (stop, stopped) = oneshot::channel::<()>();
    let status = || -> BoxFuture<'static, StatusPage> {
        let row = StateRow { state: "verified", files: 3, bytes: 1_500_000, oldest_seconds: Some(5) };
        let page = StatusPage { states: vec![row], facts: vec![("deletion", "dry-run".to_owned())] };
        Box::pin(std::future::ready(page))
    };
    let task = tokio::spawn(serve(listener, metrics.clone(), health.clone(), status, async {
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
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn readiness_says_why_not_and_life_is_another_matter() {
    let server = start().await;
    let answer = ask(server.address, "GET", "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503"));
    assert!(answer.ends_with("rucio: has not started yet\n"));
    assert!(ask(server.address, "GET", "/healthz").await.starts_with("HTTP/1.1 200"));
    server.health.set_ready("rucio", Ok(()));
    assert!(ask(server.address, "GET", "/readyz").await.ends_with("ready\n"));
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn nothing_can_be_changed_through_it() {
    let server = start().await;
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        for path in ["/", "/metrics", "/healthz", "/readyz"] {
            let answer = ask(server.address, method, path).await;
            assert!(answer.starts_with("HTTP/1.1 405"), "{method} {path}: {answer}");
        }
    }
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_reader_that_stands_still_does_not_hold_up_the_end() {
    let server = start().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /metrics HTTP/1.1\r\nHost").await.unwrap();
    server.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), server.task).await.unwrap().unwrap().unwrap();
}
