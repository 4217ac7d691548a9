//! Durable custody: one row a file, one append-only event a move, and the only queue of the pipeline.
//!
//! A stage claims due files in its state, works, and commits the outcome in one transaction; a restart is therefore
//! nothing special. The statements keep to what SQLite and PostgreSQL share.

mod claims;
mod clock;
mod collections;
mod deliveries;
mod moves;
mod operators;
mod queries;
mod reconciliation;
mod rows;
mod settling;
mod stops;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Sqlite, SqliteConnection, SqlitePool, Transaction};

pub use claims::{Claim, Postpone};
pub use deliveries::{Delivered, Delivery, Redelivery, WrongTrigger};
pub use moves::{EndOfRule, Registration, Sentence, Verified};
pub use operators::{Operator, Retried, TooLate};
pub use queries::{Filter, StateSummary};
pub use reconciliation::{OnRecord, Proven, Restored};
pub use rows::{EventRow, FileRow, iso};
pub use settling::{Ending, OwnRule, Resting, Settlement, Watched};
pub use stops::IntentOutcome;

pub use crate::clock::now;
use crate::crash;
use crate::custody::{IllegalMove, State, UnixMillis, in_millis};

/// What can go wrong with the ledger.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another daemon holds the ledger.
    #[error(
        "the ledger {path} is in use by another dl0-ingest ({lock} is locked); two daemons must never share one, stop the other first"
    )]
    InUse {
        /// The ledger.
        path: PathBuf,
        /// Its lock file.
        lock: PathBuf,
    },
    /// The file or its directory cannot be used.
    #[error("cannot use the ledger {path}: {source}; check that its directory exists, is writable and not full")]
    File {
        /// The ledger or its lock.
        path: PathBuf,
        /// From the system.
        source: std::io::Error,
    },
    /// The database refused: full or read-only disk, corruption, newer schema.
    #[error("ledger {path}: {source}{}", remedy(source))]
    Database {
        /// The ledger.
        path: PathBuf,
        /// From the database.
        source: sqlx::Error,
    },
    /// A newer or damaged schema.
    #[error("ledger {path}: {source}; was it written by a newer dl0-ingest?")]
    Schema {
        /// The ledger.
        path: PathBuf,
        /// From the migration.
        source: sqlx::migrate::MigrateError,
    },
    /// An operator's command or a reader met a schema that is not its own.
    #[error(
        "the ledger {path} has schema {found}, this dl0-ingest needs {needed}; start the daemon of this version first"
    )]
    OtherVersion {
        /// The ledger.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        needed: i64,
    },
    /// A move the road does not have.
    #[error(transparent)]
    Illegal(#[from] IllegalMove),
    /// The file was moved or delivered anew by somebody else meanwhile; the work done on it is void.
    #[error("{lfn} is no longer {expected} as it was when it was claimed")]
    Moved {
        /// The file.
        lfn: String,
        /// As claimed.
        expected: State,
    },
    /// A row holds something this version does not understand.
    #[error("ledger row {lfn}: {what}")]
    Row {
        /// The file.
        lfn: String,
        /// What is wrong.
        what: String,
    },
}

fn remedy(error: &sqlx::Error) -> &'static str {
    let text = error.to_string();
    if text.contains("disk is full") {
        "; free space on its disk"
    } else if text.contains("readonly") || text.contains("read-only") {
        "; make its directory writable for the daemon's user"
    } else if text.contains("unable to open") {
        "; check the directory and its permissions"
    } else {
        ""
    }
}

/// A handle on the ledger; cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    writer: SqlitePool,
    reader: SqlitePool,
    path: Arc<PathBuf>,
    owner: Arc<str>,
    claims: Arc<AtomicU64>,
    _lock: Option<Arc<File>>,
}

/// How long a claim lasts: as long as the process that holds it. The embedded ledger has one daemon, which drops all claims
/// at its start; a lease would end under work that merely takes long, and others would do it a second time.
const FOR_LIFE: UnixMillis = UnixMillis::MAX;

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
            _lock: Some(Arc::new(lock)),
        };
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
        if !path.exists() {
            let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file (has the daemon ever run?)");
            return Err(Error::File { path: path.to_owned(), source });
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
            _lock: None,
        };
        ledger.check_version().await?;
        Ok(ledger)
    }

    async fn check_version(&self) -> Result<(), Error> {
        let found: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations")
            .fetch_one(&self.reader)
            .await
            .map_err(|e| self.database(e))?;
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

    fn database(&self, source: sqlx::Error) -> Error {
        Error::Database { path: self.path.as_ref().clone(), source }
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        // IMMEDIATE: a transaction that reads first and writes later must not fail half-way on the lock
        let transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|e| self.database(e))?;
        crash::begun();
        Ok(transaction)
    }

    async fn commit(&self, transaction: Transaction<'static, Sqlite>) -> Result<(), Error> {
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
fn after(delay: Duration) -> UnixMillis {
    now() + in_millis(delay)
}
