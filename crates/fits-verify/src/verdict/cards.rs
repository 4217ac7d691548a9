//! Every card by itself: what no reader may be given, and what is odd (sections 4.1, 4.2 and 4.4.2).

use super::judge::Judge;
use crate::card::{Card, Content, Fault, Value};
use crate::problem::{Problem, Remedy};
use crate::sizes::CARD;

type IsType = fn(&Value) -> bool;

/// Reserved keywords and the type their values must have (section 4.4.2).
const RESERVED: &[(&str, &str, IsType)] = &[
    ("EXTNAME", "a string", |value| matches!(value, Value::Text(_))),
    ("EXTVER", "an integer", |value| matches!(value, Value::Integer(_))),
    ("EXTLEVEL", "an integer", |value| matches!(value, Value::Integer(_))),
    ("EXTEND", "T or F", |value| matches!(value, Value::Logical(_))),
];

impl Judge<'_> {
    /// Looks at every card by itself: for what no reader may be given, and for what is odd.
    pub(crate) fn cards(&mut self) {
        let header = self.header;
        for card in header.cards() {
            let problem = |code, what: String, remedy| {
                let keyword = if card.keyword.is_empty() { "blank keyword".to_owned() } else { card.keyword.clone() };
                Problem::new(code, what, remedy).in_hdu(self.place.clone()).of(keyword).at(card.offset)
            };
            match &card.content {
                Content::Invalid(fault @ (Fault::ControlCharacter { .. } | Fault::UnterminatedString)) => {
                    let problem = problem("invalid-header", fault.to_string(), Remedy::Redeliver).by(fault.section());
                    self.walk.reject(problem);
                    continue;
                }
                Content::Invalid(fault @ Fault::NotAValue(_)) => {
                    let problem = problem("unreadable-value", fault.to_string(), Remedy::TellWriter);
                    self.walk.warn(problem);
                }
                Content::Value(_) | Content::Text(_) => {}
            }
            let raw = self.raw_card(card);
            if let Some((code, what)) = oddity(card, raw) {
                let problem = problem(code, what, Remedy::TellWriter);
                self.walk.warn(problem);
            }
            if let Some(byte) = card.non_ascii {
                let what = format!("contains the byte 0x{byte:02x}, which is not ASCII");
                let problem = Problem::new("non-ascii", what, Remedy::TellWriter).in_hdu(self.place.clone());
                self.walk.warn(
                    problem.of(if card.keyword.is_empty() { "blank keyword" } else { &card.keyword }).at(card.offset),
                );
            }
        }
        for (keyword, expected, right) in RESERVED {
            let card = header.get(keyword).and_then(Card::value);
            if card.is_some_and(|value| *value != Value::Undefined && !right(value)) {
                self.warn("reserved-value", keyword, format!("is not {expected}"));
            }
        }
    }
}

/// What is odd about the shape of a card.
fn oddity(card: &Card, raw: &[u8; CARD]) -> Option<(&'static str, String)> {
    let (name, field) = raw.split_at(8);
    let name = name.trim_ascii_end();
    let allowed = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if card.keyword == "CONTINUE" {
        let what = "continues nothing: the card before it is not a string that ends in '&'";
        return Some(("stray-continue", what.to_owned()));
    }
    if !name.iter().all(allowed) {
        let what =
            format!("is written {:?}; a keyword has only A-Z, 0-9, '-' and '_'", name.escape_ascii().to_string());
        return Some(("keyword-name", what));
    }
    let commentary = matches!(card.keyword.as_str(), "COMMENT" | "HISTORY" | "");
    if field[0] == b'=' && field[1] != b' ' && !commentary {
        let what = "has '=' in column 9 but no blank in column 10, so it has no value";
        return Some(("value-indicator", what.to_owned()));
    }
    None
}
