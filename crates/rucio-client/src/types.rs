//! What is sent to Rucio and what comes back, in our words.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::adler32::{Adler32, if_it_is_one};
use crate::did::Did;

/// Most DIDs in one list; Rucio's schema refuses more.
pub const LIST_MAX: usize = 1000;

/// A field that Rucio always writes, `null` where there is nothing: without it the answer cannot be understood, and does not
/// say that there is nothing.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(field)
}

/// JSON that Rucio takes as text, and keeps as the JSON of that text. Without the field the answer cannot be understood.
pub(crate) fn meta<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Value>, D::Error> {
    let unpacked = |value: Value| match value {
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        other => other,
    };
    Ok(present(field)?.map(unpacked).map(unpacked))
}

/// One attribute of an account.
#[derive(Deserialize)]
pub(crate) struct AccountAttribute {
    pub(crate) key: String,
    pub(crate) value: Value,
}

/// What an RSE may be used for, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RseSettings {
    /// Whether Rucio reads from it: else nothing is copied from there.
    pub availability_read: bool,
    /// Whether Rucio writes to it: else nothing is copied to it, and what is to go there waits.
    pub availability_write: bool,
    /// Whether Rucio deletes at it.
    pub availability_delete: bool,
    /// Each way to reach it.
    pub protocols: Vec<RseProtocol>,
}

/// One way to reach an RSE.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RseProtocol {
    /// As in the URLs of its files: `davs`, `root`, …
    pub scheme: String,
    /// The door.
    pub hostname: String,
    /// Its port.
    pub port: u16,
    /// Where its files begin.
    pub prefix: String,
}

/// The id of a replication rule: 32 hexadecimal digits.
pub type RuleId = String;

/// What a new collection is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CollectionKind {
    /// Holds files.
    Dataset,
    /// Holds datasets and containers.
    Container,
}

/// A dataset or container to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewCollection {
    /// Its name.
    #[serde(flatten)]
    pub did: Did,
    /// What it is to be.
    #[serde(rename = "type")]
    pub kind: CollectionKind,
}

/// Children to attach to one parent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attachment {
    /// The dataset or container that receives them.
    #[serde(flatten)]
    pub parent: Did,
    /// For files that may be new: the RSE on which Rucio registers their replica in the same transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rse: Option<String>,
    /// What is attached; at most 1000.
    #[serde(rename = "dids")]
    pub children: Vec<Child>,
}

/// One child of an [`Attachment`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Child {
    /// The file, dataset or container.
    #[serde(flatten)]
    pub did: Did,
    /// Size of a file in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Adler-32 of a file. Of one that Rucio knows, as it is written there: Rucio compares the letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adler32: Option<Adler32>,
    /// Metadata of a file, stored only if the file is new to Rucio.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub meta: Map<String, Value>,
}

/// What a DID is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DidKind {
    /// A file.
    File,
    /// Holds files.
    Dataset,
    /// Holds datasets and containers.
    Container,
    /// A kind this client does not know.
    #[serde(other)]
    Other,
}

/// What Rucio knows of a DID.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DidInfo {
    /// Its name.
    #[serde(flatten)]
    pub did: Did,
    /// File, dataset or container.
    #[serde(rename = "type")]
    pub kind: DidKind,
    /// The account that owns it.
    pub account: String,
    /// Size in bytes; of a collection possibly unknown.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Adler-32 of a file, as registered.
    #[serde(default, deserialize_with = "if_it_is_one")]
    pub adler32: Option<Adler32>,
    /// Whether a collection still takes children; absent for a file.
    #[serde(default)]
    pub open: Option<bool>,
}

/// What a DID is, as the columns of Rucio's table have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct DidStatus {
    /// File, dataset or container.
    #[serde(rename = "did_type")]
    pub kind: DidKind,
    /// Whether a collection still takes children; none for a file.
    #[serde(rename = "is_open", deserialize_with = "present")]
    pub open: Option<bool>,
}

/// When a DID goes, as Rucio writes it (`Sun, 22 Nov 2026 12:00:13 UTC`); none: never.
pub type DidEnd = Option<String>;

/// Which replicas to list.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaQuery<'a> {
    /// The files (or collections, whose files are meant), any number.
    pub dids: &'a [Did],
    /// Only replicas on the RSEs of this expression.
    pub rse_expression: Option<&'a str>,
    /// Also replicas that are not AVAILABLE.
    pub all_states: bool,
    /// Protocols wanted for the physical names (`davs`, `https`, …); empty: each RSE's preferred one.
    pub schemes: &'a [&'a str],
}

/// State of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReplicaState {
    /// The file is there, says Rucio.
    Available,
    /// A transfer failed for good, or the replica was declared lost.
    Unavailable,
    /// On its way.
    Copying,
    /// The reaper has it.
    BeingDeleted,
    /// Declared bad.
    Bad,
    /// Temporarily out of reach.
    TemporaryUnavailable,
    /// A state this client does not know.
    #[serde(other)]
    Unknown,
}

/// What became of a replica that was declared bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Declared {
    /// Nothing yet.
    Bad,
    /// There was no other copy: Rucio has given the file up, and its reaper deletes what lies there.
    Lost,
    /// It was copied again, or the declaration was taken back.
    Recovered,
    /// It was deleted.
    Deleted,
    /// A state that is of no concern here (`SUSPICIOUS`, …), or that this client does not know.
    #[serde(other)]
    Other,
}

/// A replica that was declared bad.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BadReplica {
    /// The file.
    #[serde(flatten)]
    pub did: Did,
    /// What became of it.
    #[serde(rename = "state")]
    pub declared: Declared,
}

/// The replicas of one file. A file that Rucio does not know has no listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaListing {
    /// The file.
    pub did: Did,
    /// Size in bytes, as registered.
    pub bytes: u64,
    /// Adler-32 as registered: what the copies should have, not what they have.
    pub adler32: Option<Adler32>,
    /// State by RSE.
    pub states: BTreeMap<String, ReplicaState>,
    /// Physical names by RSE, best first.
    pub pfns: BTreeMap<String, Vec<String>>,
}

/// How the files of a collection are spread over the RSEs of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Grouping {
    /// All files of a container together.
    All,
    /// All files of a dataset together.
    Dataset,
    /// Each file by itself.
    None,
}

/// A rule to place on each of some DIDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRule {
    /// The DIDs, at most 1000; each gets a rule of its own.
    pub dids: Vec<Did>,
    /// Number of copies.
    pub copies: u32,
    /// Where they may lie.
    pub rse_expression: String,
    /// Where they may be read from.
    pub source_replica_expression: Option<String>,
    /// How the files are spread.
    pub grouping: Grouping,
    /// Seconds after which the rule ends; none: never.
    pub lifetime: Option<u64>,
    /// FTS share the transfers belong to.
    pub activity: Option<String>,
    /// A word to whoever looks at the rule, at most 250 characters.
    pub comment: Option<String>,
    /// Whatever the application wants to find with the rule, at most 4000 characters as JSON.
    pub meta: Option<Value>,
}

/// State of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RuleState {
    /// All locks known so far are OK. Right after an attach this says nothing about the new files.
    Ok,
    /// Transfers are under way.
    Replicating,
    /// At least one transfer failed for good.
    Stuck,
    /// Rucio has given up.
    Suspended,
    /// Waits for a person.
    WaitingApproval,
    /// Being set up.
    Inject,
    /// A state this client does not know.
    #[serde(other)]
    Unknown,
}

/// A rule as Rucio tells it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Rule {
    /// Its id.
    pub id: RuleId,
    /// What it is on.
    #[serde(flatten)]
    pub did: Did,
    /// Whose it is.
    pub account: String,
    /// Where the copies may lie.
    pub rse_expression: String,
    /// Number of copies.
    pub copies: u32,
    /// State; believe the locks rather.
    pub state: RuleState,
    /// When it ends, as Rucio writes it (`Sun, 22 Nov 2026 12:00:13 UTC`); none: never.
    #[serde(deserialize_with = "present")]
    pub expires_at: Option<String>,
    /// Locks in state OK.
    #[serde(rename = "locks_ok_cnt")]
    pub locks_ok: u64,
    /// Locks whose transfer is under way.
    #[serde(rename = "locks_replicating_cnt")]
    pub locks_replicating: u64,
    /// Locks whose transfer failed.
    #[serde(rename = "locks_stuck_cnt")]
    pub locks_stuck: u64,
    /// Why it is stuck.
    #[serde(default)]
    pub error: Option<String>,
    /// Since when it is stuck, as Rucio writes it.
    #[serde(default)]
    pub stuck_at: Option<String>,
    /// Where the copies may be read from; none: anywhere.
    #[serde(deserialize_with = "present")]
    pub source_replica_expression: Option<String>,
    /// Whether ending the rule deletes the replicas at once.
    pub purge_replicas: bool,
    /// What was placed with it; text that is no JSON as it is. None: nothing.
    #[serde(deserialize_with = "meta")]
    pub meta: Option<Value>,
}

/// Clocks of this machine and of Rucio differ by less.
const CLOCKS: Duration = Duration::from_mins(5);

impl Rule {
    /// Whether it has an end, and that lies clearly ahead: [`end_rule`](crate::Client::end_rule) ends a rule at once, others
    /// give it time (`DELETE /rules/{id}` an hour). An end that cannot be read is not known to have come.
    pub fn ends_later(&self) -> bool {
        let Some(text) = &self.expires_at else { return false };
        // Rucio writes "UTC" where HTTP dates have "GMT"
        let end = httpdate::parse_http_date(&text.replace("UTC", "GMT"));
        end.map_or(true, |end| end > SystemTime::now() + CLOCKS)
    }
}

/// What Rucio knows of the transfers of a stuck rule. Of a rule that is not stuck it knows none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Analysis {
    /// One for each stuck lock.
    pub transfers: Vec<StuckTransfer>,
}

/// The transfer that a stuck lock waits for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct StuckTransfer {
    /// The file.
    #[serde(flatten)]
    pub did: Did,
    /// Where it should go.
    pub rse: String,
    /// How often it was tried.
    pub attempts: u64,
    /// Where the last attempt read from.
    #[serde(default)]
    pub last_source: Option<String>,
}

/// State of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LockState {
    /// The replica is there.
    Ok,
    /// The transfer is under way.
    Replicating,
    /// The transfer failed.
    Stuck,
    /// A state this client does not know.
    #[serde(other)]
    Unknown,
}

/// A rule's hold on one replica.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Lock {
    /// The file.
    #[serde(flatten)]
    pub did: Did,
    /// Where.
    pub rse: String,
    /// State.
    pub state: LockState,
}
