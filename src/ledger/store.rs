//! The embedded ledger: one SQLite file, one writer that holds its lock, readers beside it.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Sqlite, SqliteConnection, SqlitePool, Transaction};

use crate::clock::now;
use crate::crash;
use crate::custody::{State, UnixMillis, in_millis};

use super::error::Error;
use super::refused::Refused;
use super::statements::value;

/// A handle on the ledger; cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(super) writer: SqlitePool,
    pub(super) reader: SqlitePool,
    path: Arc<PathBuf>,
    pub(super) owner: Arc<str>,
    pub(super) claims: Arc<AtomicU64>,
    /// What the database refused last, until a write has passed.
    pub(super) trouble: Arc<Mutex<Option<Refused>>>,
    /// Moves out of each state since the start.
    pub(super) moves: Arc<[AtomicU64; State::ALL.len()]>,
    _lock: Option<Arc<File>>,
}

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("src/ledger/migrations");

impl Ledger {
    /// Opens (and creates) the ledger for the one daemon that writes it.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let lock = lock(path)?;
        // SQLite gives its other files the same rights
        private(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        let database = |source| Error::Database { path: path.to_owned(), source };
        // one writer: SQLite has one anyway, and waiting in the pool is cheaper than waiting on its lock
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .after_release(|connection, _| Box::pin(usable(connection)))
            .connect_with(options.clone())
            .await
            .map_err(database)?;
        MIGRATIONS.run(&writer).await.map_err(|source| Error::Schema { path: path.to_owned(), source })?;
        let reader = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await
            .map_err(database)?;
        let owner = format!("{}@{}", std::process::id(), now());
        let ledger = Self {
            writer,
            reader,
            path: Arc::new(path.to_owned()),
            owner: owner.into(),
            claims: Arc::default(),
            trouble: Arc::default(),
            moves: Arc::default(),
            _lock: Some(Arc::new(lock)),
        };
        ledger.identify().await?;
        ledger.drop_claims().await?;
        ledger.take_over_clock().await?;
        Ok(ledger)
    }

    /// Opens the ledger for reading, beside a running daemon or without one.
    pub async fn open_read_only(path: &Path) -> Result<Self, Error> {
        Self::open_beside(path, SqliteConnectOptions::new().read_only(true), 2, "reader").await
    }

    /// Opens the ledger for an operator's command, beside a running daemon or without one. Such a command writes what the
    /// daemon looks up at every step, and moves only files that the daemon leaves alone.
    pub async fn open_for_operator(path: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new().synchronous(SqliteSynchronous::Full).foreign_keys(true);
        Self::open_beside(path, options, 1, "operator").await
    }

    async fn open_beside(
        path: &Path,
        options: SqliteConnectOptions,
        connections: u32,
        owner: &str,
    ) -> Result<Self, Error> {
        if let Err(error) = std::fs::metadata(path) {
            let words = match error.kind() {
                ErrorKind::NotFound => "no such file (has the daemon ever run?)".to_owned(),
                ErrorKind::PermissionDenied => {
                    format!("{error}; run this as the daemon's user, or as a member of its group")
                }
                _ => error.to_string(),
            };
            return Err(Error::File { path: path.to_owned(), source: std::io::Error::new(error.kind(), words) });
        }
        let options = options.filename(path).create_if_missing(false).busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new()
            .max_connections(connections)
            .connect_with(options)
            .await
            .map_err(|source| Error::Database { path: path.to_owned(), source })?;
        let ledger = Self {
            writer: pool.clone(),
            reader: pool,
            path: Arc::new(path.to_owned()),
            owner: owner.into(),
            claims: Arc::default(),
            trouble: Arc::default(),
            moves: Arc::default(),
            _lock: None,
        };
        ledger.check_version().await?;
        Ok(ledger)
    }

    async fn check_version(&self) -> Result<(), Error> {
        let found: i64 = value!(self, &self.reader; "SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations").await?;
        let needed = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
        if found == needed {
            Ok(())
        } else {
            Err(Error::OtherVersion { path: self.path.as_ref().clone(), found, needed })
        }
    }

    /// The file of the embedded ledger.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes all connections; the write-ahead log is folded in.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    /// An error of the database; one that says that it cannot be used is remembered.
    pub(super) fn database(&self, source: sqlx::Error) -> Error {
        if let Some(refused) = Refused::of(&source) {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
        }
        Error::Database { path: self.path.as_ref().clone(), source }
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        // IMMEDIATE: a transaction that reads first and writes later must not fail half-way on the lock
        let transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|e| self.database(e))?;
        crash::begun();
        Ok(transaction)
    }

    pub(super) async fn commit(&self, transaction: Transaction<'static, Sqlite>) -> Result<(), Error> {
        crash::committing(transaction.commit()).await.map_err(|e| self.database(e))
    }
}

/// Whether a connection given back can serve again. SQLite itself ends a transaction that meets a full disk; a connection
/// that still believes in it would refuse to begin another for ever.
async fn usable(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // behind what is queued, such as the end of a transaction that was dropped
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

fn lock(path: &Path) -> Result<File, Error> {
    let lock_path = path.with_extension("lock");
    let failed = |source| Error::File { path: lock_path.clone(), source };
    // never unlinked: a lock on a name that somebody re-creates guards nothing
    let file = private(&lock_path).map_err(failed)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::InUse { path: path.to_owned(), lock: lock_path }),
        Err(errno) => Err(failed(errno.into())),
    }
}

/// Opens a file for writing, creating it so that others than user and group cannot look into it, whatever the umask.
fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o640).open(path)
}

/// That long from now.
pub(super) fn after(delay: Duration) -> UnixMillis {
    now() + in_millis(delay)
}
