//! Rucio goes away and comes back: one line each, and waiting in between.

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::*;

/// Keeps the log's lines above debug.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Level, String)>>>);

impl Log {
    fn lines(&self) -> Vec<(Level, String)> {
        self.0.lock().unwrap().clone()
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.extend([field.name(), "=", &format!("{value:?} ")]);
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > Level::INFO || !event.metadata().target().starts_with("rucio_client") {
            return;
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push((*event.metadata().level(), text.0));
    }
}

fn short(url: &Url) -> Settings {
    let mut settings = settings(url);
    settings.retry.budget = Duration::from_millis(100);
    settings
}

#[tokio::test]
async fn an_outage_is_two_lines_and_the_waiting_between_them() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
    let address = MockServer::start(rucio([])).await.stop().await;
    let (client, told) = client(short(&Url::parse(&format!("http://{address}")).unwrap()));
    assert!(!client.circuit().is_open());
    client.circuit().closed().await;
    let did = file("a.fits");
    while !client.circuit().is_open() {
        let error = client.did(&did).await.unwrap_err();
        assert_eq!((error.kind(), error.is_transient()), (Kind::Unreachable, true));
    }
    assert!(client.circuit().since().is_some());
    assert!(client.circuit().reason().unwrap().contains("refused"));

    // many callers, nothing sent but the one probe's logins, no further line
    let before = told.requests.lock().unwrap().len();
    for _ in 0..100 {
        let error = client.did(&did).await.unwrap_err();
        assert_eq!((error.kind(), error.is_transient()), (Kind::Unreachable, true));
    }
    assert!(told.requests.lock().unwrap().len() - before < 50);
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].0, Level::WARN);
    assert!(lines[0].1.contains("out of reach") && lines[0].1.contains("refused"), "{lines:?}");

    let _second = MockServer::start_at(address, rucio([Reply::new(200, did_answer().to_string())])).await;
    client.circuit().closed().await;
    client.did(&did).await.unwrap();
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[1].0, Level::INFO);
    assert!(lines[1].1.contains("answers again"), "{lines:?}");
    assert_eq!(*told.circuit.lock().unwrap(), [true, false]);
}

#[tokio::test]
async fn one_poisonous_request_shuts_nobody_out() {
    let server = MockServer::start(|seen: &Seen| match seen.target.as_str() {
        "/auth/userpass" => token("token-1"),
        "/dids/attachments" => exception(500, "DatabaseException", "duplicate row"),
        "/accounts/ingest/attr/" => Reply::new(200, "[]"),
        _ => Reply::new(200, did_answer().to_string()),
    })
    .await;
    let (client, told) = client(short(&server.url));
    for _ in 0..3 {
        let error = client.attach(&one_file()).await.unwrap_err();
        assert_eq!((error.kind(), error.is_transient()), (Kind::Transient, true));
        client.did(&file("a.fits")).await.unwrap();
    }
    assert!(told.requests.lock().unwrap().contains(&("probe", "ok")), "the probe was asked");
    assert!(told.circuit.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_probe_that_fails_makes_no_outage_while_others_are_answered() {
    let server = MockServer::start(|seen: &Seen| match seen.target.as_str() {
        "/auth/userpass" => token("token-1"),
        "/dids/attachments" | "/accounts/ingest/attr/" => exception(500, "DatabaseException", "away"),
        _ => Reply::new(200, did_answer().to_string()),
    })
    .await;
    let mut settings = settings(&server.url);
    settings.retry =
        Retry { initial: Duration::from_millis(200), max: Duration::from_millis(200), budget: Duration::ZERO };
    let (client, told) = client(settings);
    for _ in 0..3 {
        client.attach(&one_file()).await.unwrap_err();
    }
    client.did(&file("a.fits")).await.unwrap();
    let probes = || told.requests.lock().unwrap().iter().filter(|(endpoint, _)| *endpoint == "probe").count();
    while probes() < 2 {
        tokio::task::yield_now().await;
    }
    // whoever has been answered badly again and again starts a watch of its own
    for _ in 0..3 {
        client.attach(&one_file()).await.unwrap_err();
    }
    assert!(told.circuit.lock().unwrap().is_empty());
    while !client.circuit().is_open() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_circuit_notices_a_database_that_is_down() {
    let server = MockServer::start(|seen: &Seen| match seen.target.as_str() {
        "/auth/userpass" => token("token-1"),
        _ => exception(500, "DatabaseException", "An unknown Database Exception has occurred."),
    })
    .await;
    let (client, _) = client(short(&server.url));
    while !client.circuit().is_open() {
        client.did(&file("a.fits")).await.unwrap_err();
    }
    let error = client.did(&file("a.fits")).await.unwrap_err();
    assert!(error.to_string().contains("DatabaseException"), "{error}");
}

#[tokio::test]
async fn an_outage_that_turns_into_a_refused_password_is_said_to_be_that() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
    let address = MockServer::start(rucio([])).await.stop().await;
    let (client, told) = client(short(&Url::parse(&format!("http://{address}")).unwrap()));
    while !client.circuit().is_open() {
        client.did(&file("a.fits")).await.unwrap_err();
    }
    let _server = MockServer::start_at(address, |_: &Seen| exception(401, "CannotAuthenticate", "no")).await;
    while !client.circuit().reason().unwrap().contains("refused the password") {
        tokio::task::yield_now().await;
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].1.contains("cannot be used"), "{lines:?}");
    assert_eq!(*told.circuit.lock().unwrap(), [true]);
}

#[tokio::test]
async fn calls_that_wait_their_turn_hear_of_an_outage() {
    let server = MockServer::start(|seen: &Seen| match seen.target.as_str() {
        "/auth/userpass" => token("token-1"),
        _ => Reply::Hang,
    })
    .await;
    let mut settings = short(&server.url);
    settings.max_in_flight = 3;
    settings.timeout = Duration::from_millis(200);
    let (client, _) = client(settings);
    let did = file("a.fits");
    let results = futures_util::future::join_all((0..50).map(|_| client.did(&did))).await;
    assert!(results.iter().all(Result::is_err));
    // three in flight time out and a probe confirms it; a few more may have set out meanwhile, fifty have not
    assert!(calls(&server).len() <= 12, "{}", calls(&server).len());
}

#[tokio::test]
async fn a_client_that_is_gone_probes_no_more() {
    let address = MockServer::start(rucio([])).await.stop().await;
    let (client, told) = client(short(&Url::parse(&format!("http://{address}")).unwrap()));
    while !client.circuit().is_open() {
        client.did(&file("a.fits")).await.unwrap_err();
    }
    drop(client);
    // the probing task holds the last reference to the observer but ours until it notices
    tokio::time::timeout(Duration::from_secs(10), async {
        while Arc::strong_count(&told) > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}
