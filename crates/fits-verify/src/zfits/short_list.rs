//! A short list of findings, however much is wrong.

use crate::problem::{Place, Problem, Remedy};
use crate::walk::Walk;

/// Findings of each kind that are listed in full for one HDU.
pub(super) const LISTED_MAX: usize = 8;

/// What was found in one HDU: the first few in full, the others by number.
#[derive(Debug, Default)]
pub(crate) struct ShortList {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    more_problems: u64,
    more_warnings: u64,
}

impl ShortList {
    /// Notes why the file must not be accepted.
    pub(crate) fn reject(&mut self, problem: Problem) {
        note(problem, &mut self.problems, &mut self.more_problems);
    }

    /// Notes what is odd but safe.
    pub(crate) fn warn(&mut self, warning: Problem) {
        note(warning, &mut self.warnings, &mut self.more_warnings);
    }

    /// Appends all to the findings of the walk.
    pub(crate) fn append_to(mut self, place: &Place, walk: &mut Walk) {
        count_the_rest(&mut self.problems, self.more_problems, place);
        count_the_rest(&mut self.warnings, self.more_warnings, place);
        walk.problems.append(&mut self.problems);
        walk.warnings.append(&mut self.warnings);
    }
}

fn note(problem: Problem, listed: &mut Vec<Problem>, more: &mut u64) {
    if listed.len() < LISTED_MAX { listed.push(problem) } else { *more += 1 }
}

fn count_the_rest(listed: &mut Vec<Problem>, more: u64, place: &Place) {
    if let (Some(last), 1..) = (listed.last(), more) {
        let what = format!("and {more} more findings of this kind after byte {}", last.offset.unwrap_or_default());
        listed.push(Problem::new(last.code, what, Remedy::Redeliver).in_hdu(place.clone()));
    }
}
