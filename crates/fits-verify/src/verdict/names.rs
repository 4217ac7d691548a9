//! The keywords of a header as they are written.

use std::collections::HashMap;

/// The keywords of a header, to be found without a look through all of its cards.
#[derive(Debug)]
pub(super) struct Names {
    /// Whether one of its cards has a value.
    valued: HashMap<[u8; 8], bool>,
    summed: bool,
}

impl Names {
    /// Of cards, each with its keyword and whether it has a value; `summed` is whether the header states its sum.
    pub(super) fn of(cards: impl Iterator<Item = ([u8; 8], bool)>, summed: bool) -> Self {
        let mut valued = HashMap::new();
        for (name, has_value) in cards {
            *valued.entry(name).or_default() |= has_value;
        }
        Self { valued, summed }
    }

    /// Whether there is this very keyword; with `valued`, whether it has a value.
    pub(super) fn has(&self, name: [u8; 8], valued: bool) -> bool {
        self.valued.get(&name).is_some_and(|has_value| *has_value || !valued)
    }

    /// Whether the header states its sum.
    pub(super) fn summed(&self) -> bool {
        self.summed
    }
}
