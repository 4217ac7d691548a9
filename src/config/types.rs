//! What the operator can set, with the defaults. The names of the fields are the keys of the file.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::decode::Keyword;
use crate::custody::Copies;
use crate::fixity::Depth;
use crate::telemetry::logs;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Interface directory; the same directory is the storage root of the on-site RSE.
    pub data_path: PathBuf,
    /// First component of every LFN.
    pub vo: String,
    /// Where the daemon keeps its own state, on a local disk.
    pub state_dir: PathBuf,
    /// Rucio's name of the storage at `data_path`.
    pub onsite_rse: String,
    /// Where copies must exist before the on-site one may go.
    pub offsite: Offsite,
    /// How to reach Rucio.
    pub rucio: Rucio,
    /// How triggers are noticed.
    pub intake: Intake,
    /// How files are read and judged.
    pub verify: Verify,
    /// How files are registered.
    pub register: Register,
    /// How copies are asked for.
    pub replicate: Replicate,
    /// How copies are proven.
    pub confirm: Confirm,
    /// How the on-site copy is given up.
    pub release: Release,
    /// How quiet datasets are settled.
    pub settle: Settle,
    /// The daemon's own HTTP endpoint.
    pub http: Http,
    /// What is logged, and how.
    pub log: logs::Settings,
    /// Waiting between attempts of a stage.
    pub retry: Backoff,
    /// Longest time between a request to stop and the end of the process.
    pub shutdown_timeout: Duration,
}

/// Off-site copies.
#[derive(Clone, Debug, PartialEq)]
pub struct Offsite {
    /// RSE expression that selects the data centres.
    pub expression: String,
    /// Verified copies that a release needs.
    pub copies: Copies,
    /// RSE attribute whose values must differ between two copies.
    pub distinct_by: String,
    /// Whether the storage itself must vouch for a copy.
    pub storage_check: StorageCheck,
    /// The same for single RSEs.
    pub storage_check_by_rse: BTreeMap<String, StorageCheck>,
    /// Certificate authorities of the storages (PEM); the system's when absent.
    pub ca_file: Option<PathBuf>,
}

impl Offsite {
    /// What is asked of the storage of one RSE.
    pub fn storage_check_of(&self, rse: &str) -> StorageCheck {
        self.storage_check_by_rse.get(rse).copied().unwrap_or(self.storage_check)
    }
}

/// Whether the storage's own answer about size and digest is part of the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageCheck {
    /// Without it there is no evidence.
    Required,
    /// A contradiction counts, silence does not.
    Preferred,
    /// Not asked.
    Off,
}

impl Keyword for StorageCheck {
    const WORDS: &'static [(&'static str, Self)] =
        &[("required", Self::Required), ("preferred", Self::Preferred), ("off", Self::Off)];
}

/// Access to Rucio.
#[derive(Clone, Debug, PartialEq)]
pub struct Rucio {
    /// Base URL of the server.
    pub url: Url,
    /// Rucio account the daemon acts as.
    pub account: String,
    /// How it proves that.
    pub auth: Auth,
    /// Certificate authorities of the server (PEM); the system's when absent.
    pub ca_file: Option<PathBuf>,
    /// Longest time for one answer.
    pub timeout: Duration,
    /// Longest time for a connection to be made.
    pub connect_timeout: Duration,
    /// Most requests under way at once.
    pub max_in_flight: usize,
    /// Longest time spent on one request with all its repetitions.
    pub retry_budget: Duration,
    /// Time between two looks at Rucio's settings while the daemon runs.
    pub check_interval: Duration,
    /// Rucio's transfer activity of our rules; Rucio's default when absent.
    pub rule_activity: Option<String>,
}

impl Rucio {
    pub(super) const TIMEOUT: Duration = Duration::from_mins(1);
    pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    pub(super) const MAX_IN_FLIGHT: usize = 8;
    pub(super) const RETRY_BUDGET: Duration = Duration::from_secs(30);
    pub(super) const CHECK_INTERVAL: Duration = Duration::from_mins(5);
}

/// How to log in to Rucio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// User name and password.
    Userpass {
        /// User name; the account's name unless said otherwise.
        username: String,
        /// File with the password; the systemd credential `rucio-password` when absent.
        password_file: Option<PathBuf>,
        /// The file `rucio-password` beside the configuration, from which the shipped unit makes that credential: for
        /// commands from a shell.
        beside: Option<PathBuf>,
    },
}

/// The `intake` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intake {
    /// Time between two scans of the tree, which see what inotify missed.
    pub scan_interval: Duration,
    /// Whether to ask the kernel for hints between scans.
    pub inotify: bool,
    /// Age at which a trigger without its data is worth a log line.
    pub early_after: Duration,
}

impl Default for Intake {
    fn default() -> Self {
        Self { scan_interval: Duration::from_secs(5), inotify: true, early_after: Duration::from_mins(1) }
    }
}

/// The `verify` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verify {
    /// Files read at the same time.
    pub threads: usize,
    /// How closely compressed tables are looked at.
    pub depth: Depth,
    /// Whether MD5 is computed as well, for the storages' last word before a release.
    pub md5: bool,
    /// Whether a FITS file without any CHECKSUM is rejected.
    pub require_checksum: bool,
    /// Whether a file without valid product metadata is rejected.
    pub reject_missing_metadata: bool,
}

impl Verify {
    /// Above this, more readers on one buffer disk only disturb each other.
    const MOST_THREADS: usize = 4;
}

impl Default for Verify {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            threads: cores.min(Self::MOST_THREADS),
            depth: Depth::default(),
            md5: false,
            require_checksum: false,
            reject_missing_metadata: true,
        }
    }
}

impl Keyword for Depth {
    const WORDS: &'static [(&'static str, Self)] =
        &[("checksums", Self::Checksums), ("structure", Self::Structure), ("decode", Self::Decode)];
}

/// The `register` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Most files in one call.
    pub batch: usize,
    /// How long a batch that is not full waits for more files.
    pub gather: Duration,
    /// Batches under way at once.
    pub parallel: usize,
}

impl Default for Register {
    fn default() -> Self {
        Self { batch: 250, gather: Duration::from_millis(200), parallel: 2 }
    }
}

/// The `replicate` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicate {
    /// First interval between two looks at a file's copies.
    pub poll: Duration,
    /// Longest interval, reached when nothing changes.
    pub poll_max: Duration,
}

impl Default for Replicate {
    fn default() -> Self {
        Self { poll: Duration::from_secs(2), poll_max: Duration::from_secs(15) }
    }
}

/// The `confirm` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// Least time between the first and the last look at complete evidence.
    pub hold: Duration,
    /// First interval between two looks.
    pub poll: Duration,
    /// Longest interval.
    pub poll_max: Duration,
    /// Of so many files the copies of one are read back whole; of none when 0.
    pub read_back: u32,
}

impl Default for Confirm {
    fn default() -> Self {
        Self {
            hold: Duration::from_hours(1),
            poll: Duration::from_secs(5),
            poll_max: Duration::from_mins(1),
            read_back: 1000,
        }
    }
}

/// The `release` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Whether on-site copies are given up.
    pub deletion: Deletion,
    /// Most files released within any hour.
    pub max_files_per_hour: u32,
    /// Most bytes released within any hour.
    pub max_bytes_per_hour: u64,
    /// The file that stops all releases while it exists; `stop-releases` in the state directory when absent.
    pub kill_switch: Option<PathBuf>,
    /// What to do with a file that Rucio believes deleted and that is still there.
    pub leftover: Leftover,
    /// How long Rucio may take before such a file counts as left over.
    pub leftover_grace: Duration,
    /// First interval between two looks at a deletion under way.
    pub poll: Duration,
    /// Longest interval.
    pub poll_max: Duration,
}

impl Default for Release {
    fn default() -> Self {
        Self {
            deletion: Deletion::DryRun,
            max_files_per_hour: 20_000,
            max_bytes_per_hour: 4_000_000_000_000,
            kill_switch: None,
            leftover: Leftover::Report,
            leftover_grace: Duration::from_mins(10),
            poll: Duration::from_secs(2),
            poll_max: Duration::from_mins(1),
        }
    }
}

/// Whether on-site copies are given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Files stay Confirmed.
    Off,
    /// All checks run and the log says what would be deleted; nothing is.
    DryRun,
    /// Proven files are released.
    On,
}

impl Deletion {
    /// The word for it, in the file, in logs and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::DryRun => "dry-run",
            Self::On => "on",
        }
    }
}

impl Keyword for Deletion {
    const WORDS: &'static [(&'static str, Self)] = &[("off", Self::Off), ("dry-run", Self::DryRun), ("on", Self::On)];
}

/// What to do with a file that Rucio believes deleted and that is still on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// Say so and leave it.
    Report,
    /// Remove it, after the same checks as a release.
    Remove,
}

impl Keyword for Leftover {
    const WORDS: &'static [(&'static str, Self)] = &[("report", Self::Report), ("remove", Self::Remove)];
}

/// The `settle` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settle {
    /// How long nothing must have moved in a dataset before its rules become two; never when `None`.
    pub after: Option<Duration>,
}

impl Default for Settle {
    fn default() -> Self {
        Self { after: Some(Duration::from_hours(24)) }
    }
}

/// The `http` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http {
    /// Where metrics, health and the status page are served; nowhere when `None`.
    pub listen: Option<SocketAddr>,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9464))) }
    }
}

impl Keyword for logs::Format {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("json", Self::Json), ("journald", Self::Journald), ("text", Self::Text)];
}

/// The `retry` section: capped exponential backoff with jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// First wait.
    pub initial: Duration,
    /// Longest wait.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_secs(1), max: Duration::from_mins(5) }
    }
}
