//! The mandatory keywords of an HDU: all there, in order, once, in fixed format, with values its kind allows
//! (section 4.4.1 and 7). What makes the size of the data unknown is [`Layout`](crate::Layout)'s to say.

use super::columns;
use super::judge::Judge;
use crate::card::{Card, Value};
use crate::layout::Kind;
use crate::problem::{Problem, Remedy};
use crate::sizes::CARD;

impl Judge<'_> {
    /// Judges the mandatory keywords.
    pub(crate) fn mandatory_keywords(&mut self) {
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
        self.leading_zeros(&expected);
        self.repeated(&expected);
        self.beyond_count(&[("NAXIS", axes.into())]);
        match self.kind {
            Kind::Primary => self.primary(),
            Kind::Image => {
                self.allowed("PCOUNT", &[0], "7.1.1");
                self.allowed("GCOUNT", &[1], "7.1.1");
            }
            Kind::AsciiTable => self.table("7.2.1"),
            Kind::BinaryTable => self.table("7.3.1"),
            Kind::Other(name) => {
                if let Some(known) = nearly_standard(name) {
                    let what = format!("is {name:?}, one damaged byte away from {known:?}");
                    return self.reject("mandatory-value", "XTENSION", what, Some("4.4.1.2"));
                }
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
        if self.header.get("XTENSION").is_some_and(|card| card.value().is_some()) {
            let what = "stands in the primary header: two headers have become one".to_owned();
            self.reject("mandatory-value", "XTENSION", what, Some("4.4.1.2"));
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
            let problem = Problem::new("free-format", what, Remedy::TellWriter).in_hdu(self.place.clone());
            self.walk.warn(problem.of(keywords.join(", ")).at(offset));
        }
    }

    /// The standard allows zeros and a sign before a number; CFITSIO does not know the HDU then. One warning for all.
    fn leading_zeros(&mut self, expected: &[String]) {
        let odd = |card: &&Card| {
            let token = self.raw_card(card)[10..].trim_ascii_start();
            let digits = token.strip_prefix(b"-").unwrap_or(token);
            let zeros = digits.strip_prefix(b"0").is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit));
            // only BITPIX can be below 0
            let sign = token.starts_with(b"+") || token.len() != digits.len() && card.keyword != "BITPIX";
            matches!(card.value(), Some(Value::Integer(_))) && (zeros || sign)
        };
        let cards = expected.iter().filter_map(|keyword| self.header.get(keyword));
        let found: Vec<&Card> = cards.filter(odd).collect();
        if let Some(first) = found.first() {
            let keywords: Vec<_> = found.iter().map(|card| card.keyword.as_str()).collect();
            let what = "has zeros or a sign before its number, which CFITSIO refuses".to_owned();
            let problem = self.at(first, "leading-zeros", what, Remedy::TellWriter).of(keywords.join(", "));
            self.walk.warn(problem);
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
}

/// The kind of extension that one damaged byte, lower case or blanks have hidden.
fn nearly_standard(name: &str) -> Option<&'static str> {
    ["IMAGE", "TABLE", "BINTABLE"].into_iter().find(|known| {
        // a byte beyond ASCII is one character here
        let same = name.chars().zip(known.chars()).filter(|(a, b)| a == b).count();
        name.trim().eq_ignore_ascii_case(known) || name.chars().count() == known.len() && same + 1 == known.len()
    })
}

#[cfg(test)]
mod tests;
