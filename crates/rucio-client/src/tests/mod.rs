//! Behaviour of the client against a server that misbehaves on request.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod calls;
mod certificates;
mod login;
mod outage;
mod repetition;
mod trust;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use url::Url;

use http_script::{MockServer, Reply, Seen};

use super::login::{Secret, Userpass};
use super::*;

/// Keeps what the client tells its observer.
#[derive(Default)]
pub(super) struct Told {
    requests: Mutex<Vec<(&'static str, &'static str)>>,
    circuit: Mutex<Vec<bool>>,
    expiry: Mutex<Vec<f64>>,
}

impl Observer for Told {
    fn request(&self, endpoint: &'static str, outcome: &'static str, seconds: f64) {
        assert!(seconds >= 0.0);
        self.requests.lock().unwrap().push((endpoint, outcome));
    }

    fn circuit(&self, open: bool) {
        self.circuit.lock().unwrap().push(open);
    }

    fn token_expiry(&self, unix_seconds: f64) {
        self.expiry.lock().unwrap().push(unix_seconds);
    }
}

const PASSWORD: &str = "correct horse";

fn settings(url: &Url) -> Settings {
    let login = Userpass { username: "ingest".into(), password: Secret::new(PASSWORD) };
    let retry =
        Retry { initial: Duration::from_millis(1), max: Duration::from_millis(5), budget: Duration::from_secs(20) };
    let names =
        SettingNames { url: "rucio.url", account: "rucio.account", login: "rucio.auth", ca_file: "rucio.ca_file" };
    Settings {
        timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(5),
        retry,
        names,
        ..Settings::new(url.clone(), "ingest", login)
    }
}

fn client(settings: Settings) -> (Client, Arc<Told>) {
    let told = Arc::new(Told::default());
    (Client::new(settings, told.clone()).unwrap(), told)
}

/// A login that hands out `token`, good for an hour.
fn token(token: &str) -> Reply {
    let now = SystemTime::now();
    let expires = httpdate::fmt_http_date(now + Duration::from_hours(1)).replace("GMT", "UTC");
    Reply::new(200, "")
        .header("Date", httpdate::fmt_http_date(now))
        .header("X-Rucio-Auth-Token", token)
        .header("X-Rucio-Auth-Token-Expires", expires)
}

/// A failure in Rucio's words.
fn exception(status: u16, class: &str, message: &str) -> Reply {
    let body = json!({ "ExceptionClass": class, "ExceptionMessage": message });
    Reply::new(status, body.to_string())
        .header("ExceptionClass", class)
        .header("ExceptionMessage", message.chars().take(125).collect::<String>())
}

/// Grants every login and every probe; other requests get the replies one after the other.
fn rucio(replies: impl IntoIterator<Item = Reply>) -> impl FnMut(&Seen) -> Reply + Send {
    let mut left: VecDeque<Reply> = replies.into_iter().collect();
    move |seen| match seen.target.as_str() {
        "/auth/userpass" => token("token-1"),
        "/accounts/ingest/attr/" => Reply::new(200, "[]"),
        _ => left.pop_front().unwrap_or_else(|| Reply::new(501, "nothing more was planned")),
    }
}

/// The requests other than logins and probes.
fn calls(server: &MockServer) -> Vec<Seen> {
    let behind = ["/auth/userpass", "/accounts/ingest/attr/"];
    server.seen().into_iter().filter(|seen| !behind.contains(&seen.target.as_str())).collect()
}

fn file(name: &str) -> Did {
    Did::new("acada", format!("/ctao/acada/dl0/{name}"))
}

fn one_file() -> Vec<Attachment> {
    let child = Child { did: file("a.fits"), bytes: Some(3), adler32: Some(1.into()), meta: Map::new() };
    vec![Attachment { parent: file("d"), rse: Some("STORAGE-1".into()), children: vec![child] }]
}

fn one_rule() -> NewRule {
    NewRule {
        dids: vec![file("a.fits")],
        copies: 1,
        rse_expression: "OFFSITE".into(),
        source_replica_expression: None,
        grouping: Grouping::Dataset,
        lifetime: None,
        activity: None,
        comment: None,
        meta: None,
    }
}

fn did_answer() -> Value {
    json!({ "scope": "acada", "name": "/ctao/acada/dl0/a.fits", "type": "FILE", "account": "ingest", "bytes": 3,
            "length": 1, "md5": null, "adler32": "00000001" })
}

type Map = serde_json::Map<String, Value>;
