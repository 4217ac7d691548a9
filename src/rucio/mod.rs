//! Client of Rucio's REST API: the calls the daemon makes, and what their failures mean.
//!
//! Every call either succeeds, or fails with an [`Error`] whose [`Kind`] says what the caller can do. What is safe to
//! repeat is repeated within a budget; an outage opens the [`Breaker`], and then calls fail at once until it ends. All
//! futures may be dropped at any point.

mod accounts;
mod answer;
mod auth;
mod breaker;
mod dids;
mod errors;
mod metadata;
mod ndjson;
mod replicas;
mod retry;
mod rses;
mod rules;
mod survey;
mod transport;
mod types;

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use reqwest::header::HeaderMap;
use tokio::sync::Semaphore;
use url::Url;

pub use auth::{Auth, Secret};
pub use breaker::Breaker;
pub use errors::{Error, Kind};
pub use metadata::metadata_key_is_safe;
pub use retry::Retry;
pub use survey::Survey;
pub use types::{
    Analysis, Attachment, Child, CollectionKind, DidInfo, DidKind, Grouping, Lock, LockState, NewCollection, NewRule,
    ReplicaListing, ReplicaQuery, ReplicaState, Rule, RuleId, RuleState, StuckTransfer,
};

use answer::{Answer, Json};
use auth::{Session, TOKEN, Token};
use breaker::Watch;
use retry::Repeat;
use transport::{Request, Transport};

#[cfg(test)]
mod tests;

/// Most DIDs in one list; Rucio's schema refuses more.
pub const LIST_MAX: usize = 1000;

/// How to reach Rucio.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The API, such as `https://rucio.example.org`.
    pub url: Url,
    /// The account to act as.
    pub account: String,
    /// How to log in.
    pub auth: Auth,
    /// PEM file of the only CAs to trust; none: those of the machine.
    pub ca_file: Option<PathBuf>,
    /// Longest time for one exchange, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// Longest time for connecting, TLS included.
    pub connect_timeout: Duration,
    /// Calls under way at once, at least 1.
    pub max_in_flight: usize,
    /// How patiently a failed call is repeated.
    pub retry: Retry,
}

/// Is told what the client sees, for metrics.
pub trait Observer: Send + Sync {
    /// One exchange is over: `outcome` is `ok` or a [`Kind::as_str`].
    fn request(&self, endpoint: &'static str, outcome: &'static str, seconds: f64);
    /// The breaker has opened (true) or closed.
    fn breaker(&self, open: bool);
    /// There is a new token, good until then.
    fn token_expiry(&self, unix_seconds: f64);
}

/// A client of one Rucio server as one account. Clones share everything.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Transport,
    session: Session,
    breaker: Arc<Breaker>,
    permits: Semaphore,
    retry: Retry,
    account: String,
}

impl Client {
    /// Sets up a client; nothing is sent yet.
    ///
    /// Fails with [`Kind::Settings`] if the CA file, the URL or the password is of no use.
    pub fn new(settings: Settings, observer: Arc<dyn Observer>) -> Result<Self, Error> {
        let transport = Transport::new(&settings, Arc::clone(&observer))?;
        let session = Session::new(&settings.account, settings.auth)?;
        let breaker = Arc::new(Breaker::new(transport.rucio().to_owned(), observer, settings.retry.initial));
        let permits = Semaphore::new(settings.max_in_flight.clamp(1, Semaphore::MAX_PERMITS));
        let Settings { account, retry, .. } = settings;
        Ok(Self { inner: Arc::new(Inner { transport, session, breaker, permits, retry, account }) })
    }

    /// Whether Rucio is up, as far as the calls have shown.
    pub fn breaker(&self) -> &Breaker {
        &self.inner.breaker
    }

    /// Logs in now, once, whatever the breaker says (`GET /auth/userpass`): the check at start-up.
    pub async fn authenticate(&self) -> Result<(), Error> {
        self.inner.session.renew(&self.inner.transport).await
    }

    /// Makes a call: with a token, through the breaker, repeated if that is safe.
    async fn call<A: Answer>(&self, repeat: Repeat, request: Request) -> Result<A, Error> {
        let inner = &self.inner;
        let rng = StdRng::from_rng(&mut rand::rng());
        let attempt = || async {
            // never closed; held until the answer is read
            let _permit = inner.permits.acquire().await;
            // after the wait, during which an outage may have been found
            if let Some(error) = inner.breaker.refusal() {
                return Err(error);
            }
            let result = inner.attempt(&request).await;
            // that says nothing of Rucio
            if result.as_ref().is_err_and(|error| error.kind() == Kind::Withheld) {
                return result;
            }
            if let Some(watch) = inner.breaker.note(result.as_ref().err()) {
                tokio::spawn(watch_for_the_end(watch, Arc::downgrade(inner), inner.retry));
            }
            result
        };
        retry::run(inner.retry, repeat, rng, || inner.breaker.is_open(), attempt).await
    }
}

impl Inner {
    /// One attempt. A token that Rucio does not accept is replaced, once: it may have been forgotten by a restart.
    async fn attempt<A: Answer>(&self, request: &Request) -> Result<A, Error> {
        let token = self.session.token(&self.transport).await?;
        match self.transport.exchange(request, with(&token)).await {
            Err(error) if error.class() == Some("CannotAuthenticate") => {
                self.session.reject(&token);
                let token = self.session.token(&self.transport).await?;
                let result = self.transport.exchange(request, with(&token)).await;
                if result.as_ref().is_err_and(|error| error.kind() == Kind::Login) {
                    self.session.reject(&token);
                }
                result
            }
            result => result,
        }
    }

    /// The cheapest call that reaches Rucio's database; `/ping` does not.
    async fn probe(&self) -> Result<(), Error> {
        let request = accounts::attributes_request("probe", &self.account)?;
        let _: Json<Vec<accounts::Attribute>> = self.attempt(&request).await?;
        Ok(())
    }
}

fn with(token: &Token) -> HeaderMap {
    HeaderMap::from_iter([(TOKEN, token.value.clone())])
}

/// Probes until Rucio answers the probe, has answered somebody else before an outage was found, or the client is gone.
async fn watch_for_the_end(watch: Watch, client: Weak<Inner>, retry: Retry) {
    let mut pause = retry.initial;
    while let Some(inner) = client.upgrade() {
        if watch.report(inner.probe().await.err().as_ref()) {
            return;
        }
        drop(inner);
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(retry.max.max(retry.initial));
    }
}
