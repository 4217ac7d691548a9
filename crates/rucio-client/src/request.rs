//! A request to Rucio, before it is sent.

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;

use crate::errors::{Error, Kind, Outlook};

/// Everything but RFC 3986's unreserved characters is escaped: above all `/`, with which names may begin.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path of which each part is one segment, whatever it contains.
///
/// An empty part, `.` and `..` would make it the path of another call, so they are refused.
pub(crate) fn path(parts: &[&str]) -> Result<String, Error> {
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
pub(crate) type Condition = Box<dyn Fn() -> bool + Send + Sync>;

/// A request, ready to be made any number of times.
pub(crate) struct Request {
    /// Names the call in metrics.
    pub(crate) endpoint: &'static str,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) body: Option<Bytes>,
    /// Asked right before each exchange, after all that a call may have waited for.
    pub(crate) only_while: Option<Condition>,
    /// What Rucio is asked to do, as an infinitive, for errors.
    pub(crate) what: String,
}

impl Request {
    pub(crate) fn new(
        endpoint: &'static str,
        what: impl Into<String>,
        method: Method,
        path: impl Into<String>,
    ) -> Self {
        Self { endpoint, method, path: path.into(), query: None, body: None, only_while: None, what: what.into() }
    }

    /// The question for the attributes of an account. The trailing slash is part of the route.
    pub(crate) fn account_attributes(endpoint: &'static str, account: &str) -> Result<Self, Error> {
        let path = path(&["accounts", account, "attr"])? + "/";
        Ok(Self::new(endpoint, format!("show the attributes of account '{account}'"), Method::GET, path))
    }

    /// Makes a request that leaves only while a condition holds.
    pub(crate) fn only_while(mut self, condition: Option<Condition>) -> Self {
        self.only_while = condition;
        self
    }

    pub(crate) fn query(mut self, key: &str, value: &str) -> Self {
        let pair = format!("{key}={}", utf8_percent_encode(value, SEGMENT));
        self.query = Some(self.query.map_or_else(|| pair.clone(), |query| format!("{query}&{pair}")));
        self
    }

    pub(crate) fn json(mut self, body: &serde_json::Value) -> Self {
        self.body = Some(Bytes::from(body.to_string()));
        self
    }

    /// Whether it may change something in Rucio. Questions that are long are asked by POST.
    pub(crate) fn changes(&self) -> bool {
        self.method != Method::GET && !matches!(self.endpoint, "replicas" | "metadata" | "did_ends" | "did_statuses")
    }
}
