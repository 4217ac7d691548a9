//! Every card by itself: what no reader may be given, and what is odd (sections 4.1, 4.2 and 4.4.2).

use super::judge::Judge;
use super::structural::is_plain;
use crate::card::{Card, Content, Fault, Value};
use crate::problem::{Problem, Remedy};
use crate::sizes::CARD;

impl Judge<'_> {
    /// Looks at every card by itself: for what readers would miss or take for something else, and for what is odd.
    pub(crate) fn cards(&mut self) {
        let header = self.header;
        for card in header.cards() {
            if let Some(what) = self.missed(card) {
                let problem = self.at(card, "keyword-damaged", what, Remedy::Redeliver);
                self.walk.reject(problem);
                continue;
            }
            if let Some(byte) = illegal_in_name(self.raw_card(card)) {
                let what =
                    format!("has the byte 0x{byte:02x} in its keyword, for which common readers refuse the header");
                let problem = self.at(card, "invalid-header", what, Remedy::Redeliver).by("4.1.2.1");
                self.walk.reject(problem);
                continue;
            }
            if let Content::Invalid(fault) = &card.content {
                let problem = self.fault(card, fault);
                if problem.code == "invalid-header" {
                    self.walk.reject(problem);
                    continue;
                }
                self.walk.warn(problem);
            }
            let raw = self.raw_card(card);
            if let Some((code, what)) = oddity(card, raw).or_else(|| lower_exponent(card, raw)) {
                let problem = self.at(card, code, what, Remedy::TellWriter);
                self.walk.warn(problem);
            }
            self.prose(card);
        }
    }

    /// A value that cannot be read: damage where data rest on it, and odd elsewhere.
    fn fault(&self, card: &Card, fault: &Fault) -> Problem {
        let rests = self.shape.rests_on(self.name(card)).is_some();
        let code = match fault {
            // common readers refuse the whole header
            Fault::ControlCharacter { .. } => "invalid-header",
            Fault::UnterminatedString | Fault::NotAValue(_) if rests => "invalid-header",
            Fault::UnterminatedString => "unclosed-string",
            Fault::NotAValue(_) => "unreadable-value",
        };
        let remedy = if code == "invalid-header" { Remedy::Redeliver } else { Remedy::TellWriter };
        self.at(card, code, fault.to_string(), remedy).by(fault.section())
    }

    /// Bytes that no header may have, where they spoil no value.
    fn prose(&mut self, card: &Card) {
        if let Some(byte) = card.control {
            let what = format!("contains the control character 0x{byte:02x} outside its value");
            if self.shape.rests_on(self.name(card)).is_some() {
                let problem = self.at(card, "invalid-header", what, Remedy::Redeliver).by("4.1.2.3");
                self.walk.reject(problem);
            } else {
                let problem = self.at(card, "control-character", what, Remedy::TellWriter);
                self.walk.warn(problem);
            }
        }
        if let Some(byte) = card.non_ascii {
            let what = format!("contains the byte 0x{byte:02x}, which is not ASCII");
            let problem = self.at(card, "non-ascii", what, Remedy::TellWriter);
            self.walk.warn(problem);
        }
    }
}

/// What no keyword may hold, in what readers take for the keyword: all before the first blank or `=`.
fn illegal_in_name(raw: &[u8; CARD]) -> Option<u8> {
    let mut name = raw.iter().copied().take_while(|byte| !matches!(byte, b' ' | b'='));
    name.find(|byte| !(b' '..=b'~').contains(byte))
}

/// What is odd about the shape of a card.
fn oddity(card: &Card, raw: &[u8; CARD]) -> Option<(&'static str, String)> {
    let (name, field) = raw.split_at(8);
    let name = name.trim_ascii_end();
    if card.keyword == "CONTINUE" {
        let what = "continues nothing: the card before it is not a string that ends in '&'";
        return Some(("stray-continue", what.to_owned()));
    }
    if !is_plain(name) {
        let what = format!("is written \"{}\"; a keyword has only A-Z, 0-9, '-' and '_'", name.escape_ascii());
        return Some(("keyword-name", what));
    }
    let commentary = matches!(card.keyword.as_str(), "COMMENT" | "HISTORY" | "");
    if field[0] == b'=' && field[1] != b' ' && !commentary {
        let what = "has '=' in column 9 but no blank in column 10, so it has no value";
        return Some(("value-indicator", what.to_owned()));
    }
    None
}

/// An exponent must be written with `E` or `D` (section 4.2.4).
fn lower_exponent(card: &Card, raw: &[u8; CARD]) -> Option<(&'static str, String)> {
    if !matches!(card.content, Content::Value(Value::Real(_) | Value::Complex(_))) {
        return None;
    }
    let value = raw.splitn(2, |&byte| byte == b'=').nth(1)?.split(|&byte| byte == b'/').next()?;
    let lower = value.iter().any(|byte| matches!(byte, b'e' | b'd'));
    let what = "has an exponent with a small letter, and the standard has only E and D";
    lower.then(|| ("lower-exponent", what.to_owned()))
}
