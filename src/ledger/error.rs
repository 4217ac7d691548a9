//! What can go wrong with the ledger, in words that name the remedy.

use std::path::PathBuf;

use crate::custody::{IllegalMove, State};

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
