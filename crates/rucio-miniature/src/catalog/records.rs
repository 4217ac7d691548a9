//! The rows of the miniature Rucio: plain data.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::SystemTime;

use serde_json::{Map, Value};

use rucio_client::Did;

/// The account that may everything.
pub(crate) const ROOT: &str = "root";

/// Tombstone of a replica that may be deleted at once, whether its RSE needs space or not (Rucio's `OBSOLETE`).
pub(crate) const OBSOLETE: SystemTime = SystemTime::UNIX_EPOCH;

/// Kind of a DID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Kind {
    File,
    Dataset,
    Container,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        self.into()
    }
}

/// State of a replica as `/replicas/list` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum ReplicaState {
    /// The file is there.
    Available,
    /// A transfer is queued or under way.
    Copying,
    /// A transfer failed for good, or was given up.
    Unavailable,
    /// The reaper has taken it.
    BeingDeleted,
    /// Declared bad.
    Bad,
}

impl ReplicaState {
    pub(crate) fn name(self) -> &'static str {
        self.into()
    }
}

/// State of a lock, and of a rule that is neither suspended nor waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Progress {
    Ok,
    Replicating,
    Stuck,
}

impl Progress {
    pub(crate) fn name(self) -> &'static str {
        self.into()
    }

    /// The letter by which `GET /rules/?state=` selects.
    pub(crate) fn letter(self) -> &'static str {
        match self {
            Self::Ok => "O",
            Self::Replicating => "R",
            Self::Stuck => "S",
        }
    }
}

/// How a rule spreads the files of what it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Grouping {
    All,
    Dataset,
    None,
}

impl Grouping {
    pub(crate) fn name(self) -> &'static str {
        self.into()
    }
}

/// A storage element.
#[derive(Clone, Debug)]
pub(crate) struct Rse {
    pub(crate) id: String,
    pub(crate) directory: PathBuf,
    /// What PFNs begin with: `dav://127.0.0.1:<port>`.
    pub(crate) prefix: String,
}

/// An account and its rights.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) admin: bool,
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) created: SystemTime,
}

/// A DID with its metadata and its place in the tree.
#[derive(Clone, Debug)]
pub(crate) struct DidRecord {
    pub(crate) kind: Kind,
    pub(crate) account: String,
    pub(crate) bytes: Option<u64>,
    pub(crate) adler32: Option<String>,
    pub(crate) md5: Option<String>,
    pub(crate) open: bool,
    /// Its last copy was declared bad.
    pub(crate) lost: bool,
    pub(crate) created: SystemTime,
    pub(crate) expires: Option<SystemTime>,
    /// Keys that went to the JSON store.
    pub(crate) json: Map<String, Value>,
    /// Keys that are columns of the DID table and never reach the JSON store.
    pub(crate) columns: Map<String, Value>,
    pub(crate) children: BTreeSet<Did>,
    pub(crate) parents: BTreeSet<Did>,
}

impl DidRecord {
    pub(crate) fn new(kind: Kind, account: &str, created: SystemTime) -> Self {
        Self {
            kind,
            account: account.to_owned(),
            bytes: None,
            adler32: None,
            md5: None,
            open: true,
            lost: false,
            created,
            expires: None,
            json: Map::new(),
            columns: Map::new(),
            children: BTreeSet::new(),
            parents: BTreeSet::new(),
        }
    }
}

/// A replica of a file at one RSE.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) state: ReplicaState,
    /// How many rules hold it.
    pub(crate) locks: u32,
    pub(crate) tombstone: Option<SystemTime>,
    pub(crate) created: SystemTime,
}

/// A replication rule. Its state and counters are what Rucio last wrote into the row, which may be older than the truth.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) did: Did,
    pub(crate) kind: Kind,
    pub(crate) account: String,
    pub(crate) copies: u32,
    pub(crate) rse_expression: String,
    pub(crate) source_replica_expression: Option<String>,
    pub(crate) grouping: Grouping,
    pub(crate) activity: String,
    pub(crate) comment: Option<String>,
    /// JSON as text.
    pub(crate) meta: Option<String>,
    pub(crate) priority: u64,
    pub(crate) locked: bool,
    pub(crate) purge_replicas: bool,
    pub(crate) state: Progress,
    /// An operator has stopped it: nothing is done for it any more, whatever its locks say.
    pub(crate) suspended: bool,
    pub(crate) error: Option<String>,
    pub(crate) stuck_at: Option<SystemTime>,
    pub(crate) created: SystemTime,
    pub(crate) updated: SystemTime,
    pub(crate) expires: Option<SystemTime>,
    pub(crate) locks_ok: u64,
    pub(crate) locks_replicating: u64,
    pub(crate) locks_stuck: u64,
}

impl Rule {
    /// The state and the letter by which `GET /rules/?state=` selects it.
    pub(crate) fn shown_state(&self) -> (&'static str, &'static str) {
        if self.suspended { ("SUSPENDED", "U") } else { (self.state.name(), self.state.letter()) }
    }
}

/// A transfer that is wanted: the file, where to, on behalf of which rule, and how often it failed already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) did: Did,
    pub(crate) rse: String,
    pub(crate) rule: String,
    pub(crate) attempts: u32,
}

/// What became of a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Outcome {
    Bad,
    Lost,
    Recovered,
}

/// Somebody said that a replica is bad.
#[derive(Clone, Debug)]
pub(crate) struct Declaration {
    pub(crate) did: Did,
    pub(crate) rse: String,
    pub(crate) outcome: Outcome,
    pub(crate) at: SystemTime,
}
