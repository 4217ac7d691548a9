//! What the HTTP faces and the daemons have in common.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use url::Url;

use crate::catalog::Catalog;
use crate::catalog::records::Rse;
use crate::digests::Digests;
use crate::endpoint::Endpoint;
use crate::faults::{Daemon, Faults};
use crate::journal::Journal;
use crate::options::{Options, Pace};
use rucio_client::Did;

/// A daemon that goes through everything rests this many times as long as that took: with many files it has a share of the
/// processor, and not all of it.
pub(crate) const RESTS: u32 = 4;

/// A token's owner and its end.
#[derive(Debug)]
struct Token {
    account: String,
    expires: SystemTime,
}

/// The one catalogue and everything around it.
#[derive(Debug)]
pub(crate) struct Shared {
    catalog: Mutex<Catalog>,
    passwords: BTreeMap<String, String>,
    tokens: Mutex<BTreeMap<String, Token>>,
    counts: Mutex<BTreeMap<Endpoint, u64>>,
    pub(crate) journal: Journal,
    pub(crate) faults: Faults,
    pub(crate) digests: Digests,
    pub(crate) pace: Pace,
    pub(crate) judge: Notify,
    pub(crate) conveyor: Notify,
    pub(crate) reaper: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(options: &Options, storage: &BTreeMap<String, Url>, faults: Faults, now: SystemTime) -> Self {
        let mut catalog = Catalog::new(options.seed);
        for rse in &options.rses {
            let prefix =
                storage.get(&rse.name).map(|url| url.as_str().trim_end_matches('/').replacen("http://", "dav://", 1));
            let record = Rse {
                id: uuid::Uuid::new_v4().simple().to_string(),
                directory: rse.directory.clone(),
                prefix: prefix.unwrap_or_default(),
            };
            catalog.add_rse(&rse.name, record, &rse.attributes);
        }
        for account in &options.accounts {
            catalog.add_account(&account.name, account.admin, &account.scopes, now);
        }
        let passwords = options.accounts.iter().map(|a| (a.name.clone(), a.password.clone())).collect();
        Self {
            catalog: Mutex::new(catalog),
            passwords,
            tokens: Mutex::default(),
            counts: Mutex::default(),
            journal: Journal::new(),
            faults,
            digests: Digests::default(),
            pace: options.pace,
            judge: Notify::new(),
            conveyor: Notify::new(),
            reaper: Notify::new(),
        }
    }

    /// The catalogue, for reading.
    pub(crate) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        lock(&self.catalog)
    }

    /// Changes the catalogue, writes the journal, and wakes whoever may have work now.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Catalog, SystemTime) -> T) -> T {
        let mut catalog = self.catalog();
        let result = change(&mut catalog, SystemTime::now());
        // written under the lock, so that the journal's order is that of the effects
        self.journal.write(catalog.take_events());
        if catalog.queued_transfers() > 0 {
            self.conveyor.notify_one();
        }
        drop(catalog);
        self.judge.notify_one();
        self.reaper.notify_one();
        result
    }

    /// Waits until it is a daemon's turn: its pace after it was woken, and not before it is allowed to go on.
    pub(crate) async fn turn(&self, daemon: Daemon, pace: Duration) {
        tokio::time::sleep(pace).await;
        let mut changes = self.faults.watch_changes();
        while self.faults.is_paused(daemon) && changes.changed().await.is_ok() {}
    }

    /// Where the copy of a file lies; `None` for an unknown RSE.
    pub(crate) fn path(&self, did: &Did, rse: &str) -> Option<PathBuf> {
        let catalog = self.catalog();
        catalog.rses.get(rse).map(|rse| rse.directory.join(did.name.trim_start_matches('/')))
    }

    /// A token for the account, and its end; `None` when the password is wrong.
    pub(crate) fn log_in(&self, account: &str, user: &str, password: &str) -> Option<(String, SystemTime)> {
        if account != user || self.passwords.get(account).map(String::as_str) != Some(password) {
            return None;
        }
        let token = format!("{account}-embedded-{}", uuid::Uuid::new_v4().simple());
        let expires = SystemTime::now() + self.pace.token_lifetime;
        lock(&self.tokens).insert(token.clone(), Token { account: account.to_owned(), expires });
        Some((token, expires))
    }

    /// The account of a token that is good now.
    pub(crate) fn account_of(&self, token: &str) -> Option<String> {
        let tokens = lock(&self.tokens);
        tokens.get(token).filter(|token| token.expires > SystemTime::now()).map(|token| token.account.clone())
    }

    pub(crate) fn forget_tokens(&self) {
        lock(&self.tokens).clear();
    }

    pub(crate) fn count(&self, endpoint: Endpoint) {
        *lock(&self.counts).entry(endpoint).or_default() += 1;
    }

    pub(crate) fn requests(&self) -> BTreeMap<Endpoint, u64> {
        lock(&self.counts).clone()
    }
}
