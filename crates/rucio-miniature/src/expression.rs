//! RSE expressions: `OFFSITE`, `site=PIC`, `A&B`, `A|B`, `A\B`, `freespace>10`, `*`, parentheses.
//!
//! Rucio knows no precedence: operators are applied from left to right, and `A|B&C` is `(A|B)&C`. A name alone is the
//! attribute of that name with the value true, and every RSE carries its own name as such an attribute.

use std::collections::{BTreeMap, BTreeSet};

use crate::refusal::{Class, Refusal, refuse};

/// RSE name to its attributes.
pub(crate) type Attributes = BTreeMap<String, BTreeMap<String, String>>;

/// Deepest nesting of parentheses that is still parsed; Rucio's own limit is the recursion limit of Python.
const DEPTH_MAX: usize = 100;

/// A parsed expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    All,
    Has(String),
    Equal(String, String),
    Less(String, String),
    Greater(String, String),
    Union(Box<Expression>, Box<Expression>),
    Intersection(Box<Expression>, Box<Expression>),
    Complement(Box<Expression>, Box<Expression>),
}

impl Expression {
    /// Parses, or says why Rucio would not.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let mut parser = Parser { rest: text };
        let expression = parser.chain(0)?;
        match parser.rest.chars().next() {
            None => Ok(expression),
            Some(')') => refuse(Class::InvalidRseExpression, "Problem with parentheses."),
            Some(_) => Err(syntax()),
        }
    }

    /// The RSEs the expression selects; an empty selection is an error, as in Rucio.
    pub(crate) fn resolve(text: &str, rses: &Attributes) -> Result<BTreeSet<String>, Refusal> {
        let found = Self::parse(text)?.select(rses);
        if found.is_empty() {
            return refuse(Class::InvalidRseExpression, "RSE Expression resulted in an empty set.");
        }
        Ok(found)
    }

    fn select(&self, rses: &Attributes) -> BTreeSet<String> {
        let matching = |test: &dyn Fn(&str, &BTreeMap<String, String>) -> bool| {
            rses.iter().filter(|(name, attributes)| test(name, attributes)).map(|(name, _)| name.clone()).collect()
        };
        match self {
            Self::All => matching(&|_, _| true),
            Self::Has(key) => {
                matching(&|name, attributes| name == key || attributes.get(key).is_some_and(|v| is_true(v)))
            }
            Self::Equal(key, value) => matching(&|_, attributes| attributes.get(key).is_some_and(|v| same(v, value))),
            Self::Less(key, bound) => matching(&|_, attributes| compare(attributes.get(key), bound, |a, b| a < b)),
            Self::Greater(key, bound) => matching(&|_, attributes| compare(attributes.get(key), bound, |a, b| a > b)),
            Self::Union(a, b) => a.select(rses).union(&b.select(rses)).cloned().collect(),
            Self::Intersection(a, b) => a.select(rses).intersection(&b.select(rses)).cloned().collect(),
            Self::Complement(a, b) => a.select(rses).difference(&b.select(rses)).cloned().collect(),
        }
    }
}

fn is_true(value: &str) -> bool {
    matches!(value, "True" | "true" | "1")
}

fn same(stored: &str, wanted: &str) -> bool {
    stored == wanted || (is_true(stored) && is_true(wanted))
}

/// An attribute that is missing or no number never matches.
fn compare(value: Option<&String>, bound: &str, test: fn(f64, f64) -> bool) -> bool {
    match (value.and_then(|text| text.parse().ok()), bound.parse().ok()) {
        (Some(value), Some(bound)) => test(value, bound),
        _ => false,
    }
}

fn syntax() -> Refusal {
    Refusal::new(Class::InvalidRseExpression, "Expression does not comply to RSE Expression syntax")
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    /// `term (operator term)*`, left to right.
    fn chain(&mut self, depth: usize) -> Result<Expression, Refusal> {
        let mut left = self.term(depth)?;
        while let Some(operator @ ('|' | '&' | '\\')) = self.rest.chars().next() {
            self.rest = &self.rest[1..];
            let (a, b) = (Box::new(left), Box::new(self.term(depth)?));
            left = match operator {
                '|' => Expression::Union(a, b),
                '&' => Expression::Intersection(a, b),
                _ => Expression::Complement(a, b),
            };
        }
        Ok(left)
    }

    fn term(&mut self, depth: usize) -> Result<Expression, Refusal> {
        if let Some(rest) = self.rest.strip_prefix('(') {
            if depth >= DEPTH_MAX {
                return Err(syntax());
            }
            self.rest = rest;
            let inner = self.chain(depth + 1)?;
            let Some(rest) = self.rest.strip_prefix(')') else {
                return refuse(Class::InvalidRseExpression, "Problem with parentheses.");
            };
            self.rest = rest;
            return Ok(inner);
        }
        if let Some(rest) = self.rest.strip_prefix('*') {
            self.rest = rest;
            return Ok(Expression::All);
        }
        let key = self.take(|c| c.is_ascii_alphanumeric() || "._-".contains(c))?;
        let Some(comparison @ ('=' | '<' | '>')) = self.rest.chars().next() else {
            // a bare name is stricter: words of letters and digits, joined by single '_' or '-'
            let bare = key.split(['_', '-']).all(|word| !word.is_empty() && !word.contains('.'));
            return if bare { Ok(Expression::Has(key)) } else { Err(syntax()) };
        };
        self.rest = &self.rest[1..];
        let value = self.take(|c| c.is_ascii_alphanumeric() || "_-".contains(c))?;
        Ok(match comparison {
            '=' => Expression::Equal(key, value),
            '<' => Expression::Less(key, value),
            _ => Expression::Greater(key, value),
        })
    }

    fn take(&mut self, allowed: impl Fn(char) -> bool) -> Result<String, Refusal> {
        let end = self.rest.find(|c| !allowed(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return Err(syntax());
        }
        self.rest = rest;
        Ok(word.to_owned())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rses() -> Attributes {
        let rse = |name: &str, attributes: &[(&str, &str)]| {
            (name.to_owned(), attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
        };
        BTreeMap::from([
            rse("STORAGE-1", &[("ONSITE", "True"), ("site", "LAPALMA"), ("freespace", "5")]),
            rse("STORAGE-2", &[("OFFSITE", "True"), ("site", "PIC"), ("freespace", "50")]),
            rse("STORAGE-3", &[("OFFSITE", "True"), ("site", "CSCS"), ("freespace", "many")]),
        ])
    }

    fn resolve(text: &str) -> String {
        match Expression::resolve(text, &rses()) {
            Ok(found) => found.into_iter().collect::<Vec<_>>().join(" ").replace("STORAGE-", ""),
            Err(refusal) => refusal.message,
        }
    }

    #[test]
    fn every_form_selects_what_rucio_would() {
        for (text, expected) in [
            ("*", "1 2 3"),
            ("OFFSITE", "2 3"),
            ("OFFSITE=True", "2 3"),
            ("STORAGE-2", "2"),
            ("site=PIC", "2"),
            (r"OFFSITE\STORAGE-2", "3"),
            (r"OFFSITE\site=PIC", "3"),
            (r"(OFFSITE\STORAGE-2)\site=PIC", "3"),
            ("STORAGE-1|STORAGE-3", "1 3"),
            ("OFFSITE&site=CSCS", "3"),
            ("STORAGE-1|STORAGE-2&OFFSITE", "2"),
            ("STORAGE-1|(STORAGE-2&OFFSITE)", "1 2"),
            (r"*\(site=PIC|site=CSCS)", "1"),
            ("freespace>10", "2"),
            ("freespace<10", "1"),
        ] {
            assert_eq!(resolve(text), expected, "{text}");
        }
    }

    #[test]
    fn what_rucio_refuses_is_refused_with_its_words() {
        for text in ["NOWHERE", "site=MARS", r"OFFSITE\OFFSITE"] {
            assert_eq!(resolve(text), "RSE Expression resulted in an empty set.", "{text}");
        }
        for text in ["", "=", "A&", "&A", "A==B", "A B", "A--B", "site=", "!", "A|", "()"] {
            assert_eq!(resolve(text), "Expression does not comply to RSE Expression syntax", "{text}");
        }
        for text in ["(OFFSITE", "OFFSITE)"] {
            assert_eq!(resolve(text), "Problem with parentheses.", "{text}");
        }
    }

    #[test]
    fn nesting_without_end_is_refused_rather_than_followed() {
        assert!(Expression::parse(&"(".repeat(1_000_000)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r"[A-C(){}|&\\=<>*._ -]{0,40}|.{0,20}") {
            let _ = Expression::resolve(&text, &rses());
        }

        #[test]
        fn a_complement_never_holds_what_was_taken_away(a in "[A-C*]", b in "[A-C*]") {
            let names: Attributes = ["A", "B", "C"].map(|n| (n.to_owned(), BTreeMap::new())).into();
            let taken = Expression::resolve(&b, &names).unwrap();
            let left = Expression::parse(&format!("{a}\\{b}")).unwrap().select(&names);
            prop_assert!(left.is_disjoint(&taken));
        }
    }
}
