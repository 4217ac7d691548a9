//! What every stage works with, and what it says of a file that it does not move.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::audit_log::AuditLog;
use crate::config::Config;
use crate::custody::invariants::Violation;
use crate::custody::{Evidence, HoldCode, State, UnixMillis, in_millis, is_fresh};
use crate::datadir::DataDir;
use crate::ledger::{self, FileRow, Ledger, now};
use crate::reading::as_configured;
use crate::telemetry::{Health, Metrics};
use crate::{clock, fixity, storage};
use rucio_client::Kind;

use super::memory::Memory;
use super::{Pace, StageError, after_failures};

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
    pub rucio: rucio_client::Client,
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
    /// What is remembered from one turn to the next, until a restart.
    pub(crate) memory: Arc<Memory>,
    wakes: Arc<[Notify; State::ALL.len()]>,
}

/// Whether what was asked at a moment may still be acted upon, for whoever is about to act to ask at the last one. In between
/// the process may have been stopped for any time, or the machine put to sleep, and copies may be gone since.
pub(crate) fn may_be_acted_upon(asked_at: UnixMillis) -> bool {
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
    pub rucio: rucio_client::Client,
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
            memory: Arc::default(),
            wakes,
        }
    }

    /// The settings as they are now.
    pub fn config(&self) -> Arc<Config> {
        self.settings.borrow().clone()
    }

    /// How files are read, which ends at shutdown.
    pub(crate) fn reading_options(&self) -> fixity::Options {
        fixity::Options { cancel: Some(Arc::clone(&self.cancel)), ..as_configured(&self.config()) }
    }

    /// Tells the stage that leaves `state` that there is work.
    pub fn wake(&self, state: State) {
        self.wakes[state as usize].notify_one();
    }

    /// What files wait for was measured by the settings as they were: those for which it may have become less are due now.
    pub(crate) async fn look_again_by_new_settings(&self) {
        self.hasten(&[State::Replicated, State::Confirmed, State::Releasing]).await;
    }

    /// Files of these states are due now.
    pub(crate) async fn hasten(&self, states: &[State]) {
        for &state in states {
            match self.ledger.hasten(state).await {
                Ok(_) => self.wake(state),
                Err(error) => tracing::error!(%error, "{state} files keep their pace"),
            }
        }
    }

    /// Holds a file for an operator, and says so.
    pub(crate) async fn hold(&self, row: &FileRow, code: HoldCode, reason: &str) -> Result<(), StageError> {
        if self.ledger.hold(row, code, reason).await? {
            tracing::error!(lfn = row.lfn, code = code.as_str(), "file held: {reason}");
        }
        Ok(())
    }

    /// A violated invariant stops the effect, loudly, and the releases of all files, also if this one has moved on meanwhile.
    pub(crate) async fn stop(&self, row: &FileRow, violation: &Violation) -> Result<(), StageError> {
        self.trip(Some(&row.lfn), violation).await?;
        self.hold(row, HoldCode::Invariant, &violation.to_string()).await
    }

    /// A violated invariant stops the releases of all files; whoever found it leaves out the effect.
    pub(crate) async fn trip(&self, lfn: Option<&str>, violation: &Violation) -> Result<(), StageError> {
        self.metrics.invariant_violation(violation.invariant);
        self.ledger.trip(HoldCode::Invariant.as_str(), &violation.to_string(), lfn).await?;
        Ok(())
    }

    /// Looks at a file again later; nothing is wrong with it.
    pub(crate) async fn wait(&self, row: &FileRow, delay: Duration, waits_for: &str) -> Result<(), StageError> {
        let wait = ledger::Postpone { id: row.id, delay, waits_for: waits_for.to_owned(), failed: false };
        Ok(self.ledger.postpone(&[wait]).await?)
    }

    /// Looks at a file again after a tenth of the time that it has been in its state, within the bounds of `pace`.
    pub(crate) async fn wait_patiently(&self, row: &FileRow, pace: Pace, waits_for: &str) -> Result<(), StageError> {
        self.wait(row, pace.after(row.state_since), waits_for).await
    }

    /// Remembers a complete look as the first; the file is due again when the hold time is over.
    pub(crate) async fn remember_first_look(&self, row: &FileRow, evidence: &Evidence) -> Result<(), StageError> {
        let first_look = serde_json::json!(evidence.as_first_look()).to_string();
        let due = evidence.at() + in_millis(self.config().confirm.hold);
        Ok(self.ledger.looked(row, &first_look, due).await?)
    }

    /// Whether Rucio, which answered badly, is up: another question may be answered well.
    pub(crate) fn may_answer_others(&self, error: &StageError) -> bool {
        error.is_rucios_moment() && !self.rucio.circuit().is_open()
    }

    /// Whether what went wrong about one file or dataset may be about that one alone, so that others need not wait for it:
    /// Rucio answers, and not that it does not know us.
    pub(crate) fn leaves_others(&self, error: &StageError) -> bool {
        let about_one = match error {
            StageError::Rucio(error) => !matches!(error.kind(), Kind::Login | Kind::Tls | Kind::Settings),
            StageError::Wait(_) | StageError::Setting(_) => true,
            StageError::Ledger(_) | StageError::Audit(_) | StageError::Data(_) | StageError::Defect => false,
        };
        about_one && !self.rucio.circuit().is_open()
    }

    /// Something went wrong about one file, which waits. The others go on if Rucio only answered badly; else the batch ends.
    pub(crate) async fn set_back(&self, row: &FileRow, error: StageError) -> Result<(), StageError> {
        let delay = after_failures(&self.config().retry, row.attempts);
        let failed = !self.rucio.circuit().is_open();
        let wait = ledger::Postpone { id: row.id, delay, waits_for: error.to_string(), failed };
        self.ledger.postpone(&[wait]).await?;
        if !self.may_answer_others(&error) {
            return Err(error);
        }
        if self.memory.troubles.is_first(&format!("a {} file is set back ({})", row.state, error.label()), &row.lfn) {
            tracing::warn!(lfn = row.lfn, "{error}; trying again");
        }
        Ok(())
    }

    pub(crate) async fn woken(&self, state: State) {
        self.wakes[state as usize].notified().await;
    }
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
    fn what_was_asked_before_the_clock_was_set_is_not_acted_upon() {
        let asked_at = now();
        assert!(may_be_acted_upon(asked_at));
        clock::pretend_to_be_set();
        assert!(!may_be_acted_upon(asked_at), "the time since may have been any");
        let set_at = clock::last_set();
        while now() <= set_at {
            std::thread::yield_now();
        }
        assert!(may_be_acted_upon(now()));
    }
}
