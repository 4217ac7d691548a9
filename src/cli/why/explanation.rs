//! What `why` tells of a file.

use serde::Serialize;

use crate::cli::exit::Failure;

/// The answer.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Explanation {
    pub(super) lfn: String,
    /// `None` when the daemon has no record of the file.
    pub(super) state: Option<&'static str>,
    /// Where it stands and what it waits for.
    pub(super) because: Vec<String>,
    /// What the daemon does next by itself, if anything.
    pub(super) next: Option<String>,
    /// What an operator can do.
    pub(super) operator: Vec<String>,
}

impl Explanation {
    /// For commands that need the file.
    pub(in crate::cli) fn into_failure(self) -> Failure {
        Failure::bad(format!("{}: {}", self.lfn, self.because.join(" ")))
    }
}
