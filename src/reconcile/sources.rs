//! What is compared, how it is looked at, and why that cannot be done.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::custody::{FileIdentity, in_millis};
use crate::datadir::{self, DataDir};
use crate::engine::blocking;
use crate::ledger::{self, Ledger, now};
use crate::names::Lfn;
use crate::reading::{Reading, as_configured, read_once};

use super::judge::Yardstick;

/// Why disk, ledger and Rucio cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Rucio does not answer as it should.
    #[error(transparent)]
    Rucio(#[from] rucio_client::Error),
    /// The ledger cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// The data directory cannot be read.
    #[error("data directory: {0}")]
    Data(#[from] datadir::Error),
    /// The ledger holds more than a rebuild has written.
    #[error(
        "the ledger {path} holds files already; a rebuild is for a ledger that is lost. If it is damaged, move it and the \
         files beside it that begin with its name to another directory first; if it is sound, use 'dl0-ingest audit'"
    )]
    NotEmpty {
        /// The ledger.
        path: PathBuf,
    },
    /// Copies off the mountain cannot be told from others.
    #[error("{0}")]
    OnSiteUnknown(String),
}

/// What is compared.
#[derive(Clone)]
pub struct Sources {
    /// The operator's settings.
    pub config: Arc<Config>,
    /// The ledger; `None` when it is lost.
    pub ledger: Option<Ledger>,
    /// The interface directory.
    pub data: DataDir,
    /// Rucio.
    pub rucio: rucio_client::Client,
}

/// How to look.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Files and triggers that changed less long ago are left alone.
    pub min_age: Duration,
    /// Between the two looks at what is suspicious.
    pub settle: Duration,
    /// Read every file that is on site and compare its content.
    pub read: bool,
    /// Ask Rucio how many sites hold a copy of what is gone on site.
    pub copies: bool,
}

impl Options {
    pub(super) fn yardstick(self) -> Yardstick {
        Yardstick { now: now(), min_age: in_millis(self.min_age) }
    }
}

/// Reads a file once, as the daemon would.
pub(super) async fn examine(sources: &Sources, name: Lfn, expected: FileIdentity) -> Reading {
    let (data, options) = (sources.data.clone(), as_configured(&sources.config));
    blocking(move || read_once(&data, &name, expected, &options)).await
}
