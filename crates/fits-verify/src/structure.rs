//! The mandatory keywords of an HDU: all there, in order, once, in fixed format, with values its kind allows
//! (section 4.4.1 and 7). What makes the size of the data unknown is [`Layout`](super::Layout)'s to say.

use std::collections::HashMap;

use super::CARD;
use super::card::{Card, Content, Value};
use super::columns;
use super::header::Header;
use super::layout::Kind;
use super::problem::{Place, Problem, SUSPECT_WRITER, TELL_WRITER};
use super::walker::Walk;

/// A header under judgement.
pub(super) struct Judge<'a> {
    pub(super) header: &'a Header,
    /// The bytes of the header, and where they begin in the file.
    pub(super) raw: &'a [u8],
    pub(super) start: u64,
    pub(super) kind: &'a Kind,
    pub(super) place: &'a Place,
    pub(super) walk: &'a mut Walk,
}

impl Judge<'_> {
    /// Judges the mandatory keywords.
    pub(super) fn structure(&mut self) {
        let axes = self.integer("NAXIS").and_then(|axes| u16::try_from(axes).ok()).unwrap_or(0).min(999);
        let mut expected: Vec<String> =
            vec![if *self.kind == Kind::Primary { "SIMPLE" } else { "XTENSION" }.to_owned()];
        expected.extend(["BITPIX", "NAXIS"].map(str::to_owned));
        expected.extend((1..=axes).map(|axis| format!("NAXIS{axis}")));
        let core = expected.len();
        match self.kind {
            Kind::Primary => {}
            Kind::Image | Kind::Other(_) => expected.extend(["PCOUNT", "GCOUNT"].map(str::to_owned)),
            Kind::AsciiTable | Kind::BinaryTable => {
                expected.extend(["PCOUNT", "GCOUNT", "TFIELDS"].map(str::to_owned));
            }
        }
        self.order(&expected, core);
        self.fixed_format(&expected);
        self.repeated(&expected);
        self.extra(&[("NAXIS", axes.into())]);
        match self.kind {
            Kind::Primary => self.primary(),
            Kind::Image => {
                self.allowed("PCOUNT", &[0], "7.1.1");
                self.allowed("GCOUNT", &[1], "7.1.1");
            }
            Kind::AsciiTable => self.table("7.2.1"),
            Kind::BinaryTable => self.table("7.3.1"),
            Kind::Other(name) => {
                let what = format!("the standard knows no extension of the kind {name:?}");
                self.warn("unknown-extension", "XTENSION", what);
            }
        }
    }

    fn table(&mut self, section: &'static str) {
        self.allowed("BITPIX", &[8], section);
        self.allowed("NAXIS", &[2], section);
        self.allowed("GCOUNT", &[1], section);
        if *self.kind == Kind::AsciiTable {
            self.allowed("PCOUNT", &[0], section);
        }
        columns::check(self, section);
    }

    /// SIMPLE, and the deprecated random groups.
    fn primary(&mut self) {
        match self.header.logical("SIMPLE") {
            Some(true) => {}
            Some(false) => {
                let what = "is F: the writer says that the file does not conform to the standard".to_owned();
                self.warn("simple-false", "SIMPLE", what);
            }
            None => self.reject("mandatory-value", "SIMPLE", "is neither T nor F".to_owned(), Some("4.4.1.1")),
        }
        if self.header.logical("GROUPS") == Some(true) && self.integer("NAXIS1") == Some(0) {
            let what = "says that the data are random groups, which are out of use".to_owned();
            self.warn("random-groups", "GROUPS", what);
            for keyword in ["PCOUNT", "GCOUNT"] {
                if self.header.get(keyword).is_none() {
                    self.reject("mandatory-missing", keyword, "is missing".to_owned(), Some("6.1.1"));
                }
            }
        } else {
            self.allowed("PCOUNT", &[0], "4.4.1.1");
            self.allowed("GCOUNT", &[1], "4.4.1.1");
        }
    }

    /// The mandatory keywords must be the first cards, in this order; the first `core` of them decide what follows.
    fn order(&mut self, expected: &[String], core: usize) {
        let table = matches!(self.kind, Kind::AsciiTable | Kind::BinaryTable);
        for (index, keyword) in expected.iter().enumerate() {
            let Some(card) = self.header.get(keyword) else {
                if index < core {
                    return;
                }
                if table {
                    self.reject("mandatory-missing", keyword, "is missing".to_owned(), None);
                } else {
                    let assumed = u8::from(keyword == "GCOUNT");
                    self.warn("size-assumed", keyword, format!("is missing, and {assumed} is assumed"));
                }
                return;
            };
            let found = usize::try_from(card.offset - self.start).unwrap_or_default() / CARD;
            if found == index {
                continue;
            }
            let what = format!("is card {} of the header and must be card {}", found + 1, index + 1);
            if index < core || table {
                self.reject("mandatory-order", keyword, what, None);
            } else {
                self.warn("keyword-order", keyword, what);
            }
            return;
        }
    }

    /// Their values must stand in fixed columns. One warning for all.
    fn fixed_format(&mut self, expected: &[String]) {
        let cards = expected.iter().filter_map(|keyword| self.header.get(keyword));
        let free: Vec<&Card> = cards.filter(|card| !self.is_fixed(card)).collect();
        if let Some(first) = free.first() {
            let offset = first.offset;
            let keywords: Vec<_> = free.iter().map(|card| card.keyword.as_str()).collect();
            let what = "must be written in fixed format: numbers and logicals ending in column 30".to_owned();
            let problem = Problem::new("free-format", what, TELL_WRITER).in_hdu(self.place.clone());
            self.walk.warn(problem.of(keywords.join(", ")).at(offset));
        }
    }

    fn is_fixed(&self, card: &Card) -> bool {
        let raw = self.raw_card(card);
        match card.value() {
            Some(Value::Text(_)) => raw[10] == b'\'' && raw[11..].iter().position(|&byte| byte == b'\'') >= Some(8),
            Some(Value::Logical(_) | Value::Integer(_)) => {
                let field = raw[10..30].trim_ascii_start();
                !field.is_empty() && !field.contains(&b' ') && !field.contains(&b'/') && matches!(raw[30], b' ' | b'/')
            }
            // what is wrong with such a value is said elsewhere
            _ => true,
        }
    }

    /// No keyword with a value may come twice (one finding per keyword); for a mandatory one it matters with which value.
    fn repeated(&mut self, expected: &[String]) {
        let mut first: HashMap<&str, (&Card, bool)> = HashMap::new();
        let mut found = Vec::new();
        for card in self.header.cards() {
            let valued = matches!(card.content, Content::Value(_) | Content::Invalid(_));
            if !valued || card.keyword == "CONTINUE" || card.keyword.is_empty() {
                continue;
            }
            let Some((earlier, told)) = first.get_mut(card.keyword.as_str()) else {
                first.insert(&card.keyword, (card, false));
                continue;
            };
            let conflict = earlier.content != card.content;
            let mandatory = expected.contains(&card.keyword) || is_layout(&card.keyword);
            if !*told || mandatory && conflict {
                *told = true;
                found.push((card, earlier.offset, mandatory, conflict));
            }
        }
        for (card, earlier, mandatory, conflict) in found {
            let (code, remedy) = match (mandatory, conflict) {
                (true, true) => ("mandatory-conflict", SUSPECT_WRITER),
                (true, false) => ("mandatory-repeated", TELL_WRITER),
                (false, _) => ("repeated-keyword", TELL_WRITER),
            };
            let values = if conflict { "with another value" } else { "with the same value" };
            let what = format!("is there already at byte {earlier}, {values}");
            let problem = Problem::new(code, what, remedy).in_hdu(self.place.clone()).of(&card.keyword).at(card.offset);
            if mandatory && conflict { self.walk.reject(problem) } else { self.walk.warn(problem) }
        }
    }

    /// Indexed keywords beyond their count.
    pub(super) fn extra(&mut self, counts: &[(&str, i128)]) {
        for card in self.header.cards() {
            let beyond = counts.iter().find_map(|(root, count)| {
                let index = card.keyword.strip_prefix(root)?.parse::<u32>().ok()?;
                (i128::from(index) > *count).then_some(*count)
            });
            if let Some(count) = beyond {
                let what = format!("has an index beyond {count}, the number of its kind");
                let problem = Problem::new("extra-index", what, TELL_WRITER).in_hdu(self.place.clone());
                self.walk.warn(problem.of(&card.keyword).at(card.offset));
            }
        }
    }

    /// A keyword that may have these values only, if it is there.
    pub(super) fn allowed(&mut self, keyword: &str, values: &[i128], section: &'static str) {
        if self.header.get(keyword).is_some() && !self.integer(keyword).is_some_and(|value| values.contains(&value)) {
            let values: Vec<_> = values.iter().map(ToString::to_string).collect();
            let kind = self.kind.name();
            self.reject(
                "mandatory-value",
                keyword,
                format!("must be {} in {kind}", values.join(" or ")),
                Some(section),
            );
        }
    }

    /// An integer value.
    pub(super) fn integer(&self, keyword: &str) -> Option<i128> {
        match self.header.get(keyword)?.value()? {
            Value::Integer(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn reject(&mut self, code: &'static str, keyword: &str, what: String, section: Option<&'static str>) {
        let problem = self.about(code, keyword, what, SUSPECT_WRITER);
        self.walk.reject(if let Some(section) = section { problem.by(section) } else { problem });
    }

    pub(super) fn warn(&mut self, code: &'static str, keyword: &str, what: String) {
        let problem = self.about(code, keyword, what, TELL_WRITER);
        self.walk.warn(problem);
    }

    fn about(&self, code: &'static str, keyword: &str, what: String, remedy: &'static str) -> Problem {
        let offset = self.header.get(keyword).map_or(self.start, |card| card.offset);
        Problem::new(code, what, remedy).in_hdu(self.place.clone()).of(keyword).at(offset)
    }

    /// The 80 bytes of a card.
    pub(super) fn raw_card(&self, card: &Card) -> &[u8; CARD] {
        const BLANK: &[u8; CARD] = &[b' '; CARD];
        let at = usize::try_from(card.offset - self.start).unwrap_or(usize::MAX);
        self.raw.get(at..).and_then(|rest| rest.first_chunk()).unwrap_or(BLANK)
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

#[cfg(test)]
mod tests;
