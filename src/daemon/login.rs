//! Logging in with a password that somebody may change while the daemon runs.

use std::sync::{Mutex, PoisonError};

use crate::config::{Auth, PasswordError};
use rucio_client::Error;
use rucio_client::login::{HeaderMap, Login, Secret, Userpass};

/// Name and password; the password is read again at each login, as after one that Rucio has refused.
#[derive(Debug)]
pub(super) struct PasswordFile {
    auth: Auth,
    last: Mutex<Userpass>,
}

impl PasswordFile {
    pub(super) fn of(auth: &Auth) -> Result<Self, PasswordError> {
        let Auth::Userpass { username, .. } = auth;
        let password = Secret::new(auth.read_password()?);
        Ok(Self { auth: auth.clone(), last: Mutex::new(Userpass { username: username.clone(), password }) })
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Userpass> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Login for PasswordFile {
    fn path(&self) -> &'static str {
        self.last().path()
    }

    fn headers(&self, setting: &str) -> Result<HeaderMap, Error> {
        let password = self.auth.read_password().map_err(|error| Error::of_settings(error.to_string()))?;
        let mut last = self.last();
        last.password = Secret::new(password);
        last.headers(setting)
    }

    fn secrets(&self) -> Vec<Secret> {
        self.last().secrets()
    }

    fn what_is_refused(&self) -> &'static str {
        "the password"
    }
}
