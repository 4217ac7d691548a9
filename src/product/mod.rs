//! The CTAO data product model as data, and the engine that validates a header against it.
//!
//! `model-1.4.tsv` is the model: every keyword, the flat key it is stored under, its type, and whether it is required. It
//! is made by `generate_model.py` and never edited. The engine knows types and rules, not keywords; the few rules that
//! concern single keys, which the model expresses in code, are gathered in `rules`.

mod content;
mod convert;
mod coordinates;
mod email;
mod engine;
mod model;
mod rules;
mod time;
mod units;

use std::fmt;

use serde_json::{Map, Value};

use fits_verify::Header;

pub use content::{Incomplete, has_data};

/// The first HDU with this keyword holds the product metadata.
pub const MARKER: &str = "CTAOMETA";

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
    fn new(keyword: impl Into<String>, what: impl Into<String>) -> Self {
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

/// Validates the metadata of a header and returns them under their flat keys.
///
/// `content` is a digest of the whole file: where the header has no DATAID, the product's identifier is derived from it,
/// so that the same file has the same identifier at every attempt.
///
/// # Errors
/// Everything that is missing or wrong.
pub fn metadata(header: &Header, content: &[u8; 32]) -> Result<Metadata, Invalid> {
    engine::run(model::model(), header, content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Cards with the model's keywords (and some others) and values of every shape.
    fn cards() -> impl Strategy<Value = Vec<String>> {
        let keywords: Vec<String> = model::model().fields.iter().map(|field| field.keyword.to_owned()).collect();
        let others = ["ANAMODE", "MJDREFI", "MJDREFF", "HISTORY", "CONTINUE", "HIERARCH CTAO ACTIVITY INPUTS 7 URI"];
        let keywords = [keywords, others.map(str::to_owned).to_vec()].concat();
        let value = prop_oneof![
            "'[ -~]{0,20}'",
            "-?[0-9]{1,30}",
            "-?[0-9]{1,4}\\.[0-9]{0,3}(E[0-9]{1,3})?",
            "T|F|",
            "'20[0-9]{2}-[0-1][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]'",
            "[ -~]{0,20}",
        ];
        prop::collection::vec((prop::sample::select(keywords), value), 0..40)
            .prop_map(|cards| cards.into_iter().map(|(keyword, value)| format!("{keyword:8}= {value}")).collect())
    }

    proptest! {
        #[test]
        fn any_header_is_valid_or_says_why_not(cards in cards()) {
            let raw: Vec<u8> = cards.iter().flat_map(|card| format!("{card:80.80}").into_bytes()).collect();
            match metadata(&Header::parse(&raw, 0), &[7; 32]) {
                Ok(metadata) => prop_assert!(metadata.keys.contains_key("instance__id")),
                Err(invalid) => prop_assert!(!invalid.problems.is_empty()),
            }
        }
    }
}
