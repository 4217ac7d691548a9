//! One HTTP exchange with Rucio: bounded in time and size, judged and counted, never repeated here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, StatusCode};

use crate::answer::{Answer, BodyError, read_all};
use crate::errors::{Error, Kind, Outlook, classify};
use crate::login::{Login, Secret};
use crate::observer::{ChangeHook, Observer};
use crate::request::Request;
use crate::settings::{SettingNames, Settings};
use crate::trust::{self, root_cause};

/// How much of a failure's body is looked at.
const FAILURE_MAX: u64 = 64 * 1024;
/// How much of a server's words goes into an error, in characters.
const WORDS_MAX: usize = 400;

/// Idle connections are dropped before the server does (gunicorn after 2 s, Apache after 5 s), so that a request that
/// must not be repeated is not written into a closing connection.
const IDLE: Duration = Duration::from_millis(1500);

/// Carries the token, in both directions.
pub(crate) const TOKEN: HeaderName = HeaderName::from_static("x-rucio-auth-token");

/// The HTTP side of a client.
pub(crate) struct Transport {
    http: reqwest::Client,
    base: String,
    account: String,
    login: Arc<dyn Login>,
    names: SettingNames,
    timeout: Duration,
    observer: Arc<dyn Observer>,
    change_hook: Option<Arc<dyn ChangeHook>>,
}

impl Transport {
    pub(crate) fn new(settings: &Settings, observer: Arc<dyn Observer>) -> Result<Self, Error> {
        let url = &settings.url;
        let names = settings.names;
        let trust = match url.scheme() {
            "https" => trust::client_config(settings.ca_file.as_deref()),
            "http" => trust::config_without_trust(),
            scheme => {
                let message = format!("{} has the scheme '{scheme}'; write https://…", names.url);
                return Err(Error::of_settings(message));
            }
        };
        let trust = trust.map_err(|error| Error::of_settings(format!("{error} ({})", names.ca_file)))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(Error::of_settings(format!(
                "{} holds a user, password or query; credentials go into {}",
                names.url, names.login
            )));
        }
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(trust)
            .user_agent(&settings.user_agent)
            // Rucio's API never redirects what is called here, and a token must not follow one to another host
            .redirect(reqwest::redirect::Policy::none())
            // the environment must not decide who sees the password
            .no_proxy()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(|error| Error::of_settings(format!("the HTTP client cannot be set up: {}", root_cause(&error))))?;
        Ok(Self {
            http,
            base: url.as_str().trim_end_matches('/').to_owned(),
            account: settings.account.clone(),
            login: Arc::clone(&settings.login),
            names,
            timeout: settings.timeout,
            observer,
            change_hook: settings.change_hook.clone(),
        })
    }

    /// How the settings are called, for messages.
    pub(crate) fn names(&self) -> &SettingNames {
        &self.names
    }

    /// The server, for messages.
    pub(crate) fn rucio(&self) -> &str {
        &self.base
    }

    pub(crate) fn observer(&self) -> &dyn Observer {
        &*self.observer
    }

    /// Makes the request once and reads the whole answer.
    pub(crate) async fn exchange<A: Answer>(&self, request: &Request, headers: HeaderMap) -> Result<A, Error> {
        let begun = Instant::now();
        let hook = self.change_hook.as_deref().filter(|_| request.changes());
        if let Some(hook) = hook {
            hook.before(request.endpoint);
        }
        let result = self.exchange_now(request, headers).await;
        if let Some(hook) = hook {
            hook.after(request.endpoint);
        }
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
        let (rucio, names) = (&self.base, &self.names);
        let error = error.without_url();
        if let Some(fault) = trust::fault(&error) {
            let message = format!("Rucio at {rucio} cannot be trusted: {}", fault.told(names.url, names.ca_file));
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
                    "Rucio at {rucio} sets up no connection in time; \
                     check the network, and {} (port, https or http)",
                    names.url
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
        let (rucio, account, what, names) = (&self.base, &self.account, &request.what, &self.names);
        let message = match kind {
            Kind::Login if request.endpoint == "login" => format!(
                "Rucio at {rucio} refused {} of account '{account}' ({said}); check {} and {}",
                self.login.what_is_refused(),
                names.login,
                names.account
            ),
            Kind::Login => {
                format!("Rucio at {rucio} refused the token of account '{account}' when asked to {what} ({said})")
            }
            Kind::Forbidden => format!(
                "Rucio at {rucio} does not let account '{account}' {what} ({said}); \
                 the account must own the scope or have the attribute admin=True"
            ),
            Kind::Protocol if status.is_redirection() => format!(
                "Rucio at {rucio} redirects when asked to {what}{}, which is not followed; check {}",
                location.map(|to| format!(" (to {})", self.clean(&to, token))).unwrap_or_default(),
                names.url
            ),
            Kind::Protocol => format!(
                "{rucio}, asked to {what}, gave an answer that is not Rucio's ({said}); \
                 check that {} is the API of a Rucio server",
                names.url
            ),
            Kind::Unreachable | Kind::Transient => format!("Rucio at {rucio} cannot {what} just now ({said})"),
            _ => format!("Rucio at {rucio} refused to {what} ({said})"),
        };
        Error::new(kind, outlook, message).with_class(class)
    }

    /// A server's words, fit for a log line: one line, bounded, without our secrets should it quote them.
    fn clean(&self, words: &str, token: Option<&HeaderValue>) -> String {
        let mut words = words.replace(char::is_control, " ");
        let credentials = self.login.secrets();
        let token = token.and_then(|token| token.to_str().ok());
        let secrets = credentials.iter().map(Secret::expose).chain(token);
        for secret in secrets.filter(|secret| !secret.is_empty()) {
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
