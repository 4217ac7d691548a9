//! Name and password (`GET /auth/userpass`).

use reqwest::header::{HeaderMap, HeaderName};

use super::method::{Login, header_value};
use super::secret::Secret;
use crate::errors::Error;

const USERNAME: HeaderName = HeaderName::from_static("x-rucio-username");
const PASSWORD: HeaderName = HeaderName::from_static("x-rucio-password");

/// Logs in with a name and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Userpass {
    /// The identity; often the account's name.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

impl Login for Userpass {
    fn path(&self) -> &'static str {
        "/auth/userpass"
    }

    fn headers(&self, setting: &str) -> Result<HeaderMap, Error> {
        let mut password = header_value(self.password.expose(), &format!("the password in {setting}"))?;
        password.set_sensitive(true);
        let username = header_value(&self.username, &format!("{setting}.username"))?;
        Ok(HeaderMap::from_iter([(USERNAME, username), (PASSWORD, password)]))
    }

    fn secrets(&self) -> Vec<Secret> {
        vec![self.password.clone()]
    }

    fn what_is_refused(&self) -> &'static str {
        "the password"
    }
}
