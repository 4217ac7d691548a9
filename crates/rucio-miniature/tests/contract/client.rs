//! A client as small as can be, so that the suite does not lean on the one under test.

use std::path::Path;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderMap;
use reqwest::{Certificate, Method};
use serde_json::Value;

/// A storage that has said nothing for so long will not answer any more.
const SILENCE: Duration = Duration::from_secs(20);

/// One answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// A header's value, empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body as one JSON value a line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        self.body.lines().map(parse).collect()
    }

    /// Demands a status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Demands a status and an exception class, which must stand in the headers and in the body.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, class: &str) {
        assert_eq!((self.status, self.header("ExceptionClass")), (status, class), "{self:?}");
        assert!(!self.header("ExceptionMessage").is_empty(), "{self:?}");
        let body = self.json();
        assert_eq!(body["ExceptionClass"], class);
        assert!(body["ExceptionMessage"].is_string());
    }
}

/// Talks to one server, with or without a token.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
}

impl Client {
    pub(crate) fn new(url: &str, ca_file: Option<&Path>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            // XRootD knows `Want-Digest` in this spelling alone
            .http1_title_case_headers()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_mins(2));
        if let Some(file) = ca_file {
            let certificate = Certificate::from_pem(&std::fs::read(file).unwrap()).unwrap();
            builder = builder.tls_certs_only([certificate]);
        }
        let http = builder.build().unwrap();
        Self { http, url: url.trim_end_matches('/').to_owned(), token: None }
    }

    /// The same server with another token, or with none.
    pub(crate) fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    /// The same connection settings for another URL.
    pub(crate) fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), token: None, ..self.clone() }
    }

    /// Sends whatever is given. A question that gets no answer is asked again, on a connection of its own: XRootD 5.5 now
    /// and then swallows one.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answer {
        let tries = if matches!(method, Method::GET | Method::HEAD) { 3 } else { 1 };
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("X-Rucio-Auth-Token", token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body);
        }
        let mut response = None;
        for left in (0..tries).rev() {
            let again = request.try_clone().unwrap();
            let again = if left > 0 { again.timeout(SILENCE) } else { again };
            match again.send().await {
                Err(error) if error.is_timeout() && left > 0 => {}
                answered => {
                    response = Some(answered.unwrap());
                    break;
                }
            }
        }
        let response = response.expect("the last try answers or fails");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[], Some(body.to_string())).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, &[], Some(body.to_string())).await
    }

    pub(crate) async fn delete(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::DELETE, path, &[], Some(body.to_string())).await
    }

    /// `HEAD` with the wish for a digest.
    pub(crate) async fn head(&self, wanted: &str) -> Answer {
        self.send(Method::HEAD, "", &[("Want-Digest", wanted)], None).await
    }

    /// `GET /auth/userpass`
    pub(crate) async fn log_in(&self, account: &str, password: &str) -> Answer {
        let headers = [
            ("X-Rucio-Account", account),
            ("X-Rucio-Username", account),
            ("X-Rucio-Password", password),
            ("X-Rucio-AppID", "contract"),
        ];
        self.send(Method::GET, "/auth/userpass", &headers, None).await
    }
}

/// `%2F` and friends.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
