//! What a validation gives: metadata, or everything that is wrong with them.

use std::fmt;

use serde_json::{Map, Value};

/// Valid metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    /// Flat keys (`instance__obs_id`) and their values, in the order of the model.
    pub keys: Map<String, Value>,
    /// What the header holds beyond that, known to the model but without effect.
    pub ignored: Vec<Ignored>,
}

/// Keywords of the model that have no effect in this header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} ignored: {why}", keywords.join(", "))]
pub struct Ignored {
    /// The keywords.
    pub keywords: Vec<String>,
    /// Why they have no effect.
    pub why: &'static str,
}

/// Everything that is wrong with a header's metadata, all at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// One entry per defect, never empty.
    pub problems: Vec<Defect>,
}

impl std::error::Error for Invalid {}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the product metadata are invalid: ")?;
        for problem in &self.problems {
            write!(f, "{problem}; ")?;
        }
        f.write_str("have the header corrected and the file delivered again")
    }
}

/// One defect of the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// The keyword or keywords it is about.
    pub keyword: String,
    /// The value as the header has it, if it has one.
    pub value: Option<String>,
    /// Byte offset of the card.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl Defect {
    pub(super) fn new(keyword: impl Into<String>, what: impl Into<String>) -> Self {
        Self { keyword: keyword.into(), value: None, offset: None, what: what.into() }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.keyword)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, " (byte {offset})")?;
        }
        write!(f, "{} {}", if self.value.is_some() { ":" } else { "" }, self.what)
    }
}
