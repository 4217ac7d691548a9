//! What is wrong with a configuration, where, and what to write instead.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// A position in the file, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

/// One thing that is wrong, or (as a warning) that deserves a second look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where it stands; `None` for a configuration that did not come from a file.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// The key with its sections, `register.batch`; empty when the file as a whole is meant.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write or do instead.
    pub help: String,
}

impl fmt::Display for Problem {
    /// `12:3: register.batch: 0 is out of range; write a number from 1 to 500`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { line, column }) = self.place {
            write!(f, "{line}:{column}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.message, self.help)
    }
}

/// Why there is no configuration to work with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read at all.
    #[error("cannot read the configuration {}: {source}; give its place with --config, or copy the example there", path.display())]
    Unreadable {
        /// The file asked for.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file can be read and is wrong.
    #[error("{}", listed(path, problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it, in the order of the file; never empty.
        problems: Vec<Problem>,
        /// What is not wrong but deserves a second look.
        warnings: Vec<Problem>,
    },
}

/// One line per problem, each with the file in front so that editors can jump there.
fn listed(path: &std::path::Path, problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("{}:{problem}", path.display())).collect();
    lines.join("\n")
}
