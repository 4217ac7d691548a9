//! The token that the credentials were traded for: shared by all calls, renewed in time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use reqwest::Method;
use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::answer::Headers;
use crate::errors::{Error, Kind, Outlook};
use crate::login::{Login, header_value};
use crate::request::Request;
use crate::settings::Settings;
use crate::transport::{TOKEN, Transport};

/// A token is renewed when less than this is left of it, or a quarter of its life if that is shorter.
const MARGIN: Duration = Duration::from_mins(5);
/// How long a token is trusted whose expiry cannot be read.
const UNREADABLE_LIFETIME: Duration = Duration::from_mins(1);

const ACCOUNT: HeaderName = HeaderName::from_static("x-rucio-account");
const APP_ID: HeaderName = HeaderName::from_static("x-rucio-appid");
const TOKEN_EXPIRES: HeaderName = HeaderName::from_static("x-rucio-auth-token-expires");

/// A token and how long it is good for, by this machine's monotonic clock.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// Marked sensitive: its `Debug` shows nothing.
    pub(crate) value: HeaderValue,
    renew_at: Instant,
    expires_at: Instant,
}

/// The one login shared by all calls.
pub(crate) struct Session {
    account: HeaderValue,
    /// Of every login, without the credentials.
    headers: HeaderMap,
    method: Arc<dyn Login>,
    /// How the application calls its login.
    setting: &'static str,
    current: Mutex<Option<Token>>,
    /// Held while somebody logs in; remembers when the last attempt failed and why, for those who were waiting.
    under_way: tokio::sync::Mutex<Option<(Instant, Error)>>,
}

impl Session {
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        let account = header_value(&settings.account, settings.names.account)?;
        // what can be known of the credentials without asking Rucio is known at once
        settings.login.headers(settings.names.login)?;
        let mut headers = HeaderMap::new();
        headers.insert(APP_ID, header_value(&settings.app_id, "the name of the application")?);
        headers.insert(ACCOUNT, account.clone());
        Ok(Self {
            account,
            headers,
            method: Arc::clone(&settings.login),
            setting: settings.names.login,
            current: Mutex::new(None),
            under_way: tokio::sync::Mutex::new(None),
        })
    }

    /// A token that is good for a while, logging in if needed. Callers that need one at the same time share one login.
    ///
    /// Errors are marked as never sent: the call the token was for has not been made.
    pub(crate) async fn token(&self, transport: &Transport) -> Result<Token, Error> {
        if let Some(token) = self.current().filter(|token| Instant::now() < token.renew_at) {
            return Ok(token);
        }
        let asked = Instant::now();
        let mut last_failure = self.under_way.lock().await;
        let current = self.current();
        if let Some(token) = current.as_ref().filter(|token| Instant::now() < token.renew_at) {
            return Ok(token.clone());
        }
        let failed_meanwhile = last_failure.as_ref().filter(|(when, _)| *when >= asked).map(|(_, error)| error.clone());
        let error = match failed_meanwhile {
            Some(error) => error,
            None => match self.log_in(transport).await {
                Ok(token) => return Ok(token),
                Err(error) => {
                    *last_failure = Some((Instant::now(), error.clone()));
                    error
                }
            },
        };
        // renewal is early: the old token still serves while Rucio cannot issue a new one
        match current.filter(|token| Instant::now() < token.expires_at) {
            Some(token) if error.kind() != Kind::Login => Ok(token),
            _ => Err(error),
        }
    }

    /// Logs in whatever is at hand.
    pub(crate) async fn renew(&self, transport: &Transport) -> Result<(), Error> {
        let mut last_failure = self.under_way.lock().await;
        match self.log_in(transport).await {
            Ok(_) => Ok(()),
            Err(error) => {
                *last_failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Forgets a token that Rucio refused, unless another call has replaced it already.
    pub(crate) fn reject(&self, refused: &Token) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|token| token.value == refused.value) {
            *current = None;
        }
    }

    fn current(&self) -> Option<Token> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn log_in(&self, transport: &Transport) -> Result<Token, Error> {
        let request = Request::new("login", "log in", Method::GET, self.method.path());
        let mut headers = self.method.headers(self.setting).map_err(Error::never_sent)?;
        headers.extend(self.headers.clone());
        let Headers(headers) = transport.exchange(&request, headers).await.map_err(Error::never_sent)?;
        let mut value = headers.get(TOKEN).cloned().ok_or_else(|| {
            let message = format!(
                "Rucio at {} let account '{}' in but gave no token; check that {} is the API of a Rucio server",
                transport.rucio(),
                self.account.to_str().unwrap_or_default(),
                transport.names().url
            );
            Error::new(Kind::Protocol, Outlook::Soon, message).never_sent()
        })?;
        value.set_sensitive(true);
        let lifetime = lifetime(&headers);
        transport.observer().token_expiry(unix_seconds(SystemTime::now() + lifetime));
        let now = Instant::now();
        let margin = MARGIN.min(lifetime / 4);
        let token = Token { value, renew_at: now + lifetime.saturating_sub(margin), expires_at: now + lifetime };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }
}

/// How long a token lives, by the server's own clock where it tells the time.
fn lifetime(headers: &HeaderMap) -> Duration {
    // Rucio writes "UTC" where HTTP dates have "GMT"
    let date = |name: HeaderName| {
        let text = headers.get(name)?.to_str().ok()?.replace("UTC", "GMT");
        httpdate::parse_http_date(&text).ok()
    };
    let now = date(DATE).unwrap_or_else(SystemTime::now);
    date(TOKEN_EXPIRES).map_or(UNREADABLE_LIFETIME, |expires| expires.duration_since(now).unwrap_or(Duration::ZERO))
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::login::{Secret, Userpass};

    fn settings(login: &Userpass) -> Settings {
        Settings::new("https://rucio.example.org".parse().unwrap(), "ingest", login.clone())
    }

    #[test]
    fn secrets_stay_secret() {
        let login = Userpass { username: "ingest".into(), password: Secret::new("hunter2") };
        let settings = settings(&login);
        let session = Session::new(&settings).unwrap();
        let shown = format!("{login:?} {settings:?} {:?} {:?}", session.headers, login.headers("").unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("ingest"), "{shown}");
    }

    #[test]
    fn an_impossible_password_is_refused_without_being_shown() {
        let login = Userpass { username: "ingest".into(), password: Secret::new("hunter2\n") };
        let error = Session::new(&settings(&login)).err().unwrap();
        assert_eq!(error.kind(), Kind::Settings);
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn the_lifetime_is_counted_by_the_servers_clock() {
        let mut headers = HeaderMap::new();
        headers.insert(TOKEN_EXPIRES, HeaderValue::from_static("Sun, 22 Nov 2026 12:00:13 UTC"));
        headers.insert(DATE, HeaderValue::from_static("Sun, 22 Nov 2026 11:00:13 GMT"));
        assert_eq!(lifetime(&headers), Duration::from_hours(1));
        headers.insert(DATE, HeaderValue::from_static("Sun, 22 Nov 2026 12:30:00 GMT"));
        assert_eq!(lifetime(&headers), Duration::ZERO);
        headers.insert(TOKEN_EXPIRES, HeaderValue::from_static("soon"));
        assert_eq!(lifetime(&headers), UNREADABLE_LIFETIME);
    }
}
