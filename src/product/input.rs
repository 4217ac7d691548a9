//! What a header gives, key by key, on its way to the metadata.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::model::is_below;
use super::outcome::Defect;
use fits_verify::Value;

/// What a header gives for one flat key.
#[derive(Debug)]
pub(super) struct Given {
    /// The keyword as the header has it.
    pub(super) keyword: String,
    pub(super) offset: u64,
    pub(super) value: Source,
}

/// A value on its way.
#[derive(Debug)]
pub(super) enum Source {
    /// As on the card.
    Card(Value),
    /// Already converted by a rule.
    Ready(Json),
    /// Unusable, and said so. It counts as given: its group is present, and it is not missing.
    Refused,
}

impl Given {
    /// A defect of this value.
    pub(super) fn defect(&self, what: impl Into<String>) -> Defect {
        let value = match &self.value {
            Source::Card(Value::Undefined) | Source::Refused => None,
            Source::Card(value) => Some(shown(value)),
            Source::Ready(json) => Some(json.to_string()),
        };
        Defect { keyword: self.keyword.clone(), value, offset: Some(self.offset), what: what.into() }
    }
}

/// A value as messages show it.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    match value {
        Value::Undefined => String::new(),
        Value::Logical(logical) => if *logical { "T" } else { "F" }.to_owned(),
        Value::Integer(n) => n.to_string(),
        // with its decimal point
        Value::Real(real) => format!("{real:?}"),
        Value::Complex(text) => text.clone(),
        Value::Text(text) if text.chars().count() > LONGEST => {
            format!("'{}…'", text.chars().take(LONGEST).collect::<String>())
        }
        Value::Text(text) => format!("'{text}'"),
    }
}

/// The header's values under their flat keys, and what was wrong on the way.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) given: BTreeMap<String, Given>,
    pub(super) defects: Vec<Defect>,
}

impl Input {
    /// Whether anything below a group is given.
    pub(super) fn has(&self, group: &str) -> bool {
        self.given.keys().any(|key| is_below(key, group))
    }
}
