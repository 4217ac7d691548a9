//! The proxy of the fault campaign does what it says: lets through what it shall, and spoils the rest as named.
use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use rucio_miniature::{Answer, Endpoint, Miniature, Options, Outage};
use serde_json::{Value, json};

use crate::testkit::proxy::Proxy;

/// A Rucio, the proxy before it, and a client that is logged in.
struct Way {
    rucio: Miniature,
    proxy: Proxy,
    http: reqwest::Client,
    token: String,
    _root: tempfile::TempDir,
}

/// What came of a request.
#[derive(Debug, PartialEq)]
enum Came {
    /// An answer, whole.
    Answer(u16, String),
    /// The head of an answer and not all of its body.
    Part(u16),
    /// No answer.
    Nothing,
}

impl Way {
    async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default(); // already there in a second test
        let root = tempfile::tempdir().unwrap();
        let rucio = Miniature::start(Options::new(root.path())).await.unwrap();
        let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(identity.signing_key.serialize_der()).unwrap();
        let tls = rustls::ServerConfig::builder().with_no_client_auth();
        let tls = tls.with_single_cert(vec![identity.cert.der().clone()], key).unwrap();
        let proxy = Proxy::start(tls, rucio.url().as_str(), reqwest::Client::builder().tls_certs_only([])).unwrap();
        let ca = reqwest::Certificate::from_der(identity.cert.der()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().timeout(Duration::from_secs(1));
        let way = Self { rucio, proxy, http: http.build().unwrap(), token: String::new(), _root: root };
        let login = way.http.get(format!("{}/auth/userpass", way.proxy.url()));
        let login = login.header("X-Rucio-Account", "ingest").header("X-Rucio-Username", "ingest");
        let answer = login.header("X-Rucio-Password", "ingestpw").send().await.unwrap();
        let token = answer.headers()["X-Rucio-Auth-Token"].to_str().unwrap().to_owned();
        Self { token, ..way }
    }

    async fn ask(&self, base: &str, method: Method, path: &str, body: &Value) -> reqwest::Result<Response> {
        let url = format!("{}{path}", base.trim_end_matches('/'));
        self.http.request(method, url).header("X-Rucio-Auth-Token", &self.token).json(body).send().await
    }

    /// Makes a dataset through the proxy; tells what came back, and whether Rucio has it.
    async fn make(&self, name: &str) -> (Came, bool) {
        let body = json!([{"scope": "test", "name": name, "type": "DATASET"}]);
        let came = match self.ask(self.proxy.url(), Method::POST, "/dids", &body).await {
            Err(_) => Came::Nothing,
            Ok(answer) => {
                let status = answer.status().as_u16();
                answer.text().await.map_or(Came::Part(status), |text| Came::Answer(status, text))
            }
        };
        let path = format!("/dids/test/{}", name.replace('/', "%2F"));
        let there = self.ask(self.rucio.url().as_str(), Method::GET, &path, &Value::Null).await.unwrap();
        (came, there.status() == 200)
    }
}

#[tokio::test]
async fn without_a_fault_everything_passes_to_the_last_byte() {
    let way = Way::new().await;
    assert_eq!(way.make("/ctao/test/d").await, (Came::Answer(201, "Created".into()), true));
    for path in ["/dids/test/%2Fctao%2Ftest%2Fd", "/rses/?expression=OFFSITE", "/dids/test/%2Fmissing", "/rses/?x=%FF"]
    {
        let mut answers = Vec::new();
        for base in [way.proxy.url(), way.rucio.url().as_str()] {
            let answer = way.ask(base, Method::GET, path, &Value::Null).await.unwrap();
            let class = answer.headers().get("ExceptionClass").cloned();
            answers.push((
                answer.status(),
                class,
                answer.headers()["content-type"].clone(),
                answer.bytes().await.unwrap(),
            ));
        }
        assert_eq!(answers[0], answers[1], "{path}");
    }
    assert_eq!(way.proxy.spoilt(), 0);
}

#[tokio::test]
async fn each_fault_spoils_the_answer_or_the_work_as_it_says() {
    let way = Way::new().await;
    let refusal = Answer::Refuse { status: 500, class: "DatabaseException", message: "away" };
    let refused = json!({"ExceptionClass": "DatabaseException", "ExceptionMessage": "away"}).to_string();
    let page = |status: u16| format!("<html><body><h1>{status}</h1>The proxy has no answer.</body></html>");
    let cases = [
        (refusal, Came::Answer(500, refused), false),
        (Answer::Status(500), Came::Answer(500, page(500)), false),
        (Answer::Status(503), Came::Answer(503, page(503)), false),
        (Answer::Garbage, Came::Answer(200, "{\"half\": [1, <html>\n".into()), false),
        (Answer::Empty, Came::Answer(200, String::new()), false),
        (Answer::HangUp, Came::Nothing, false),
        (Answer::Truncated, Came::Part(201), true),
        (Answer::Lost, Came::Nothing, true),
        (Answer::Delay(Duration::from_millis(300)), Came::Answer(201, "Created".into()), true),
        // longer than the client waits: given up, and never passed on
        (Answer::Delay(Duration::from_mins(1)), Came::Nothing, false),
    ];
    let count = cases.len() as u64;
    for (number, (fault, came, done)) in cases.into_iter().enumerate() {
        way.proxy.faults().answer(Endpoint::AddDids, 1, &fault);
        let begun = Instant::now();
        assert_eq!(way.make(&format!("/ctao/test/{number}")).await, (came, done), "{fault:?}");
        if let Answer::Delay(delay) = fault {
            assert!(begun.elapsed() >= delay.min(Duration::from_secs(1)), "{:?}", begun.elapsed());
        }
        let next = format!("/ctao/test/{number}-next");
        assert_eq!(way.make(&next).await, (Came::Answer(201, "Created".into()), true), "once only: {fault:?}");
    }
    assert_eq!(way.proxy.spoilt(), count);
}

#[tokio::test]
async fn a_fault_of_one_endpoint_leaves_the_others_alone() {
    let way = Way::new().await;
    way.proxy.faults().answer(Endpoint::Attach, 1, &Answer::Status(500));
    assert_eq!(way.make("/ctao/test/d").await.0, Came::Answer(201, "Created".into()));
    assert_eq!(way.proxy.spoilt(), 0);
    let answer = way.ask(way.proxy.url(), Method::POST, "/dids/attachments", &json!({})).await.unwrap();
    assert_eq!((answer.status().as_u16(), way.proxy.spoilt()), (500, 1));
}

#[tokio::test]
async fn away_is_refused_or_silent_or_a_503_and_back_is_back() {
    let way = Way::new().await;
    for (outage, came) in
        [(Outage::Refuse, Came::Nothing), (Outage::Hang, Came::Nothing), (Outage::Unavailable, Came::Part(503))]
    {
        way.proxy.faults().rucio_down(outage);
        let begun = Instant::now();
        let (seen, done) = way.make(&format!("/ctao/test/{outage:?}")).await;
        let waited = begun.elapsed() >= Duration::from_secs(1);
        assert_eq!(waited, outage == Outage::Hang, "{outage:?}: {:?}", begun.elapsed());
        let seen = if let Came::Answer(status, _) = seen { Came::Part(status) } else { seen };
        assert_eq!((seen, done), (came, false), "{outage:?}");
        way.proxy.faults().rucio_up();
        let back = async { while !way.make(&format!("/ctao/test/{outage:?}")).await.1 {} };
        tokio::time::timeout(Duration::from_secs(5), back).await.expect("it comes back");
    }
}

#[tokio::test]
async fn a_mix_spoils_its_share_and_the_same_seed_the_same_answers() {
    let way = Way::new().await;
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        way.proxy.faults().answers_percent(20, seed, &[Answer::Status(500), Answer::Garbage]);
        let mut run = Vec::new();
        for _ in 0..200 {
            let answer = way.ask(way.proxy.url(), Method::GET, "/ping", &Value::Null).await.unwrap();
            run.push((answer.status().as_u16(), answer.text().await.unwrap()));
        }
        let wrong = run.iter().filter(|(status, text)| *status == 500 || text.contains("half")).count();
        assert!((20..=60).contains(&wrong), "{wrong} of 200");
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    way.proxy.faults().answers_percent(0, 7, &[]);
    let answer = way.ask(way.proxy.url(), Method::GET, "/ping", &Value::Null).await.unwrap();
    assert!(answer.text().await.unwrap().contains("embedded"));
}
