//! Keywords that come twice (section 4.1.2.3): readers take the first, the last, or none.

use std::collections::HashMap;

use super::judge::Judge;
use crate::card::{Card, Content, Value};
use crate::problem::{Problem, Remedy};

impl Judge<'_> {
    /// No keyword with a value may come twice (one finding per keyword); where data rest on it, it matters with which value.
    pub(super) fn repeated(&mut self, expected: &[String]) {
        let mut first: HashMap<&str, (&Card, bool)> = HashMap::new();
        let mut found = Vec::new();
        for card in self.header.cards() {
            let valued = matches!(card.content, Content::Value(_) | Content::Invalid(_));
            if !valued || card.keyword == "CONTINUE" || card.keyword.is_empty() {
                continue;
            }
            let Some((earlier, reported)) = first.get_mut(card.keyword.as_str()) else {
                first.insert(&card.keyword, (card, false));
                continue;
            };
            let conflict = !is_same(&earlier.content, &card.content);
            let mandatory = expected.contains(&card.keyword) || is_layout(&card.keyword);
            let rests = mandatory || self.rests_on(card);
            if !*reported || rests && conflict {
                *reported = true;
                found.push((card, earlier.offset, mandatory, rests && conflict, conflict));
            }
        }
        for (card, earlier, mandatory, unsafe_, conflict) in found {
            let (code, remedy) = match (mandatory, unsafe_) {
                (true, true) => ("mandatory-conflict", Remedy::SuspectWriter),
                (false, true) => ("repeated-conflict", Remedy::SuspectWriter),
                (true, false) => ("mandatory-repeated", Remedy::TellWriter),
                (false, false) => ("repeated-keyword", Remedy::TellWriter),
            };
            let values = if conflict { "with another value" } else { "with the same value" };
            let what = format!("is there already at byte {earlier}, {values}");
            let problem = Problem::new(code, what, remedy).in_hdu(self.place.clone()).of(&card.keyword).at(card.offset);
            if unsafe_ { self.walk.reject(problem) } else { self.walk.warn(problem) }
        }
    }

    /// Whether data rest on a keyword, in whatever case it is written.
    fn rests_on(&self, card: &Card) -> bool {
        let name = self.name(card).map(|byte| byte.to_ascii_uppercase());
        self.shape.rests_on(name).is_some()
    }
}

/// Whether two cards say the same; a number may be written in two ways.
fn is_same(a: &Content, b: &Content) -> bool {
    match (a, b) {
        // both as readers would compare them
        #[allow(clippy::cast_precision_loss, clippy::float_cmp)]
        (Content::Value(Value::Integer(integer)), Content::Value(Value::Real(real)))
        | (Content::Value(Value::Real(real)), Content::Value(Value::Integer(integer))) => *integer as f64 == *real,
        _ => a == b,
    }
}

/// Keywords beyond the first ones on which the reading of the data depends.
fn is_layout(keyword: &str) -> bool {
    let indexed = |root: &str| {
        let index = keyword.strip_prefix(root).unwrap_or_default();
        !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit())
    };
    matches!(keyword, "PCOUNT" | "GCOUNT" | "GROUPS" | "THEAP") || ["NAXIS", "TFORM", "TBCOL"].into_iter().any(indexed)
}
