//! The CTAO data product model as data, and the engine that validates a header against it.
//!
//! `model-1.4.tsv` is the model: every keyword, the flat key it is stored under, its type, and whether it is required. It
//! is made by `generate_model.py` and never edited. The engine knows types, not keywords; the few rules that
//! concern single keys, which the model expresses in code, are gathered in `key_rules`.

mod content;
mod convert;
mod coordinates;
mod email;
mod engine;
mod input;
mod key_rules;
mod model;
mod outcome;
mod time;
mod units;

use fits_verify::Header;

pub use content::{Incomplete, has_data};
pub use model::MARKER;
pub use outcome::{Defect, Ignored, Invalid, Metadata};

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
