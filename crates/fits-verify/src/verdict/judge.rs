//! A header under judgement, and how a finding about it is noted.

use crate::card::{Card, Value};
use crate::header::Header;
use crate::layout::Kind;
use crate::problem::{Place, Problem, Remedy};
use crate::sizes::CARD;
use crate::walk::Walk;

/// A header under judgement; what is found goes to the walk.
pub(crate) struct Judge<'a> {
    pub(crate) header: &'a Header,
    /// The bytes of the header, and where they begin in the file.
    pub(crate) raw: &'a [u8],
    pub(crate) start: u64,
    pub(crate) kind: &'a Kind,
    pub(crate) place: &'a Place,
    pub(crate) walk: &'a mut Walk,
}

impl Judge<'_> {
    /// An integer value.
    pub(super) fn integer(&self, keyword: &str) -> Option<i128> {
        match self.header.get(keyword)?.value()? {
            Value::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The 80 bytes of a card.
    pub(super) fn raw_card(&self, card: &Card) -> &[u8; CARD] {
        const BLANK: &[u8; CARD] = &[b' '; CARD];
        let at = usize::try_from(card.offset - self.start).unwrap_or(usize::MAX);
        self.raw.get(at..).and_then(|rest| rest.first_chunk()).unwrap_or(BLANK)
    }

    /// A keyword that may have these values only, if it is there.
    pub(super) fn allowed(&mut self, keyword: &str, values: &[i128], section: &'static str) {
        if self.header.get(keyword).is_some() && !self.integer(keyword).is_some_and(|value| values.contains(&value)) {
            let values: Vec<_> = values.iter().map(ToString::to_string).collect();
            let what = format!("must be {} in {}", values.join(" or "), self.kind.name());
            self.reject("mandatory-value", keyword, what, Some(section));
        }
    }

    /// Indexed keywords beyond their count.
    pub(super) fn beyond_count(&mut self, counts: &[(&str, i128)]) {
        for card in self.header.cards() {
            let beyond = counts.iter().find_map(|(root, count)| {
                let index = card.keyword.strip_prefix(root)?.parse::<u32>().ok()?;
                (i128::from(index) > *count).then_some(*count)
            });
            if let Some(count) = beyond {
                let what = format!("has an index beyond {count}, the number of its kind");
                let problem = Problem::new("extra-index", what, Remedy::TellWriter).in_hdu(self.place.clone());
                self.walk.warn(problem.of(&card.keyword).at(card.offset));
            }
        }
    }

    /// Notes a reason to reject; a section given here is closer than the one of the code.
    pub(super) fn reject(&mut self, code: &'static str, keyword: &str, what: String, section: Option<&'static str>) {
        let problem = self.about(code, keyword, what, Remedy::SuspectWriter);
        self.walk.reject(if let Some(section) = section { problem.by(section) } else { problem });
    }

    /// Notes an oddity.
    pub(super) fn warn(&mut self, code: &'static str, keyword: &str, what: String) {
        let problem = self.about(code, keyword, what, Remedy::TellWriter);
        self.walk.warn(problem);
    }

    fn about(&self, code: &'static str, keyword: &str, what: String, remedy: Remedy) -> Problem {
        let offset = self.header.get(keyword).map_or(self.start, |card| card.offset);
        Problem::new(code, what, remedy).in_hdu(self.place.clone()).of(keyword).at(offset)
    }
}
