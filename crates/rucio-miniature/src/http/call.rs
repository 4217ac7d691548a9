//! What the views are handed.

use crate::endpoint::Route;

/// A request after authentication.
pub(super) struct Call<'a> {
    pub(super) route: &'a Route,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
}

impl Call<'_> {
    /// The value of a query parameter.
    pub(super) fn parameter(&self, key: &str) -> Option<String> {
        let mut pairs = url::form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(k, _)| k == key).map(|(_, value)| value.into_owned())
    }
}
