//! The client: one login, one circuit and one bound on what is under way, shared by all calls.

use std::sync::{Arc, Weak};

use rand::SeedableRng;
use rand::rngs::StdRng;
use reqwest::header::HeaderMap;
use tokio::sync::Semaphore;

use crate::answer::{Answer, Json};
use crate::circuit::{Circuit, Watch};
use crate::errors::{Error, Kind};
use crate::observer::Observer;
use crate::request::Request;
use crate::retry::{self, Repeat, Retry};
use crate::session::{Session, Token};
use crate::settings::Settings;
use crate::transport::{TOKEN, Transport};
use crate::types::AccountAttribute;

/// A client of one Rucio server as one account. Clones share everything.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Transport,
    session: Session,
    circuit: Arc<Circuit>,
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
        let session = Session::new(&settings)?;
        let circuit = Arc::new(Circuit::new(transport.rucio().to_owned(), observer, settings.retry.initial));
        let permits = Semaphore::new(settings.max_in_flight.clamp(1, Semaphore::MAX_PERMITS));
        let Settings { account, retry, .. } = settings;
        Ok(Self { inner: Arc::new(Inner { transport, session, circuit, permits, retry, account }) })
    }

    /// Whether Rucio is up, as far as the calls have shown.
    pub fn circuit(&self) -> &Circuit {
        &self.inner.circuit
    }

    /// Logs in now, once, whatever the circuit says (`GET /auth/userpass`, or what the way of the login asks for): the check at start-up.
    pub async fn authenticate(&self) -> Result<(), Error> {
        self.inner.session.renew(&self.inner.transport).await
    }

    /// The account that the client acts as.
    pub fn account(&self) -> &str {
        &self.inner.account
    }

    /// Makes a call: with a token, through the circuit, repeated if that is safe.
    pub(crate) async fn call<A: Answer>(&self, repeat: Repeat, request: Request) -> Result<A, Error> {
        let inner = &self.inner;
        let rng = StdRng::from_rng(&mut rand::rng());
        let attempt = || async {
            // never closed; held until the answer is read
            let _permit = inner.permits.acquire().await;
            // after the wait, during which an outage may have been found
            if let Some(error) = inner.circuit.refusal() {
                return Err(error);
            }
            let result = inner.attempt(&request).await;
            // that says nothing of Rucio
            if result.as_ref().is_err_and(|error| error.kind() == Kind::Withheld) {
                return result;
            }
            if let Some(watch) = inner.circuit.note(result.as_ref().err()) {
                tokio::spawn(watch_for_the_end(watch, Arc::downgrade(inner), inner.retry));
            }
            result
        };
        retry::run(inner.retry, repeat, rng, || inner.circuit.is_open(), attempt).await
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
        let request = Request::account_attributes("probe", &self.account)?;
        let _: Json<Vec<AccountAttribute>> = self.attempt(&request).await?;
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
