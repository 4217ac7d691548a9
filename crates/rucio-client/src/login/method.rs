//! What the client needs to know of a way to log in.

use std::fmt;

use reqwest::header::{HeaderMap, HeaderValue};

use super::secret::Secret;
use crate::errors::Error;

/// A way to log in: credentials that Rucio trades for a token.
///
/// Its `Debug` must not show them.
pub trait Login: fmt::Debug + Send + Sync {
    /// The endpoint that gives the token, such as `/auth/userpass`. It is asked with `GET`.
    fn path(&self) -> &'static str;

    /// The headers that carry the credentials, marked as sensitive. The account and the application are added. Asked for at
    /// each login, so that credentials that have changed count from the next one on.
    ///
    /// `setting` is how the application's users know the login, for [`Error::of_settings`].
    fn headers(&self, setting: &str) -> Result<HeaderMap, Error>;

    /// What must never be repeated from a server's answer.
    fn secrets(&self) -> Vec<Secret>;

    /// What Rucio refuses when it refuses the login, in the words of an error: `the password`.
    fn what_is_refused(&self) -> &'static str;
}

/// A text as a header; `setting` names where it comes from.
pub(crate) fn header_value(text: &str, setting: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
        Error::of_settings(format!(
            "{setting} holds a control character, such as a line break in the middle; remove it"
        ))
    })
}
