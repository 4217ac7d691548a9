//! The road: one stage a state, each claiming due files from the ledger and committing what became of them.
//!
//! Stages know nothing of each other. The ledger is the only queue; a wake-up merely spares the next stage its poll.

pub mod announce;
mod backoff;
pub mod brakes;
pub mod confirm;
mod first_copies;
pub mod intake;
mod look;
mod mend;
pub mod offsite;
mod on_site;
pub(crate) mod our_rules;
pub mod protection;
mod read_back;
pub mod redelivery;
pub mod register;
pub mod release;
pub mod replicate;
mod rescue;
mod runner;
pub(crate) mod set_aside;
pub mod settle;
pub mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::audit_log::AuditLog;
use crate::config::Config;
use crate::custody::invariants::Violation;
use crate::custody::{State, UnixMillis, is_fresh};
use crate::datadir::DataDir;
use crate::ledger::{self, FileRow, Ledger, now};
use crate::rucio::Kind;
use crate::telemetry::{Health, Metrics};
use crate::{audit_log, clock, rucio, storage};

pub use runner::run;

/// What every stage works with. Clones share everything.
#[derive(Clone)]
pub struct Context {
    /// The operator's settings, as last loaded.
    pub settings: watch::Receiver<Arc<Config>>,
    /// The durable record.
    pub ledger: Ledger,
    /// The record of irreversible effects.
    pub audit: Arc<tokio::sync::Mutex<AuditLog>>,
    /// The interface directory.
    pub data: DataDir,
    /// Rucio.
    pub rucio: rucio::Client,
    /// The data centres' storages.
    pub storage: storage::Client,
    /// Numbers for the operator.
    pub metrics: Arc<Metrics>,
    /// Whether we are alive and ready.
    pub health: Arc<Health>,
    /// Ends everything.
    pub shutdown: CancellationToken,
    /// For the intake, which has a thread of its own.
    pub runtime: tokio::runtime::Handle,
    /// Opens when Rucio has passed the start-up checks.
    pub gate: watch::Receiver<bool>,
    /// Set at shutdown: readings stop between two blocks.
    pub cancel: Arc<AtomicBool>,
    troubles: Arc<mend::Troubles>,
    storages: Arc<look::Storages>,
    watched: Arc<settle::Cursor>,
    wakes: Arc<[Notify; State::ALL.len()]>,
}

/// Whether what was asked at a moment may still be acted upon, for whoever is about to act to ask at the last one. In between
/// the process may have been stopped for any time, or the machine put to sleep, and copies may be gone since.
fn may_be_acted_upon(asked_at: UnixMillis) -> bool {
    is_fresh(asked_at, now()).is_ok() && asked_at > clock::last_set()
}

/// What a [`Context`] is made of.
pub struct Parts {
    /// The operator's settings.
    pub settings: watch::Receiver<Arc<Config>>,
    /// The durable record.
    pub ledger: Ledger,
    /// The record of irreversible effects.
    pub audit: AuditLog,
    /// The interface directory.
    pub data: DataDir,
    /// Rucio.
    pub rucio: rucio::Client,
    /// The data centres' storages.
    pub storage: storage::Client,
    /// Numbers for the operator.
    pub metrics: Arc<Metrics>,
    /// Whether we are alive and ready.
    pub health: Arc<Health>,
    /// Ends everything.
    pub shutdown: CancellationToken,
    /// Opens when Rucio has passed the start-up checks.
    pub gate: watch::Receiver<bool>,
}

impl Context {
    /// Brings the parts together. Must be called within the runtime.
    pub fn new(parts: Parts) -> Self {
        let Parts { settings, ledger, audit, data, rucio, storage, metrics, health, shutdown, gate } = parts;
        let audit = Arc::new(tokio::sync::Mutex::new(audit));
        let runtime = tokio::runtime::Handle::current();
        let (troubles, storages, watched) = (Arc::default(), Arc::default(), Arc::default());
        let wakes = Arc::new(std::array::from_fn(|_| Notify::new()));
        let cancel = Arc::new(AtomicBool::new(false));
        let (flag, end) = (Arc::clone(&cancel), shutdown.clone());
        runtime.spawn(async move {
            end.cancelled().await;
            flag.store(true, Ordering::Relaxed);
        });
        Self {
            settings,
            ledger,
            audit,
            data,
            rucio,
            storage,
            metrics,
            health,
            shutdown,
            runtime,
            gate,
            cancel,
            troubles,
            storages,
            watched,
            wakes,
        }
    }

    /// The settings as they are now.
    pub fn config(&self) -> Arc<Config> {
        self.settings.borrow().clone()
    }

    /// Tells the stage that leaves `state` that there is work.
    pub fn wake(&self, state: State) {
        self.wakes[state as usize].notify_one();
    }

    /// What files wait for was measured by the settings as they were: those for which it may have become less are due now.
    pub(crate) async fn look_again_by_new_settings(&self) {
        for state in [State::Replicated, State::Confirmed, State::Releasing] {
            match self.ledger.hasten(state).await {
                Ok(_) => self.wake(state),
                Err(error) => tracing::error!(%error, "{state} files keep their pace"),
            }
        }
    }

    /// Holds a file for an operator, and says so.
    async fn hold(&self, row: &FileRow, code: &str, reason: &str) -> Result<(), StageError> {
        if self.ledger.hold(row, code, reason).await? {
            tracing::error!(lfn = row.lfn, code, "file held: {reason}");
        }
        Ok(())
    }

    /// A violated invariant stops the effect, loudly, and the releases of all files, also if this one has moved on meanwhile.
    async fn stop(&self, row: &FileRow, violation: &Violation) -> Result<(), StageError> {
        self.trip(Some(&row.lfn), violation).await?;
        self.hold(row, "invariant", &violation.to_string()).await
    }

    /// A violated invariant stops the releases of all files; whoever found it leaves out the effect.
    async fn trip(&self, lfn: Option<&str>, violation: &Violation) -> Result<(), StageError> {
        self.metrics.invariant_violation(violation.invariant);
        self.ledger.trip("invariant", &violation.to_string(), lfn).await?;
        Ok(())
    }

    /// Looks at a file again later; nothing is wrong with it.
    async fn wait(&self, row: &FileRow, delay: Duration, waits_for: &str) -> Result<(), StageError> {
        let wait = ledger::Postpone { id: row.id, delay, waits_for: waits_for.to_owned(), failed: false };
        Ok(self.ledger.postpone(&[wait]).await?)
    }

    /// Whether Rucio, which answered badly, is up: another question may be answered well.
    fn may_answer_others(&self, error: &StageError) -> bool {
        error.is_rucios_moment() && !self.rucio.circuit().is_open()
    }

    /// Whether what went wrong about one file or dataset may be about that one alone, so that others need not wait for it:
    /// Rucio answers, and not that it does not know us.
    fn leaves_others(&self, error: &StageError) -> bool {
        let about_one = match error {
            StageError::Rucio(error) => !matches!(error.kind(), Kind::Login | Kind::Tls | Kind::Settings),
            StageError::Wait(_) | StageError::Setting(_) => true,
            StageError::Ledger(_) | StageError::Audit(_) | StageError::Data(_) | StageError::Defect => false,
        };
        about_one && !self.rucio.circuit().is_open()
    }

    /// Something went wrong about one file, which waits. The others go on if Rucio only answered badly; else the batch ends.
    async fn set_back(&self, row: &FileRow, error: StageError) -> Result<(), StageError> {
        let delay = backoff::after_failures(&self.config().retry, row.attempts);
        let failed = !self.rucio.circuit().is_open();
        let wait = ledger::Postpone { id: row.id, delay, waits_for: error.to_string(), failed };
        self.ledger.postpone(&[wait]).await?;
        if !self.may_answer_others(&error) {
            return Err(error);
        }
        tracing::warn!(lfn = row.lfn, "{error}; trying again");
        Ok(())
    }

    async fn woken(&self, state: State) {
        self.wakes[state as usize].notified().await;
    }
}

/// What stops a whole batch. What concerns one file is that file's outcome, not this.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// Rucio.
    #[error(transparent)]
    Rucio(#[from] rucio::Error),
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

    /// Whether Rucio answered badly or too late, and may do better.
    fn is_rucios_moment(&self) -> bool {
        matches!(self, Self::Rucio(error) if error.is_transient())
    }

    /// Whether the same work on fewer files may pass: the trouble may lie with some of them.
    fn may_concern_some(&self) -> bool {
        match self {
            Self::Rucio(error) => error.kind().blames_the_request() || error.kind() == rucio::Kind::NoTarget,
            Self::Data(crate::datadir::Error::Unavailable { .. })
            | Self::Setting(_)
            | Self::Ledger(_)
            | Self::Audit(_) => false,
            Self::Data(_) | Self::Wait(_) | Self::Defect => true,
        }
    }
}

/// One stage of the road.
pub trait Stage: Send + Sync + 'static {
    /// Its name in logs and metrics.
    const NAME: &'static str;
    /// The state it moves files out of.
    const STATE: State;
    /// Whether it is pointless while Rucio is away.
    const NEEDS_RUCIO: bool;

    /// Most files claimed at once.
    fn batch(&self, config: &Config) -> usize;

    /// Batches under way at once.
    fn parallel(&self, _config: &Config) -> usize {
        1
    }

    /// How long a batch waits to fill after the first file came.
    fn gather(&self, _config: &Config) -> Duration {
        Duration::ZERO
    }

    /// Works on claimed files and commits what became of each. Files without an outcome are given back.
    fn work(&self, context: &Context, rows: Vec<FileRow>) -> impl Future<Output = Result<(), StageError>> + Send;
}

/// A task for a blocking thread; its panic is the caller's panic.
pub(crate) async fn blocking<T: Send + 'static>(task: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(task).await {
        Ok(value) => value,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // only when the runtime shuts down: nothing that depends on the answer may go on
        Err(_) => std::future::pending().await,
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
