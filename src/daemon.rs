//! The daemon: start-up checks, wiring, signals, and an orderly end.

mod book_keeping;
mod login;
pub mod preflight;
mod progress;
mod rucio_settings;
mod signals;

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use self::login::PasswordFile;
use crate::audit_log::AuditLog;
use crate::config::{self, Config};
use crate::custody::State;
use crate::datadir::{self, DataDir};
use crate::engine::{self, Context, Parts};
use crate::ledger::Ledger;
use crate::pipeline::confirm::Confirm;
use crate::pipeline::register::Register;
use crate::pipeline::release::{Departure, Release};
use crate::pipeline::replicate::Replicate;
use crate::pipeline::verify::Verify;
use crate::pipeline::{intake, protection, redelivery, settle};
use crate::telemetry::health::Need;
use crate::telemetry::{self, Health, Metrics};
use crate::{apart, crash, ledger, storage};

pub use signals::Reload;

/// Why the daemon could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory cannot be made.
    #[error(
        "cannot make the state directory {path}: {source}; set state_dir to a local directory the daemon may write"
    )]
    StateDir {
        /// As configured.
        path: std::path::PathBuf,
        /// From the system.
        source: std::io::Error,
    },
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// The interface directory cannot be used.
    #[error("data directory: {0}")]
    Data(#[from] datadir::Error),
    /// Another ledger's daemon works on the interface directory.
    #[error(transparent)]
    Taken(#[from] datadir::LockError),
    /// No password.
    #[error(transparent)]
    Password(#[from] config::PasswordError),
    /// The clients cannot be set up.
    #[error("Rucio client: {0}")]
    Rucio(#[from] rucio_client::Error),
    /// The storage client cannot be set up.
    #[error("storage client: {0}")]
    Storage(#[from] storage::Error),
    /// The HTTP endpoint is taken.
    #[error(
        "cannot listen on {address} for metrics and health: {source}; set http.listen to a free address or to null"
    )]
    Listen {
        /// As configured.
        address: std::net::SocketAddr,
        /// From the system.
        source: std::io::Error,
    },
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signals(std::io::Error),
    /// Rucio is not as it must be.
    #[error("start-up checks failed:\n{}", .0.iter().map(|p| format!("  - {p}")).collect::<Vec<_>>().join("\n"))]
    Preflight(Vec<preflight::Problem>),
}

/// No core dump and no look through `/proc` or a debugger: from now on the memory holds the password and the token.
fn keep_memory_private() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "core dumps cannot be switched off; a crash may leave the password in one");
    }
}

/// The client's settings as the configuration file calls them.
const RUCIO_SETTINGS: rucio_client::SettingNames = rucio_client::SettingNames {
    url: "rucio.url",
    account: "rucio.account",
    login: "rucio.auth",
    ca_file: "rucio.ca_file",
};

/// The clients the configuration asks for.
pub fn clients(config: &Config, metrics: &Arc<Metrics>) -> Result<(rucio_client::Client, storage::Client), Error> {
    keep_memory_private();
    let login = PasswordFile::of(&config.rucio.auth)?;
    let settings = rucio_client::Settings {
        url: config.rucio.url.clone(),
        account: config.rucio.account.clone(),
        login: Arc::new(login),
        ca_file: config.rucio.ca_file.clone(),
        timeout: config.rucio.timeout,
        connect_timeout: config.rucio.connect_timeout,
        max_in_flight: config.rucio.max_in_flight,
        retry: rucio_client::Retry { budget: config.rucio.retry_budget, ..rucio_client::Retry::default() },
        app_id: "dl0-ingest".to_owned(),
        user_agent: concat!("dl0-ingest/", env!("CARGO_PKG_VERSION")).to_owned(),
        names: RUCIO_SETTINGS,
        change_hook: crash::around_rucios_changes(),
    };
    let observer = Arc::new(Observed(Arc::clone(metrics)));
    let storage = storage::Settings {
        ca_file: config.offsite.ca_file.clone(),
        timeout: config.rucio.timeout,
        connect_timeout: config.rucio.connect_timeout,
    };
    Ok((rucio_client::Client::new(settings, observer)?, storage::Client::new(&storage)?))
}

struct Observed(Arc<Metrics>);

impl rucio_client::Observer for Observed {
    fn request(&self, endpoint: &'static str, outcome: &'static str, seconds: f64) {
        self.0.rucio_request(endpoint, outcome, seconds);
    }
    fn circuit(&self, open: bool) {
        self.0.rucio_up(!open);
    }
    fn token_expiry(&self, unix_seconds: f64) {
        self.0.token_expiry(unix_seconds);
    }
}

/// So long a service manager waits to hear whether Rucio is as it must be; then it learns that we run without it.
const WITHOUT_RUCIO: Duration = Duration::from_secs(5);
/// How long closing the ledger may take.
const LEDGER_CLOSE: Duration = Duration::from_secs(1);
/// Kept of the shutdown time for what follows the drain: closing the ledger, and the threads of the runtime.
const LAST_STEPS: Duration = Duration::from_millis(1500);

/// Runs until SIGTERM or SIGINT, or until `stop` is cancelled.
pub async fn run(config: Config, reload: Option<Reload>, stop: CancellationToken) -> Result<(), Error> {
    let hangup = signals::catch_hangups().map_err(Error::Signals)?;
    let shutdown = stop.child_token();
    let metrics = Arc::new(Metrics::new());
    let health = Arc::new(Health::new(&[Need::DataDirectory, Need::Ledger, Need::Rucio]));
    std::fs::create_dir_all(&config.state_dir)
        .map_err(|source| Error::StateDir { path: config.state_dir.clone(), source })?;
    let data = DataDir::new(&config.data_path, &config.vo);
    data.check()?;
    let ledger = Ledger::open(&config.ledger_path()).await?;
    let ledger_id = ledger.id().await?;
    let _lock = lock(&data, &ledger_id)?;
    let audit = AuditLog::new(&config.state_dir);
    let (rucio, storage) = clients(&config, &metrics)?;
    metrics.deletion_mode(config.release.deletion.as_str());
    metrics.minimum_copies(config.offsite.copies.get());
    let shutdown_timeout = config.shutdown_timeout;
    let listener = listen(&config).await?;
    let (gate, gate_seen) = watch::channel(false);
    let (settings, settings_seen) = watch::channel(Arc::new(config));
    let context = Context::new(Parts {
        settings: settings_seen,
        ledger: ledger.clone(),
        audit,
        data,
        rucio,
        storage,
        metrics,
        health,
        shutdown: shutdown.clone(),
        gate: gate_seen,
    });
    take_up(&context).await?;
    signals::listen(&context, hangup, settings, reload).map_err(Error::Signals)?;
    let intake = spawn_intake(context.clone());
    let mut tasks = spawn_stages(&context);
    spawn_tellers(&mut tasks, &context, ledger_id, listener);
    let checked = tokio::select! {
        checked = checks(&context) => checked.map(Some),
        () = shutdown.cancelled() => Ok(None),
    };
    if let Ok(Some(found)) = &checked {
        tasks.spawn(rucio_settings::run(context.clone(), found.clone()));
        // the receivers live in the context
        let _ = gate.send(true);
        tracing::info!("ready");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        shutdown.cancelled().await;
    }
    shutdown.cancel();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopping");
    drain(tasks, intake, shutdown_timeout.saturating_sub(LAST_STEPS)).await;
    // closing folds the write-ahead log in; a ledger whose disk hangs must not keep us
    let _ = tokio::time::timeout(LEDGER_CLOSE, ledger.close()).await;
    tracing::info!("stopped");
    checked.map(drop).map_err(Error::Preflight)
}

/// What the last run has left: files that are due now, and what was found out.
async fn take_up(context: &Context) -> Result<(), ledger::Error> {
    // what a dry run has looked at is looked at again, in case this run is none
    context.ledger.hasten(State::Confirmed).await?;
    context.ledger.hasten(State::Releasing).await?;
    if let Err(error) = apart::recall(context).await {
        tracing::error!("{error}");
    }
    if let Err(error) = engine::check_audit_record(context).await {
        tracing::error!("{error}");
    }
    Ok(())
}

fn spawn_intake(context: Context) -> JoinHandle<()> {
    tokio::task::spawn_blocking(move || intake::run(&context))
}

/// What counts and looks for others to see, and the endpoint where they do.
fn spawn_tellers(tasks: &mut JoinSet<()>, context: &Context, ledger_id: String, listener: Option<TcpListener>) {
    let (counted, counted_seen) = watch::channel(Arc::default());
    tasks.spawn(book_keeping::run(context.clone(), ledger_id, counted));
    if let Some(listener) = listener {
        let (metrics, health) = (Arc::clone(&context.metrics), Arc::clone(&context.health));
        let end = context.shutdown.clone().cancelled_owned();
        tasks.spawn(telemetry::http::serve(listener, metrics, health, counted_seen, end));
    }
}

/// Keeps other ledgers' daemons away; `None` where the file system cannot.
pub fn lock(data: &DataDir, ledger: &str) -> Result<Option<datadir::Lock>, datadir::LockError> {
    match data.lock_for(ledger) {
        Ok(lock) => Ok(Some(lock)),
        Err(impossible @ datadir::LockError::Impossible { .. }) => {
            tracing::warn!("{impossible}");
            Ok(None)
        }
        Err(taken) => Err(taken),
    }
}

/// The stages and the jobs beside them. The intake has a thread of its own.
fn spawn_stages(context: &Context) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(engine::run(Verify::new(context), context.clone()));
    tasks.spawn(engine::run(Register, context.clone()));
    tasks.spawn(engine::run(Replicate::default(), context.clone()));
    tasks.spawn(engine::run(Confirm::default(), context.clone()));
    tasks.spawn(engine::run(Release, context.clone()));
    tasks.spawn(engine::run(Departure, context.clone()));
    tasks.spawn(redelivery::run(context.clone()));
    tasks.spawn(settle::run(context.clone()));
    tasks.spawn(protection::run(context.clone()));
    tasks.spawn(protection::declared::run(context.clone()));
    tasks.spawn(engine::watch_brakes(context.clone()));
    tasks
}

/// Lets work under way come to its end, for at most `time`.
async fn drain(mut tasks: JoinSet<()>, intake: JoinHandle<()>, time: Duration) {
    let drained = tokio::time::timeout(time, async {
        while tasks.join_next().await.is_some() {}
        // the thread's panic would have been logged by its hook
        let _ = intake.await;
    });
    if drained.await.is_err() {
        // what is under way is repeated after the next start: every step is safe to repeat
        tracing::warn!("some work was still waiting for an answer; it is taken up again at the next start");
        tasks.abort_all();
    }
}

/// The checks that need Rucio. When they take long, a service manager must not take us for one that cannot start:
/// files are taken in and verified, which is what we can do.
async fn checks(context: &Context) -> Result<preflight::Found, Vec<preflight::Problem>> {
    let checks = preflight::until_passed(context);
    tokio::pin!(checks);
    if let Ok(checked) = tokio::time::timeout(WITHOUT_RUCIO, &mut checks).await {
        return checked;
    }
    tracing::info!("started; files are taken in and verified, the rest waits for Rucio");
    let status = sd_notify::NotifyState::Status(book_keeping::NOT_REACHED);
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready, status]);
    checks.await
}

async fn listen(config: &Config) -> Result<Option<TcpListener>, Error> {
    let Some(address) = config.http.listen else { return Ok(None) };
    TcpListener::bind(address).await.map(Some).map_err(|source| Error::Listen { address, source })
}
