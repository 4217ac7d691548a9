//! How a command ends.

use std::fmt::{self, Debug, Display};
use std::io::{self, Write};
use std::process::ExitCode;

use crate::printable::written_out;

/// The exit codes, the same for all commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// All is well.
    Good,
    /// The command worked and found something bad.
    Bad,
    /// Wrong usage or configuration.
    Usage,
    /// Something outside is in the way: disk, ledger, Rucio.
    Environment,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Good => Self::SUCCESS,
            Exit::Bad => Self::from(1),
            Exit::Usage => Self::from(2),
            Exit::Environment => Self::from(3),
        }
    }
}

/// Why a command could not do what it was asked.
pub(super) struct Failure {
    exit: Exit,
    /// What to say on standard error; nothing when the reader has gone.
    message: Option<Box<dyn Display>>,
}

impl Failure {
    /// What was asked for is not there.
    pub(super) fn bad(message: impl Display + 'static) -> Self {
        Self { exit: Exit::Bad, message: Some(Box::new(message)) }
    }

    /// The configuration is in the way.
    pub(super) fn usage(message: impl Display + 'static) -> Self {
        Self { exit: Exit::Usage, message: Some(Box::new(message)) }
    }

    /// Something outside is in the way.
    pub(super) fn environment(message: impl Display + 'static) -> Self {
        Self { exit: Exit::Environment, message: Some(Box::new(message)) }
    }

    /// Says it on standard error.
    pub(super) fn tell(self) -> Exit {
        if let Some(message) = self.message {
            complain(message.as_ref());
        }
        self.exit
    }
}

impl Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message.as_ref().map(ToString::to_string);
        f.debug_struct("Failure").field("exit", &self.exit).field("message", &message).finish()
    }
}

impl From<io::Error> for Failure {
    /// From writing the output. A pipe closed by its reader, as `| head` does, is nobody's fault.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { exit: Exit::Good, message: None };
        }
        Self::environment(format!("cannot write the output: {error}"))
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::from(io::Error::from(error))
    }
}

/// One line on standard error.
pub(super) fn complain(message: &dyn Display) {
    // with standard error gone too there is nobody left to tell
    let _ = writeln!(io::stderr(), "dl0-ingest: {}", written_out(&message.to_string()));
}
