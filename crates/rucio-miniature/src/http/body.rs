//! Request bodies: JSON, and the words with which Rucio refuses what is not.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::catalog::rules::Change;
use crate::refusal::{Class, Refusal, refuse};
use rucio_client::Did;

/// The top level of a request: an object whose parameters are asked for one by one.
#[derive(Debug)]
pub(crate) struct Parameters(Map<String, Value>);

fn json(body: &[u8], expected: &str) -> Result<Value, Refusal> {
    serde_json::from_slice(body)
        .map_err(|_| Refusal::new(Class::ValueError, format!("cannot decode json parameter {expected}")))
}

/// A body that must be a list.
pub(crate) fn list<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, Refusal> {
    match json(body, "list")? {
        Value::Array(items) => items.into_iter().map(convert).collect(),
        _ => refuse(Class::TypeError, "body must be a json list"),
    }
}

/// A value that must fit Rucio's schema.
fn convert<T: DeserializeOwned>(value: Value) -> Result<T, Refusal> {
    serde_json::from_value(value)
        .map_err(|error| Refusal::new(Class::InvalidObject, format!("Problem validating object: {error}")))
}

impl Parameters {
    /// A body that must be an object.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Refusal> {
        match json(body, "dictionary")? {
            Value::Object(map) => Ok(Self(map)),
            _ => refuse(Class::TypeError, "body must be a json dictionary"),
        }
    }

    /// A parameter that must be there.
    pub(crate) fn required<T: DeserializeOwned>(&mut self, key: &str) -> Result<T, Refusal> {
        match self.0.remove(key) {
            Some(value) => convert(value),
            None => refuse(Class::KeyError, format!("'{key}' not defined")),
        }
    }

    /// A parameter that may be missing or null.
    pub(crate) fn optional<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Refusal> {
        match self.0.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => convert(value).map(Some),
        }
    }

    /// A parameter for which null means something else than its absence.
    pub(crate) fn change<T: DeserializeOwned>(&mut self, key: &str) -> Result<Change<T>, Refusal> {
        match self.0.remove(key) {
            None => Ok(Change::Keep),
            Some(Value::Null) => Ok(Change::Clear),
            Some(value) => convert(value).map(Change::Set),
        }
    }

    /// The names of the parameters not asked for yet.
    pub(crate) fn rest(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// A DID in a body, with everything Rucio's schema lets it carry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BodyDid {
    pub(crate) scope: String,
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) bytes: Option<u64>,
    pub(crate) adler32: Option<String>,
    pub(crate) md5: Option<String>,
    pub(crate) meta: Option<Map<String, Value>>,
    #[serde(rename = "state")]
    _state: Option<String>,
    #[serde(rename = "pfn")]
    _pfn: Option<String>,
}

impl BodyDid {
    pub(crate) fn did(&self) -> Did {
        Did::new(self.scope.clone(), self.name.clone())
    }
}
