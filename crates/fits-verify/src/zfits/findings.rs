//! A short list of findings, however much is wrong.

use super::super::problem::{Place, Problem, REDELIVER};

/// Findings of each kind that are told in full for one HDU.
pub const TOLD: usize = 8;

/// What was found in one HDU: the first few in full, the others by number.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    more_problems: u64,
    more_warnings: u64,
}

impl Findings {
    /// Notes why the file must not be accepted.
    pub(crate) fn reject(&mut self, problem: Problem) {
        note(problem, &mut self.problems, &mut self.more_problems);
    }

    /// Notes what is odd but safe.
    pub(crate) fn warn(&mut self, warning: Problem) {
        note(warning, &mut self.warnings, &mut self.more_warnings);
    }

    /// Appends all to the lists of the walk.
    pub(crate) fn tell(mut self, place: &Place, problems: &mut Vec<Problem>, warnings: &mut Vec<Problem>) {
        rest(&mut self.problems, self.more_problems, place);
        rest(&mut self.warnings, self.more_warnings, place);
        problems.append(&mut self.problems);
        warnings.append(&mut self.warnings);
    }
}

fn note(problem: Problem, told: &mut Vec<Problem>, more: &mut u64) {
    if told.len() < TOLD { told.push(problem) } else { *more += 1 }
}

fn rest(told: &mut Vec<Problem>, more: u64, place: &Place) {
    if let (Some(last), 1..) = (told.last(), more) {
        let what = format!("and {more} more findings of this kind after byte {}", last.offset.unwrap_or_default());
        told.push(Problem::new(last.code, what, REDELIVER).in_hdu(place.clone()));
    }
}
