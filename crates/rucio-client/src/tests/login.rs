//! Tokens: shared, renewed in time, replaced when refused, never shown.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Hands out token-1, token-2, …; accepts those for which `good` says so.
fn counting(good: impl Fn(&str) -> bool + Send) -> impl FnMut(&Seen) -> Reply + Send {
    let mut logins = 0;
    move |seen| {
        if seen.target == "/auth/userpass" {
            logins += 1;
            return token(&format!("token-{logins}"));
        }
        match seen.header("X-Rucio-Auth-Token") {
            Some(token) if good(token) => Reply::new(200, did_answer().to_string()),
            _ => exception(401, "CannotAuthenticate", "Cannot authenticate with given credentials"),
        }
    }
}

fn logins(server: &MockServer) -> usize {
    server.seen().iter().filter(|seen| seen.target == "/auth/userpass").count()
}

#[tokio::test]
async fn calls_at_the_same_time_share_one_login() {
    let server = MockServer::start(counting(|_| true)).await;
    let (client, told) = client(settings(&server.url));
    let did = file("a.fits");
    let results = futures_util::future::join_all((0..20).map(|_| client.did(&did))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(logins(&server), 1);
    let login = &server.seen()[0];
    assert_eq!(login.header("X-Rucio-Account"), Some("ingest"));
    assert_eq!(login.header("X-Rucio-Username"), Some("ingest"));
    assert_eq!(login.header("X-Rucio-Password"), Some(PASSWORD));
    let in_an_hour = (SystemTime::now() + Duration::from_hours(1)).duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let expiry = told.expiry.lock().unwrap()[0];
    assert!((expiry - in_an_hour.as_secs_f64()).abs() < 60.0, "{expiry}");
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let server = MockServer::start(counting(|_| true)).await;
    let (client, _) = client(settings(&server.url));
    client.did(&file("a.fits")).await.unwrap();
    // only between exchanges: a paused clock would run into the timeouts of requests under way
    let pass = async |minutes| {
        tokio::time::pause();
        tokio::time::advance(Duration::from_mins(minutes)).await;
        tokio::time::resume();
    };
    pass(54).await;
    client.did(&file("a.fits")).await.unwrap();
    assert_eq!(logins(&server), 1);
    pass(2).await;
    client.did(&file("a.fits")).await.unwrap();
    assert_eq!(logins(&server), 2);
    let tokens: Vec<String> =
        server.seen().iter().filter_map(|seen| Some(seen.header("X-Rucio-Auth-Token")?.to_owned())).collect();
    assert_eq!(tokens, ["token-1", "token-1", "token-2"]);
}

#[tokio::test]
async fn the_old_token_serves_while_a_new_one_cannot_be_had() {
    let mut logins = 0;
    let server = MockServer::start(move |seen| {
        if seen.target != "/auth/userpass" {
            return Reply::new(200, did_answer().to_string());
        }
        logins += 1;
        if logins == 1 { token("token-1") } else { exception(500, "DatabaseException", "down") }
    })
    .await;
    let (client, _) = client(settings(&server.url));
    client.did(&file("a.fits")).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_mins(56)).await;
    tokio::time::resume();
    client.did(&file("a.fits")).await.unwrap();
    assert_eq!(server.seen().last().unwrap().header("X-Rucio-Auth-Token"), Some("token-1"));
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_call_repeated() {
    let server = MockServer::start(counting(|token| token == "token-2")).await;
    let (client, _) = client(settings(&server.url));
    assert_eq!(client.did(&file("a.fits")).await.unwrap().bytes, Some(3));
    assert_eq!(logins(&server), 2);
    assert_eq!(calls(&server).len(), 2);
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_too_is_the_end() {
    let server = MockServer::start(counting(|_| false)).await;
    let (client, _) = client(settings(&server.url));
    let error = client.did(&file("a.fits")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (Kind::Login, false));
    assert_eq!((logins(&server), calls(&server).len()), (2, 2));
}

#[tokio::test]
async fn a_wrong_password_is_said_once_and_in_plain_words() {
    let logins = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&logins);
    let server = MockServer::start(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        exception(401, "CannotAuthenticate", "Cannot authenticate to account ingest with 'correct horse'")
    })
    .await;
    let (client, _) = client(settings(&server.url));
    let did = file("a.fits");
    let results = futures_util::future::join_all((0..10).map(|_| client.did(&did))).await;
    let error = client.authenticate().await.unwrap_err();
    assert_eq!(
        error.to_string().replace(server.url.as_str().trim_end_matches('/'), "URL"),
        "Rucio at URL refused the password of account 'ingest' (CannotAuthenticate: Cannot authenticate to account \
         ingest with '…'); check rucio.auth and rucio.account"
    );
    for result in results {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.is_transient()), (Kind::Login, false));
        assert!(!format!("{error} {error:?}").contains(PASSWORD));
    }
    // ten callers, one question; the probe and authenticate() ask for themselves
    let asked = logins.load(Ordering::Relaxed);
    assert!((2..=3).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_server_that_gives_no_token_is_not_taken_for_rucio() {
    let server = MockServer::start(|_| Reply::new(200, "<html>welcome</html>")).await;
    let mut settings = settings(&server.url);
    settings.retry.budget = Duration::ZERO;
    let error = client(settings).0.authenticate().await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (Kind::Protocol, true));
}
