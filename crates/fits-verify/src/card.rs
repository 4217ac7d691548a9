//! One 80-byte header card (section 4.1 and 4.2).

use crate::sizes::CARD;

/// A keyword's value (section 4.2).
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A value field of blanks.
    Undefined,
    /// `T` or `F`.
    Logical(bool),
    /// An integer.
    Integer(i128),
    /// A real number; the exponent may be written with `E` or `D`.
    Real(f64),
    /// A character string without its trailing blanks, CONTINUE cards joined.
    Text(String),
    /// A complex number as written.
    Complex(String),
}

/// What a card says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// `KEYWORD = value`.
    Value(Value),
    /// A commentary card (COMMENT, HISTORY, blank) or one without a value indicator: its text, trailing blanks removed.
    Text(String),
    /// The card has a value indicator, but what follows is not a value.
    Invalid(Fault),
}

/// Why a card cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A byte below blank, or DEL.
    #[error("contains the control character 0x{byte:02x} in column {column}, which a header must not")]
    ControlCharacter {
        /// The byte.
        byte: u8,
        /// Column, counted from 1.
        column: usize,
    },
    /// A string without closing quote.
    #[error("has a string without its closing quote")]
    UnterminatedString,
    /// Neither a string nor a logical nor a number.
    #[error("has the value {0:?}, which is neither a string nor a logical nor a number")]
    NotAValue(String),
}

impl Fault {
    /// The section of the standard it violates.
    pub fn section(&self) -> &'static str {
        match self {
            Self::ControlCharacter { .. } => "4.1.2.3",
            Self::UnterminatedString => "4.2.1.1",
            Self::NotAValue(_) => "4.2",
        }
    }
}

/// A header card.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// Upper case; for HIERARCH cards `HIERARCH` and the words as written, one blank between them.
    pub keyword: String,
    /// What the card says.
    pub content: Content,
    /// Byte offset of the card in the file.
    pub offset: u64,
    /// The first byte beyond ASCII, if there is one: against the standard, but harmless.
    pub non_ascii: Option<u8>,
    /// The first control character outside the value, if there is one: against the standard, but harmless. One within the
    /// value makes it [`Content::Invalid`].
    pub control: Option<u8>,
}

impl Card {
    /// Reads a card. It never fails: what cannot be read becomes [`Content::Invalid`].
    pub fn parse(raw: &[u8; CARD], offset: u64) -> Self {
        let non_ascii = raw.iter().copied().find(|byte| !byte.is_ascii());
        let control = raw.iter().position(u8::is_ascii_control);
        let (name, field) = raw.split_at(8);
        let mut keyword = keyword(name);
        let content = match keyword.as_str() {
            "COMMENT" | "HISTORY" | "" => Content::Text(text(field)),
            "CONTINUE" => value(&text(field)),
            "HIERARCH" => match text(field).split_once('=') {
                Some((words, rest)) => {
                    for word in words.split_whitespace() {
                        keyword.push(' ');
                        keyword.push_str(word);
                    }
                    value(rest)
                }
                None => Content::Text(text(field)),
            },
            _ => match field.strip_prefix(b"= ") {
                Some(rest) => value(&text(rest)),
                None => Content::Text(text(field)),
            },
        };
        let card = Self { keyword, content, offset, non_ascii, control: control.map(|at| raw[at]) };
        match control {
            Some(at) if card.is_spoilt() => {
                let fault = Fault::ControlCharacter { byte: raw[at], column: at + 1 };
                Self { content: Content::Invalid(fault), control: None, ..card }
            }
            _ => card,
        }
    }

    /// Whether a control character may lie in the value.
    fn is_spoilt(&self) -> bool {
        match &self.content {
            Content::Value(Value::Text(text) | Value::Complex(text)) => text.contains(|c: char| c.is_ascii_control()),
            Content::Value(_) | Content::Text(_) => false,
            Content::Invalid(_) => true,
        }
    }

    /// The value, where the card has a readable one.
    pub fn value(&self) -> Option<&Value> {
        match &self.content {
            Content::Value(value) => Some(value),
            _ => None,
        }
    }

    /// The text of a commentary card.
    pub fn commentary(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value, also of a card whose `=` is missing or misplaced (`KEY     77`), as common readers take it.
    ///
    /// # Errors
    /// The fault, where there is no value in any reading.
    pub fn lenient_value(&self) -> Result<Value, Fault> {
        let read = match &self.content {
            Content::Text(text) => value(text.trim_start().trim_start_matches('=')),
            other => other.clone(),
        };
        match read {
            Content::Value(value) => Ok(value),
            Content::Invalid(fault) => Err(fault),
            Content::Text(text) => Err(Fault::NotAValue(text)),
        }
    }
}

/// Bytes as text, byte for byte (Latin-1), without trailing blanks.
fn text(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1)];
    // nearly always ASCII, and then a plain copy: this is a sixth of a small file's time otherwise
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => text.to_owned(),
        _ => bytes.iter().copied().map(char::from).collect(),
    }
}

/// The keyword field, in upper case.
fn keyword(bytes: &[u8]) -> String {
    let mut keyword = text(bytes);
    keyword.make_ascii_uppercase();
    keyword
}

/// Reads a value field with its comment, in fixed or free format.
fn value(field: &str) -> Content {
    let field = field.trim_matches(' ');
    if let Some(rest) = field.strip_prefix('\'') {
        return string(rest);
    }
    if let Some(rest) = field.strip_prefix('(')
        && let Some((inner, after)) = rest.split_once(')')
    {
        let part = |part: &str| number(part.trim_matches(' ')).is_some();
        let numbers = inner.split_once(',').is_some_and(|(real, imaginary)| part(real) && part(imaginary));
        return if numbers && is_end_of_value(after) {
            Content::Value(Value::Complex(format!("({inner})")))
        } else {
            Content::Invalid(Fault::NotAValue(field.to_owned()))
        };
    }
    let token = field.split('/').next().unwrap_or_default().trim_matches(' ');
    match token {
        "" => Content::Value(Value::Undefined),
        "T" => Content::Value(Value::Logical(true)),
        "F" => Content::Value(Value::Logical(false)),
        _ => match number(token) {
            Some(number) => Content::Value(number),
            None => Content::Invalid(Fault::NotAValue(token.to_owned())),
        },
    }
}

/// Reads a string after its opening quote; `''` stands for one quote.
fn string(field: &str) -> Content {
    let mut text = String::new();
    let mut rest = field;
    loop {
        let Some((head, tail)) = rest.split_once('\'') else {
            return Content::Invalid(Fault::UnterminatedString);
        };
        text.push_str(head);
        if let Some(tail) = tail.strip_prefix('\'') {
            text.push('\'');
            rest = tail;
            continue;
        }
        if !is_end_of_value(tail) {
            return Content::Invalid(Fault::NotAValue(format!("'{field}")));
        }
        text.truncate(text.trim_end_matches(' ').len());
        return Content::Value(Value::Text(text));
    }
}

/// Whether only blanks or a comment follow.
fn is_end_of_value(rest: &str) -> bool {
    let rest = rest.trim_start_matches(' ');
    rest.is_empty() || rest.starts_with('/')
}

/// Reads an integer or a real number; Rust's own parser would also take `inf`, `nan` and `1_000`.
fn number(token: &str) -> Option<Value> {
    let digits = token.strip_prefix(['+', '-']).unwrap_or(token);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() {
        return token.parse().ok().map(Value::Integer).or_else(|| token.parse().ok().map(Value::Real));
    }
    let (mantissa, exponent) = match digits.split_once(['E', 'D', 'e', 'd']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (digits, None),
    };
    let numeric = |s: &str| s.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !numeric(whole) || !numeric(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    if exponent.is_some_and(|exponent| exponent.is_empty() || !numeric(exponent)) {
        return None;
    }
    token.replace(['D', 'd'], "E").parse().ok().map(Value::Real)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn card(text: &str) -> Card {
        let mut raw = [b' '; CARD];
        raw[..text.len()].copy_from_slice(text.as_bytes());
        Card::parse(&raw, 0)
    }

    #[track_caller]
    fn reads(card_text: &str, expected: Value) {
        assert_eq!(card(card_text).content, Content::Value(expected), "{card_text}");
    }

    #[test]
    fn values_in_fixed_and_free_format() {
        reads("NAXIS   =                    2 / axes", Value::Integer(2));
        reads("NAXIS   = 2", Value::Integer(2));
        reads("BIG     = 10000000000000000000000000", Value::Integer(10_000_000_000_000_000_000_000_000));
        reads("X       = -1.5E3", Value::Real(-1500.0));
        reads("X       =                1.0D3 / d exponent", Value::Real(1000.0));
        reads("X       = .5", Value::Real(0.5));
        reads("X       = 2147483648.", Value::Real(2_147_483_648.0));
        reads("SIMPLE  =                    T", Value::Logical(true));
        reads("X       = (1.0, 2.0) / c", Value::Complex("(1.0, 2.0)".into()));
        reads("X       =", Value::Undefined);
        reads("X       =            / nothing here", Value::Undefined);
    }

    #[test]
    fn strings_keep_leading_blanks_and_double_quotes_halve() {
        reads("X       = '  two  '           / c", Value::Text("  two".into()));
        reads("X       =    'late' / c", Value::Text("late".into()));
        reads("X       = 'it''s / not a comment'", Value::Text("it's / not a comment".into()));
        reads("X       = '        '", Value::Text(String::new()));
        reads("HIERARCH CTAO  INSTANCE REGION_ID = 'roi-1' / c", Value::Text("roi-1".into()));
        assert_eq!(card("HIERARCH CTAO  INSTANCE REGION_ID = 'roi-1'").keyword, "HIERARCH CTAO INSTANCE REGION_ID");
    }

    #[test]
    fn what_is_not_a_value_says_so() {
        assert_eq!(card("X       = 'open").content, Content::Invalid(Fault::UnterminatedString));
        assert_eq!(card("X       = inf").content, Content::Invalid(Fault::NotAValue("inf".into())));
        assert_eq!(card("X       = (1,x)").content, Content::Invalid(Fault::NotAValue("(1,x)".into())));
        assert_eq!(card("X       = 1e").content, Content::Invalid(Fault::NotAValue("1e".into())));
        let tab = Fault::ControlCharacter { byte: 9, column: 13 };
        for value in ["'a\tb'", "12\t3", "12\t  / c", "'a\tb"] {
            assert_eq!(card(&format!("X       = {value}")).content, Content::Invalid(tab.clone()), "{value:?}");
        }
    }

    #[test]
    fn a_control_character_outside_the_value_leaves_it_readable() {
        for text in ["X       = 5 / a\tb", "X\t      = 5", "COMMENT a\tb"] {
            let card = card(text);
            assert_eq!((card.control, card.lenient_value().is_ok()), (Some(9), !text.starts_with('C')), "{text:?}");
        }
    }

    #[test]
    fn commentary_has_text_and_a_missing_equals_sign_is_read_leniently() {
        assert_eq!(card("COMMENT   = 5").content, Content::Text("  = 5".into()));
        assert_eq!(card("obs_id    77").lenient_value().unwrap(), Value::Integer(77));
        assert_eq!(card("obs_id    77").keyword, "OBS_ID");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(raw in proptest::array::uniform32(any::<u8>()), more in proptest::array::uniform32(any::<u8>()), start in prop::sample::select(vec!["KEY     = ", "HIERARCH", "CONTINUE", "COMMENT ", "KEY     ", ""])) {
            let mut bytes = [b' '; CARD];
            bytes[..32].copy_from_slice(&raw);
            bytes[32..64].copy_from_slice(&more);
            bytes[..start.len()].copy_from_slice(start.as_bytes());
            let card = Card::parse(&bytes, 7);
            let _ = card.lenient_value();
            prop_assert_eq!(card.offset, 7);
        }
    }
}
