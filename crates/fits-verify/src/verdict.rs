//! Judgement over one HDU: its cards and its sums.

use super::CARD;
use super::card::{Card, Content, Fault, Value};
use super::checksum::{Sum, same};
use super::header::Header;
use super::problem::{Problem, REDELIVER, TELL_WRITER};
use super::structure::Judge;
use super::walker::{Checksum, Hdu, Walk};

const UNFINISHED: &str = "the writer did not finish; have ACADA deliver the file again";
/// What a writer puts into CHECKSUM until it knows the sum (appendix J).
const CHECKSUM_PLACEHOLDER: &str = "0000000000000000";

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
    pub(super) fn cards(&mut self) {
        let header = self.header;
        for card in header.cards() {
            let problem = |code, what: String, remedy| {
                let keyword = if card.keyword.is_empty() { "blank keyword".to_owned() } else { card.keyword.clone() };
                Problem::new(code, what, remedy).in_hdu(self.place.clone()).of(keyword).at(card.offset)
            };
            match &card.content {
                Content::Invalid(fault @ (Fault::ControlCharacter { .. } | Fault::UnterminatedString)) => {
                    let problem = problem("invalid-header", fault.to_string(), REDELIVER).by(fault.section());
                    self.walk.reject(problem);
                    continue;
                }
                Content::Invalid(fault @ Fault::NotAValue(_)) => {
                    let problem = problem("unreadable-value", fault.to_string(), TELL_WRITER);
                    self.walk.warn(problem);
                }
                Content::Value(_) | Content::Text(_) => {}
            }
            let raw = self.raw_card(card);
            if let Some((code, what)) = oddity(card, raw) {
                let problem = problem(code, what, TELL_WRITER);
                self.walk.warn(problem);
            }
            if let Some(byte) = card.non_ascii {
                let what = format!("contains the byte 0x{byte:02x}, which is not ASCII");
                let problem = Problem::new("non-ascii", what, TELL_WRITER).in_hdu(self.place.clone());
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

/// What a checksum keyword holds.
enum Claim<'a> {
    Absent,
    /// There, but blank: undefined.
    Blank,
    Sum(&'a str),
    /// Not a string: the standard wants one.
    Other,
}

fn claim(card: Option<&Card>) -> Claim<'_> {
    match card.map(|card| &card.content) {
        None => Claim::Absent,
        Some(Content::Value(Value::Undefined)) => Claim::Blank,
        Some(Content::Value(Value::Text(text))) if text.trim().is_empty() => Claim::Blank,
        Some(Content::Value(Value::Text(text))) => Claim::Sum(text.trim()),
        Some(_) => Claim::Other,
    }
}

/// Compares CHECKSUM and DATASUM with the bytes that went by. In an HDU that was cut short only the states are set:
/// the cut is the reason, wrong sums are its consequence.
pub(super) fn sums(hdu: &mut Hdu, header: &Header, head: &Sum, data: &Sum, complete: bool, walk: &mut Walk) {
    let (checksum, datasum) = (header.get("CHECKSUM"), header.get("DATASUM"));
    let total = head.followed_by(data).value();
    let computed = data.value();
    hdu.checksum = match checksum {
        None => Checksum::Absent,
        Some(_) if same(total, 0) => Checksum::Ok,
        Some(_) => Checksum::Bad,
    };
    let stated = match claim(datasum) {
        Claim::Sum(text) => text.parse::<u32>().ok(),
        _ => None,
    };
    hdu.datasum = match (datasum, stated) {
        (None, _) => Checksum::Absent,
        (Some(_), Some(stated)) if same(stated, computed) => Checksum::Ok,
        (Some(_), _) => Checksum::Bad,
    };
    if !complete {
        return;
    }
    let place = hdu.place();
    let problem = |code, card: Option<&Card>, what: String, remedy| {
        let offset = card.map_or(hdu.header_offset, |card| card.offset);
        let keyword = card.map(|card| card.keyword.clone());
        let problem = Problem::new(code, what, remedy).in_hdu(place.clone()).at(offset);
        if let Some(keyword) = keyword { problem.of(keyword) } else { problem }
    };
    if let Some(card) = header.cards().iter().find(|card| checksum.is_none() && nearly_checksum(&card.keyword)) {
        let what = "a keyword that differs from CHECKSUM in one byte, and there is no CHECKSUM".to_owned();
        walk.problems.push(problem("checksum-damaged", Some(card), what, REDELIVER));
    }
    let unfinished = hdu.checksum == Checksum::Bad && matches!(claim(checksum), Claim::Sum(CHECKSUM_PLACEHOLDER));
    match (hdu.checksum, claim(checksum)) {
        (Checksum::Ok, _) => {}
        (Checksum::Absent, _) => {
            let what = "no CHECKSUM: whether the HDU is as it was written cannot be known".to_owned();
            walk.warnings.push(problem("checksum-absent", None, what, TELL_WRITER));
        }
        (Checksum::Bad, _) if unfinished => {
            let what = "still holds the placeholder of zeros".to_owned();
            walk.problems.push(problem("unfinished-writer", checksum, what, UNFINISHED));
        }
        (Checksum::Bad, Claim::Blank) => {
            let what = "is blank, that is undefined".to_owned();
            walk.problems.push(problem("checksum-undefined", checksum, what, UNFINISHED));
        }
        (Checksum::Bad, _) => {
            let what =
                format!("header and data sum to 0x{total:08x} and not to all ones: the HDU is not as it was written");
            walk.problems.push(problem("checksum-mismatch", checksum, what, REDELIVER));
        }
    }
    if hdu.datasum == Checksum::Bad && !unfinished {
        let (code, what, remedy) = match claim(datasum) {
            Claim::Blank => ("checksum-undefined", "is blank, that is undefined".to_owned(), UNFINISHED),
            Claim::Sum(text) if stated == Some(0) && hdu.checksum != Checksum::Ok => (
                "unfinished-writer",
                format!("still holds the placeholder {text:?}, but there are {} bytes of data", hdu.layout.data_bytes),
                UNFINISHED,
            ),
            Claim::Sum(text) => ("datasum-mismatch", format!("says {text}, but the data sum to {computed}"), REDELIVER),
            Claim::Other | Claim::Absent => {
                ("datasum-mismatch", format!("is not a string with a number; the data sum to {computed}"), REDELIVER)
            }
        };
        walk.problems.push(problem(code, datasum, what, remedy));
    }
    if hdu.datasum == Checksum::Absent && hdu.checksum != Checksum::Absent {
        let what = "no DATASUM beside CHECKSUM".to_owned();
        walk.warnings.push(problem("datasum-absent", None, what, TELL_WRITER));
    }
}

/// Whether one damaged byte made this keyword of CHECKSUM. A damage anywhere else in the header breaks the sum; this one
/// would take away the sum itself.
fn nearly_checksum(keyword: &str) -> bool {
    let same = |pair: &(char, char)| pair.0 == pair.1;
    let front = keyword.chars().zip("CHECKSUM".chars()).take_while(same).count();
    let back = keyword.chars().rev().zip("CHECKSUM".chars().rev()).take_while(same).count();
    // in upper case a letter beyond ASCII can be two
    front + back == 7 && keyword.chars().count() <= 9
}
