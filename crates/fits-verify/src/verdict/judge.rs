//! A header under judgement, and how a finding about it is noted.

use std::cell::OnceCell;

use super::names::Names;
use super::structural::Shape;
use crate::card::{Card, Content};
use crate::header::Header;
use crate::layout::Kind;
use crate::problem::{Place, Problem, Remedy};
use crate::sizes::CARD;
use crate::walk::Walk;

/// A header under judgement; what is found goes to the walk.
pub(crate) struct Judge<'a> {
    pub(super) header: &'a Header,
    raw: &'a [u8],
    pub(super) start: u64,
    pub(super) kind: &'a Kind,
    pub(super) shape: Shape,
    names: OnceCell<Names>,
    pub(super) place: &'a Place,
    pub(super) walk: &'a mut Walk,
}

impl<'a> Judge<'a> {
    /// For the bytes of a header, which begin at `start` of the file.
    pub(crate) fn new(
        header: &'a Header,
        (raw, start): (&'a [u8], u64),
        kind: &'a Kind,
        place: &'a Place,
        walk: &'a mut Walk,
    ) -> Self {
        Self { header, raw, start, kind, shape: Shape::of(header, kind), names: OnceCell::new(), place, walk }
    }
}

impl Judge<'_> {
    /// An integer value.
    pub(super) fn integer(&self, keyword: &str) -> Option<i128> {
        self.header.integer(keyword)
    }

    /// The 80 bytes of a card.
    pub(super) fn raw_card(&self, card: &Card) -> &[u8; CARD] {
        const BLANK: &[u8; CARD] = &[b' '; CARD];
        let at = usize::try_from(card.offset - self.start).unwrap_or(usize::MAX);
        self.raw.get(at..).and_then(|rest| rest.first_chunk()).unwrap_or(BLANK)
    }

    /// The keywords as they are written; made once, and only where something is suspicious.
    pub(super) fn names(&self) -> &Names {
        self.names.get_or_init(|| {
            let has_value = |card: &Card| !matches!(card.content, Content::Text(_));
            let cards = self.header.cards().iter().map(|card| (self.name(card), has_value(card)));
            Names::of(cards, self.header.text("CHECKSUM").is_some_and(|sum| !sum.trim().is_empty()))
        })
    }

    /// The eight bytes of a card's keyword.
    pub(super) fn name(&self, card: &Card) -> [u8; 8] {
        self.raw_card(card).first_chunk().copied().unwrap_or([b' '; 8])
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

    /// A finding about one card.
    pub(super) fn at(&self, card: &Card, code: &'static str, what: String, remedy: Remedy) -> Problem {
        let keyword = if card.keyword.is_empty() { "blank keyword" } else { &card.keyword };
        Problem::new(code, what, remedy).in_hdu(self.place.clone()).of(keyword).at(card.offset)
    }

    fn about(&self, code: &'static str, keyword: &str, what: String, remedy: Remedy) -> Problem {
        let offset = self.header.get(keyword).map_or(self.start, |card| card.offset);
        Problem::new(code, what, remedy).in_hdu(self.place.clone()).of(keyword).at(offset)
    }
}
