//! The server as a whole under its own faults. How it behaves when all is well is `tests/contract`'s matter.

use std::fs;
use std::time::{Duration, Instant};

use rucio_client::Did;
use serde_json::{Value, json};

use super::*;

const ONSITE: &str = "STORAGE-1";
/// Longer than anything here takes, shorter than a human waits.
const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    server: Miniature,
    http: reqwest::Client,
    token: String,
    _root: tempfile::TempDir,
}

impl Bench {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root = tempfile::tempdir().unwrap();
        let mut options = Options::new(root.path());
        let quick = Duration::from_millis(5);
        options.pace = Pace { judge: quick, conveyor: quick, reaper: quick, ..Pace::default() };
        change(&mut options);
        let server = Miniature::start(options).await.unwrap();
        let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        let mut bench = Self { server, http, token: String::new(), _root: root };
        bench.token = bench.log_in().await;
        bench
    }

    async fn log_in(&self) -> String {
        let request = self.http.get(self.url("/auth/userpass"));
        let request = request.header("X-Rucio-Username", "ingest").header("X-Rucio-Password", "ingestpw");
        let answer = request.send().await.unwrap();
        answer.headers()["x-rucio-auth-token"].to_str().unwrap().to_owned()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url().as_str().trim_end_matches('/'))
    }

    async fn get(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        self.http.get(self.url(path)).header("X-Rucio-Auth-Token", &self.token).send().await
    }

    async fn post(&self, path: &str, body: &Value) -> reqwest::Result<reqwest::Response> {
        self.http.post(self.url(path)).header("X-Rucio-Auth-Token", &self.token).json(body).send().await
    }

    async fn good_post(&self, path: &str, body: &Value) -> String {
        let answer = self.post(path, body).await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{status} {text}");
        text
    }

    /// Writes a file on site and registers it in a dataset of its own.
    async fn registered(&self, name: &str) -> Did {
        let (dataset, content) = (format!("/ctao/test/{name}"), name.repeat(1000));
        let did = Did::new("test", format!("{dataset}/{name}.fits"));
        let path = self.server.path(&did, ONSITE).unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &content).unwrap();
        let sum = digests::hex(&digests::Algorithm::Adler32.of(&mut content.as_bytes()).unwrap());
        self.good_post("/dids", &json!([{"scope": "test", "name": dataset, "type": "DATASET"}])).await;
        let child = json!({"scope": "test", "name": did.name, "bytes": content.len(), "adler32": sum});
        let attachment = json!({"scope": "test", "name": dataset, "rse": ONSITE, "dids": [child]});
        let body = json!({"ignore_duplicate": true, "attachments": [attachment]});
        self.good_post("/dids/attachments", &body).await;
        did
    }

    async fn rule(&self, did: &Did, expression: &str) -> String {
        let body = json!({"dids": [did], "copies": 1, "rse_expression": expression});
        let ids: Vec<String> = serde_json::from_str(&self.good_post("/rules/", &body).await).unwrap();
        ids[0].clone()
    }

    async fn end(&self, rule: &str) {
        let request = self.http.put(self.url(&format!("/rules/{rule}"))).header("X-Rucio-Auth-Token", &self.token);
        let body = json!({"options": {"lifetime": 0, "purge_replicas": true}});
        assert!(request.json(&body).send().await.unwrap().status().is_success());
    }

    async fn until(&self, what: &str, condition: impl FnMut(&[Entry]) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, self.server.until(condition)).await;
        assert!(waited.is_ok(), "{what} did not happen: {:?}", self.server.history());
    }

    async fn available(&self, did: &Did, rse: &str) {
        let event = Event::Available { did: did.clone(), rse: rse.to_owned() };
        self.until("the copy", |history| history.iter().any(|entry| entry.event == event)).await;
    }

    async fn digest(&self, did: &Did, rse: &str, algorithm: &str) -> String {
        let url = format!("{}{}", self.server.storage_url(rse).unwrap().as_str().trim_end_matches('/'), did.name);
        let answer = self.http.head(url).header("Want-Digest", algorithm).send().await.unwrap();
        answer.headers()["digest"].to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_refused_rucio_refuses_old_and_new_connections_and_comes_back_on_its_port() {
    let bench = Bench::start().await;
    for _ in 0..3 {
        bench.server.faults().rucio_down(Outage::Refuse);
        let error = tokio::time::timeout(PATIENCE, async {
            loop {
                // the very first call may still find its pooled connection being cut
                match bench.get("/ping").await {
                    Err(error) if error.is_connect() => break error,
                    Ok(_) | Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        assert!(error.await.unwrap().is_connect());
        bench.server.faults().rucio_up();
        let back = tokio::time::timeout(PATIENCE, async {
            while bench.get("/ping").await.is_err() {
                tokio::task::yield_now().await;
            }
        });
        back.await.unwrap();
    }
}

#[tokio::test]
async fn a_hanging_rucio_accepts_and_says_nothing() {
    let bench = Bench::start().await;
    bench.server.faults().rucio_down(Outage::Hang);
    let impatient = reqwest::Client::builder().timeout(Duration::from_millis(200)).build().unwrap();
    let error = impatient.get(bench.url("/ping")).send().await.unwrap_err();
    assert!(error.is_timeout() && !error.is_connect(), "{error:?}");
}

#[tokio::test]
async fn an_unavailable_rucio_answers_as_a_proxy_does() {
    let bench = Bench::start().await;
    bench.server.faults().rucio_down(Outage::Unavailable);
    let answer = bench.get("/ping").await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().get("exceptionclass").is_none());
    bench.server.faults().clear();
    assert_eq!(bench.get("/ping").await.unwrap().status(), 200);
}

#[tokio::test]
async fn answers_go_wrong_in_the_order_they_were_told_to_and_then_right() {
    let bench = Bench::start().await;
    let faults = bench.server.faults();
    let refusal = Answer::Refuse { status: 500, class: "DatabaseException", message: "queue pool" };
    faults.answer(Endpoint::Rses, 2, &refusal);
    faults.answer(Endpoint::Rses, 1, &Answer::Status(502));
    faults.answer(Endpoint::Rses, 1, &Answer::Garbage);
    faults.answer(Endpoint::Rses, 1, &Answer::Truncated);
    faults.answer(Endpoint::Rses, 1, &Answer::HangUp);
    faults.answer(Endpoint::Rses, 1, &Answer::Delay(Duration::from_millis(100)));
    let path = "/rses/?expression=OFFSITE";
    for _ in 0..2 {
        let answer = bench.get(path).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["exceptionclass"]),
            (500, &"DatabaseException".parse().unwrap())
        );
    }
    assert_eq!(bench.get(path).await.unwrap().status(), 502);
    assert!(bench.get(path).await.unwrap().json::<Value>().await.is_err());
    assert!(bench.get(path).await.unwrap().text().await.is_err(), "a truncated body must not look whole");
    assert!(bench.get(path).await.is_err());
    let start = Instant::now();
    assert_eq!(bench.get(path).await.unwrap().status(), 200);
    assert!(start.elapsed() >= Duration::from_millis(100));
    assert_eq!(bench.get(path).await.unwrap().text().await.unwrap().lines().count(), 2);
    // a client repeats a request whose pooled connection broke, so there may be one more than was asked for
    assert!(bench.server.requests()[&Endpoint::Rses] >= 8);
}

#[tokio::test]
async fn a_lost_answer_has_done_its_work() {
    let bench = Bench::start().await;
    bench.server.faults().answer(Endpoint::AddDids, 1, &Answer::Lost);
    let body = json!([{"scope": "test", "name": "/ctao/test/lost", "type": "DATASET"}]);
    assert!(bench.post("/dids", &body).await.is_err());
    assert_eq!(bench.post("/dids", &body).await.unwrap().status(), 409);
    bench.server.faults().answer(Endpoint::AddDids, 1, &Answer::HangUp);
    let body = json!([{"scope": "test", "name": "/ctao/test/kept", "type": "DATASET"}]);
    assert!(bench.post("/dids", &body).await.is_err());
    assert_eq!(bench.post("/dids", &body).await.unwrap().status(), 201);
}

#[tokio::test]
async fn a_token_ends_by_time_and_when_forgotten() {
    let mut bench = Bench::start().await;
    bench.server.forget_tokens();
    assert_eq!(bench.get("/rses/").await.unwrap().status(), 401);
    bench.token = bench.log_in().await;
    assert_eq!(bench.get("/rses/").await.unwrap().status(), 200);
    let bench = Bench::with(|options| options.pace.token_lifetime = Duration::ZERO).await;
    assert_eq!(bench.get("/rses/").await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_corrupted_copy_shows_by_an_algorithm_that_was_not_asked_before_and_by_no_other() {
    let bench = Bench::start().await;
    let did = bench.registered("rot").await;
    bench.server.faults().corrupt_copies(1);
    bench.rule(&did, "STORAGE-2").await;
    bench.available(&did, "STORAGE-2").await;
    bench.rule(&did, "STORAGE-3").await;
    bench.available(&did, "STORAGE-3").await;
    for (algorithm, same) in [("adler32", true), ("crc32c", false), ("md5", false)] {
        let (on_site, rotten) =
            (bench.digest(&did, ONSITE, algorithm).await, bench.digest(&did, "STORAGE-2", algorithm).await);
        assert_eq!(on_site == rotten, same, "{algorithm}: {on_site} {rotten}");
    }
    let read = |rse| fs::read(bench.server.path(&did, rse).unwrap()).unwrap();
    assert_ne!(read("STORAGE-2"), read(ONSITE));
    assert_eq!(read("STORAGE-2").len(), read(ONSITE).len());
}

#[tokio::test]
async fn a_paused_conveyor_copies_nothing_until_resumed() {
    let bench = Bench::start().await;
    let did = bench.registered("late").await;
    bench.server.faults().pause(Daemon::Conveyor);
    bench.rule(&did, "STORAGE-2").await;
    // a second dataset's rule is judged meanwhile: the others work on
    let other = bench.registered("other").await;
    let gone = bench.rule(&other, ONSITE).await;
    bench.end(&gone).await;
    bench.until("the deletion", |history| history.iter().any(|e| matches!(e.event, Event::DidGone { .. }))).await;
    assert_eq!(bench.server.replicas(&did)["STORAGE-2"], ReplicaState::Copying);
    assert!(!bench.server.path(&did, "STORAGE-2").unwrap().exists());
    bench.server.faults().resume(Daemon::Conveyor);
    bench.available(&did, "STORAGE-2").await;
}

#[tokio::test]
async fn transfers_fail_as_told_and_leave_nothing_behind() {
    let bench = Bench::with(|options| options.pace.repair = Duration::from_millis(1)).await;
    let did = bench.registered("unlucky").await;
    bench.server.faults().fail_transfers(6);
    bench.rule(&did, "STORAGE-2").await;
    bench.available(&did, "STORAGE-2").await;
    let failures =
        |history: &[Entry]| history.iter().filter(|e| matches!(e.event, Event::TransferFailed { .. })).count();
    assert_eq!(failures(&bench.server.history()), 6);

    let lost = bench.registered("lost").await;
    bench.server.lose_file(&lost, ONSITE).unwrap();
    bench.rule(&lost, "STORAGE-2").await;
    bench.until("four failures more", |history| failures(history) >= 10).await;
    assert!(!bench.server.path(&lost, "STORAGE-2").unwrap().exists());
}

#[tokio::test]
async fn a_storage_that_is_away_serves_no_reader_no_transfer_and_no_deletion() {
    let bench = Bench::with(|options| options.pace.repair = Duration::from_millis(50)).await;
    let did = bench.registered("away").await;
    let keep = bench.rule(&did, ONSITE).await;
    bench.server.faults().storage_down("STORAGE-2", Outage::Refuse);
    bench.rule(&did, "STORAGE-2").await;
    bench.until("a failure", |h| h.iter().any(|e| matches!(e.event, Event::TransferFailed { .. }))).await;
    bench.server.faults().storage_up("STORAGE-2");
    bench.available(&did, "STORAGE-2").await;

    bench.server.faults().storage_down(ONSITE, Outage::Unavailable);
    let url = format!("{}x", bench.server.storage_url(ONSITE).unwrap());
    assert_eq!(bench.http.head(url).send().await.unwrap().status(), 503);
    bench.end(&keep).await;
    bench.until("the rule's end", |h| h.iter().any(|e| matches!(e.event, Event::RuleRemoved { .. }))).await;
    assert!(bench.server.path(&did, ONSITE).unwrap().exists());
    bench.server.faults().storage_up(ONSITE);
    bench.until("the deletion", |h| h.iter().any(|e| matches!(e.event, Event::FileDeleted { .. }))).await;
    assert!(!bench.server.path(&did, ONSITE).unwrap().exists());
}

#[tokio::test]
async fn a_reaper_that_leaves_files_drops_the_row_all_the_same() {
    let bench = Bench::start().await;
    let did = bench.registered("leftover").await;
    bench.rule(&did, "STORAGE-3").await;
    bench.available(&did, "STORAGE-3").await;
    let keep = bench.rule(&did, ONSITE).await;
    bench.server.faults().leave_files(true);
    bench.end(&keep).await;
    let gone = Event::ReplicaGone { did: did.clone(), rse: ONSITE.to_owned() };
    bench.until("the row's end", |history| history.iter().any(|entry| entry.event == gone)).await;
    assert!(bench.server.path(&did, ONSITE).unwrap().exists());
    assert!(!bench.server.replicas(&did).contains_key(ONSITE));
}

#[tokio::test]
async fn a_paused_reaper_shows_what_it_is_about_to_delete_only_when_it_works() {
    let bench = Bench::with(|options| options.pace.reaper = Duration::from_millis(200)).await;
    let did = bench.registered("doomed").await;
    let keep = bench.rule(&did, ONSITE).await;
    bench.server.faults().pause(Daemon::Reaper);
    bench.end(&keep).await;
    bench.until("the rule's end", |h| h.iter().any(|e| matches!(e.event, Event::RuleRemoved { .. }))).await;
    assert_eq!(bench.server.replicas(&did)[ONSITE], ReplicaState::Available);
    bench.server.faults().resume(Daemon::Reaper);
    let mut seen = false;
    while let Some(state) = bench.server.replicas(&did).get(ONSITE) {
        seen |= *state == ReplicaState::BeingDeleted;
        tokio::task::yield_now().await;
    }
    assert!(seen, "BEING_DELETED was never to be seen");
}

#[tokio::test]
async fn a_lost_copy_is_gone_from_the_listing_and_its_rule_counts_it_no_more() {
    let bench = Bench::start().await;
    let did = bench.registered("regress").await;
    let rule = bench.rule(&did, "STORAGE-2").await;
    bench.available(&did, "STORAGE-2").await;
    bench.server.lose_copy(&did, "STORAGE-2").unwrap();
    assert!(!bench.server.replicas(&did).contains_key("STORAGE-2"));
    let row: Value = bench.get(&format!("/rules/{rule}")).await.unwrap().json().await.unwrap();
    assert_eq!((&row["locks_ok_cnt"], &row["state"]), (&json!(0), &json!("OK")));
    let unknown = Did::new("test", "/ctao/test/nothing");
    assert!(bench.server.lose_file(&unknown, ONSITE).is_err());
    assert!(bench.server.lose_file(&did, "NOWHERE").is_err());
}

#[tokio::test]
async fn the_history_tells_the_order_of_effects() {
    let bench = Bench::start().await;
    let did = bench.registered("order").await;
    let keep = bench.rule(&did, ONSITE).await;
    bench.rule(&did, "STORAGE-3").await;
    bench.available(&did, "STORAGE-3").await;
    bench.end(&keep).await;
    bench.until("the end", |h| h.iter().any(|e| matches!(e.event, Event::ReplicaGone { .. }))).await;
    let history = bench.server.history();
    assert!(history.windows(2).all(|pair| pair[0].at <= pair[1].at));
    let names: Vec<&str> = history
        .iter()
        .map(|entry| match &entry.event {
            Event::Registered { .. } => "registered",
            Event::RulePlaced { .. } => "rule",
            Event::Available { .. } => "available",
            Event::RuleEnding { .. } => "ending",
            Event::RuleRemoved { .. } => "removed",
            Event::FileDeleted { .. } => "deleted",
            Event::ReplicaGone { .. } => "gone",
            Event::TransferFailed { .. } | Event::DidGone { .. } => "unexpected",
        })
        .collect();
    assert_eq!(names, ["registered", "rule", "rule", "available", "ending", "removed", "deleted", "gone"]);
}

#[tokio::test]
async fn a_storage_gives_nothing_from_outside_its_directory() {
    let bench = Bench::start().await;
    let did = bench.registered("inside").await;
    let base = bench.server.storage_url(ONSITE).unwrap().as_str().trim_end_matches('/').to_owned();
    let good = format!("{base}/{}", did.name);
    assert_eq!(bench.http.get(&good).send().await.unwrap().bytes().await.unwrap().len(), 6000);
    let name = bench.server.path(&did, ONSITE).unwrap();
    let outside = format!("{base}/x/%2e%2e/%2e%2e{}", name.display()).replace("%2e", "%2E");
    let port = bench.server.storage_url(ONSITE).unwrap().port().unwrap();
    let status = raw_status(port, &outside[base.len()..]).await;
    assert_eq!(status, "HTTP/1.1 403 Forbidden");
}

/// The status line for a path as it is, which a URL library would tidy up.
async fn raw_status(port: u16, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn shutdown_waits_for_all_and_frees_the_ports() {
    let bench = Bench::start().await;
    bench.server.faults().rucio_down(Outage::Hang);
    let address = (bench.server.url().host_str().unwrap().to_owned(), bench.server.url().port().unwrap());
    tokio::time::timeout(PATIENCE, bench.server.shutdown()).await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
