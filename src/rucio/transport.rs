//! One HTTP exchange with Rucio: bounded in time and size, judged and counted, never repeated here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode};

use super::answer::{Answer, BodyError, read_all};
use super::auth::{Auth, TOKEN};
use super::errors::{Error, Kind, Outlook, classify};
use super::{Observer, Settings};
use crate::crash;
use crate::tls::{self, root_cause};

/// How much of a failure's body is looked at.
const FAILURE_MAX: u64 = 64 * 1024;
/// How much of a server's words goes into an error, in characters.
const WORDS_MAX: usize = 400;

/// Idle connections are dropped before the server does (gunicorn after 2 s, Apache after 5 s), so that a request that
/// must not be repeated is not written into a closing connection.
const IDLE: Duration = Duration::from_millis(1500);

/// Everything but RFC 3986's unreserved characters is escaped: above all `/`, which every CTAO name begins with.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path of which each part is one segment, whatever it contains.
///
/// An empty part, `.` and `..` would make it the path of another call, so they are refused.
pub(super) fn path(parts: &[&str]) -> Result<String, Error> {
    let mut path = String::new();
    for part in parts {
        if matches!(*part, "" | "." | "..") {
            let message = format!("'{part}' cannot be part of a request to Rucio; nothing was sent");
            return Err(Error::new(Kind::Invalid, Outlook::Never, message).never_sent());
        }
        path.push('/');
        path.extend(utf8_percent_encode(part, SEGMENT));
    }
    Ok(path)
}

/// Whether the reason for a request still holds.
pub(super) type Condition = Box<dyn Fn() -> bool + Send + Sync>;

/// A request, ready to be made any number of times.
pub(super) struct Request {
    /// Names the call in metrics.
    endpoint: &'static str,
    method: Method,
    path: String,
    query: Option<String>,
    body: Option<Bytes>,
    /// Asked right before each exchange, after all that a call may have waited for.
    only_while: Option<Condition>,
    /// What Rucio is asked to do, as an infinitive, for errors.
    what: String,
}

impl Request {
    pub(super) fn new(
        endpoint: &'static str,
        what: impl Into<String>,
        method: Method,
        path: impl Into<String>,
    ) -> Self {
        Self { endpoint, method, path: path.into(), query: None, body: None, only_while: None, what: what.into() }
    }

    /// Makes a request that leaves only while a condition holds.
    pub(super) fn only_while(mut self, condition: Option<Condition>) -> Self {
        self.only_while = condition;
        self
    }

    pub(super) fn query(mut self, key: &str, value: &str) -> Self {
        let pair = format!("{key}={}", utf8_percent_encode(value, SEGMENT));
        self.query = Some(self.query.map_or_else(|| pair.clone(), |query| format!("{query}&{pair}")));
        self
    }

    pub(super) fn json(mut self, body: &serde_json::Value) -> Self {
        self.body = Some(Bytes::from(body.to_string()));
        self
    }

    /// Whether it may change something in Rucio. Two questions are asked by POST, because they are long.
    fn changes(&self) -> bool {
        self.method != Method::GET && !matches!(self.endpoint, "replicas" | "metadata")
    }
}

/// The HTTP side of a client.
pub(super) struct Transport {
    http: reqwest::Client,
    base: String,
    account: String,
    auth: Auth,
    timeout: Duration,
    observer: Arc<dyn Observer>,
}

impl Transport {
    pub(super) fn new(settings: &Settings, observer: Arc<dyn Observer>) -> Result<Self, Error> {
        let useless = |message: String| Error::new(Kind::Settings, Outlook::Never, message);
        let url = &settings.url;
        let trust = match url.scheme() {
            "https" => tls::client_config(settings.ca_file.as_deref()),
            "http" => tls::config_without_trust(),
            scheme => return Err(useless(format!("rucio.url has the scheme '{scheme}'; write https://…"))),
        };
        let trust = trust.map_err(|error| useless(format!("{error} (rucio.ca_file)")))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(useless(
                "rucio.url holds a user, password or query; credentials go into rucio.auth".to_owned(),
            ));
        }
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(trust)
            .user_agent(concat!("dl0-ingest/", env!("CARGO_PKG_VERSION")))
            // Rucio's API never redirects what is called here, and a token must not follow one to another host
            .redirect(reqwest::redirect::Policy::none())
            // the environment must not decide who sees the password
            .no_proxy()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(|error| useless(format!("the HTTP client cannot be set up: {}", root_cause(&error))))?;
        Ok(Self {
            http,
            base: url.as_str().trim_end_matches('/').to_owned(),
            account: settings.account.clone(),
            auth: settings.auth.clone(),
            timeout: settings.timeout,
            observer,
        })
    }

    /// The server, for messages.
    pub(super) fn rucio(&self) -> &str {
        &self.base
    }

    pub(super) fn observer(&self) -> &dyn Observer {
        &*self.observer
    }

    /// Makes the request once and reads the whole answer.
    pub(super) async fn exchange<A: Answer>(&self, request: &Request, headers: HeaderMap) -> Result<A, Error> {
        let begun = Instant::now();
        let exchange = self.exchange_now(request, headers);
        let result =
            if request.changes() { crash::around("rucio", request.endpoint, exchange).await } else { exchange.await };
        let outcome = result.as_ref().map_or_else(|error| error.kind().as_str(), |_| "ok");
        self.observer.request(request.endpoint, outcome, begun.elapsed().as_secs_f64());
        result
    }

    async fn exchange_now<A: Answer>(&self, request: &Request, headers: HeaderMap) -> Result<A, Error> {
        let mut url = format!("{}{}", self.base, request.path);
        if let Some(query) = &request.query {
            url.push('?');
            url.push_str(query);
        }
        let token = headers.get(TOKEN).cloned();
        let mut builder = self.http.request(request.method.clone(), url).headers(headers);
        if let Some(body) = &request.body {
            builder = builder.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body.clone());
        }
        if request.only_while.as_ref().is_some_and(|holds| !holds()) {
            let message = format!("Rucio was not asked to {}: the reason for it is too old by now", request.what);
            return Err(Error::new(Kind::Withheld, Outlook::Later, message).never_sent());
        }
        let response = builder.send().await.map_err(|error| self.no_answer(request, error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.failure(request, response, token.as_ref()).await);
        }
        A::read(response).await.map_err(|error| self.bad_answer(request, status, error))
    }

    /// What a call that got no answer means.
    fn no_answer(&self, request: &Request, error: reqwest::Error) -> Error {
        let what = &request.what;
        let rucio = &self.base;
        let error = error.without_url();
        if let Some(fault) = tls::fault(&error) {
            let message = format!("Rucio at {rucio} cannot be trusted: {fault} (rucio.url, rucio.ca_file)");
            return Error::new(Kind::Tls, Outlook::Never, message).with_source(error);
        }
        let reason = root_cause(&error);
        if error.is_builder() {
            let message = format!("no request can be made of the wish to {what}: {reason}");
            return Error::new(Kind::Invalid, Outlook::Never, message).never_sent();
        }
        if error.is_connect() {
            let message = if error.is_timeout() {
                format!(
                    "Rucio at {rucio} sets up no connection in time; check the network, and rucio.url (port, https or http)"
                )
            } else {
                format!("Rucio at {rucio} cannot be reached: {reason}")
            };
            return Error::new(Kind::Unreachable, Outlook::Soon, message).never_sent().with_source(error);
        }
        let message = if error.is_timeout() {
            format!("Rucio at {rucio} did not answer within {} s when asked to {what}", self.timeout.as_secs_f64())
        } else {
            format!("Rucio at {rucio} broke off when asked to {what}: {reason}")
        };
        Error::new(Kind::Unreachable, Outlook::Soon, message).with_source(error)
    }

    /// What a success whose content is not as expected means.
    fn bad_answer(&self, request: &Request, status: StatusCode, error: BodyError) -> Error {
        let rucio = &self.base;
        let what = &request.what;
        match error {
            BodyError::Broken(error) if error.is_timeout() => {
                let within = self.timeout.as_secs_f64();
                let message =
                    format!("Rucio at {rucio} did not finish answering within {within} s when asked to {what}");
                Error::new(Kind::Unreachable, Outlook::Soon, message).with_source(error.without_url())
            }
            error => {
                let reason = self.clean(&error.to_string(), None);
                let message = format!("Rucio at {rucio}, asked to {what}, answered {status}, but {reason}");
                Error::new(Kind::Protocol, Outlook::Soon, message)
            }
        }
    }

    /// What an answer other than success means.
    async fn failure(&self, request: &Request, response: Response, token: Option<&HeaderValue>) -> Error {
        let status = response.status();
        let header = |name: &str| {
            response.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let mut class = header("ExceptionClass");
        let mut words = header("ExceptionMessage");
        let location = header("Location");
        // the header's message is cut to 125 characters, the body has all of it
        let body = read_all(response, FAILURE_MAX).await.unwrap_or_default();
        if let Ok(said) = serde_json::from_slice::<Said>(&body) {
            class = class.or(Some(said.class));
            words = Some(said.message);
        }
        let (kind, outlook) = classify(class.as_deref(), status.as_u16());
        let words = words.map(|words| self.clean(&words, token)).filter(|words| !words.is_empty());
        let said = match (&class, words) {
            (Some(class), Some(words)) => format!("{class}: {words}"),
            (Some(class), None) => class.clone(),
            (None, _) => format!("status {status}"),
        };
        let (rucio, account, what) = (&self.base, &self.account, &request.what);
        let message = match kind {
            Kind::Login if request.endpoint == "login" => format!(
                "Rucio at {rucio} refused {} of account '{account}' ({said}); check rucio.auth and rucio.account",
                self.auth.what_is_refused()
            ),
            Kind::Login => {
                format!("Rucio at {rucio} refused the token of account '{account}' when asked to {what} ({said})")
            }
            Kind::Forbidden => format!(
                "Rucio at {rucio} does not let account '{account}' {what} ({said}); \
                 the account must own the scope or have the attribute admin=True"
            ),
            Kind::Protocol if status.is_redirection() => format!(
                "Rucio at {rucio} redirects when asked to {what}{}, which is not followed; check rucio.url",
                location.map(|to| format!(" (to {})", self.clean(&to, token))).unwrap_or_default()
            ),
            Kind::Protocol => format!(
                "{rucio}, asked to {what}, gave an answer that is not Rucio's ({said}); \
                 check that rucio.url is the API of a Rucio server"
            ),
            Kind::Unreachable | Kind::Transient => format!("Rucio at {rucio} cannot {what} just now ({said})"),
            _ => format!("Rucio at {rucio} refused to {what} ({said})"),
        };
        Error::new(kind, outlook, message).with_class(class)
    }

    /// A server's words, fit for a log line: one line, bounded, without our secrets should it quote them.
    fn clean(&self, words: &str, token: Option<&HeaderValue>) -> String {
        let mut words = words.replace(char::is_control, " ");
        let secrets = [Some(self.auth.secret().expose()), token.and_then(|token| token.to_str().ok())];
        for secret in secrets.into_iter().flatten().filter(|secret| !secret.is_empty()) {
            words = words.replace(secret, "…");
        }
        if let Some((end, _)) = words.char_indices().nth(WORDS_MAX) {
            words.truncate(end);
            words.push('…');
        }
        words.trim().to_owned()
    }
}

/// The JSON body of a failure.
#[derive(serde::Deserialize)]
struct Said {
    #[serde(rename = "ExceptionClass")]
    class: String,
    #[serde(rename = "ExceptionMessage")]
    message: String,
}
