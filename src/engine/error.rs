//! What stops a stage's work on a whole batch.

use crate::{audit_log, ledger};

/// What stops a whole batch. What concerns one file is that file's outcome, not this.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// Rucio.
    #[error(transparent)]
    Rucio(#[from] rucio_client::Error),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// The audit record, without which nothing irreversible happens.
    #[error(transparent)]
    Audit(#[from] audit_log::Error),
    /// The interface directory.
    #[error(transparent)]
    Data(#[from] crate::datadir::Error),
    /// Something else that waiting may mend, in words.
    #[error("{0}")]
    Wait(String),
    /// A setting, ours or Rucio's, under which none of these files may go on, in words.
    #[error("{0}")]
    Setting(String),
    /// A panic; its message is on standard error.
    #[error("internal error: the stage panicked; please report it with the log")]
    Defect,
}

impl StageError {
    /// Whether nobody needs to do anything but wait.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Rucio(error) => error.is_transient(),
            Self::Wait(_) | Self::Setting(_) => true,
            Self::Ledger(_) | Self::Audit(_) | Self::Data(_) | Self::Defect => false,
        }
    }

    /// What kind of error it is, whatever file it is about: a word for logs.
    pub(crate) fn label(&self) -> &str {
        match self {
            Self::Rucio(error) => error.class().unwrap_or_else(|| error.kind().as_str()),
            Self::Ledger(_) => "ledger",
            Self::Audit(_) => "audit record",
            Self::Data(_) => "data directory",
            Self::Wait(_) => "wait",
            Self::Setting(_) => "setting",
            Self::Defect => "defect",
        }
    }

    /// Whether Rucio answered badly or too late, and may do better.
    pub(crate) fn is_rucios_moment(&self) -> bool {
        matches!(self, Self::Rucio(error) if error.is_transient())
    }

    /// Whether the same work on fewer files may pass: the trouble may lie with some of them.
    pub(crate) fn may_concern_some(&self) -> bool {
        match self {
            Self::Rucio(error) => error.kind().blames_the_request() || error.kind() == rucio_client::Kind::NoTarget,
            Self::Data(crate::datadir::Error::Unavailable { .. })
            | Self::Setting(_)
            | Self::Ledger(_)
            | Self::Audit(_) => false,
            Self::Data(_) | Self::Wait(_) | Self::Defect => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_keeps_all_files_alike_and_no_smaller_batch_fares_better() {
        let (setting, wait) = (StageError::Setting("none".to_owned()), StageError::Wait("one".to_owned()));
        assert!(setting.is_transient() && wait.is_transient());
        assert!(!setting.may_concern_some() && wait.may_concern_some());
    }
}
