//! The result of a walk: what a file holds, and what is wrong with it.

use crate::hdu::Hdu;
use crate::header::Header;
use crate::problem::{Problem, Remedy};
use crate::sizes::FINDINGS_MAX;

/// What a file holds, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Walk {
    /// The HDUs in order, the last one perhaps cut short.
    pub hdus: Vec<Hdu>,
    /// The first header that has the keyword the walker was asked to look for, with its HDU's index.
    pub kept: Option<(usize, Header)>,
    /// Whether the walk came to the end of the file with every HDU seen whole.
    pub complete: bool,
    /// Bytes after the last HDU.
    pub trailing_bytes: u64,
    /// Unsafe: the file must not be accepted.
    pub problems: Vec<Problem>,
    /// Odd but safe.
    pub warnings: Vec<Problem>,
}

impl Walk {
    /// Notes a reason to reject that lies in a header.
    pub(crate) fn reject(&mut self, problem: Problem) {
        if self.problems.len() < FINDINGS_MAX {
            self.problems.push(problem);
        } else {
            self.more_findings();
        }
    }

    /// Notes an oddity of a header.
    pub(crate) fn warn(&mut self, problem: Problem) {
        if self.warnings.len() < FINDINGS_MAX {
            self.warnings.push(problem);
        } else {
            self.more_findings();
        }
    }

    /// A hostile header must not fill the memory with complaints about it.
    fn more_findings(&mut self) {
        const CODE: &str = "more-findings";
        if !self.warnings.iter().any(|warning| warning.code == CODE) {
            let what = format!("more than {FINDINGS_MAX} findings in the headers; the others are not listed");
            self.warnings.push(Problem::new(CODE, what, Remedy::SuspectWriter));
        }
    }
}
