//! Rows as the rest of the program sees them.

use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::FromRow;

use crate::custody::invariants::DecisionOnRecord;
use crate::custody::{Contents, FileIdentity, FirstLook, HoldCode, State, UnixMillis};
use crate::names::{Did, Lfn};

use super::columns::EndOfRule;
use super::error::Error;

/// One file in custody.
#[derive(Clone, Debug, FromRow, Serialize)]
#[serde(into = "Value")]
pub struct FileRow {
    /// Key of the row.
    pub id: i64,
    /// Logical file name.
    pub lfn: String,
    /// Rucio scope.
    pub scope: String,
    /// Dataset, without its scope.
    pub dataset: String,
    /// State.
    pub state: State,
    /// Since when.
    pub state_since: UnixMillis,
    /// Counts the deliveries of this LFN.
    pub delivery: i64,
    /// When its trigger was first seen.
    pub discovered_at: UnixMillis,
    /// The trigger is still there, as far as we know.
    pub trigger_pending: bool,
    /// Size in bytes.
    #[sqlx(try_from = "i64")]
    pub bytes: u64,
    /// Last modification as delivered, nanoseconds since 1970 UTC.
    pub mtime_ns: i64,
    /// Inode as delivered (bits of an unsigned number).
    pub inode: i64,
    /// When the kernel says that it was last changed in any way (ctime), nanoseconds since 1970 UTC, before it was read.
    pub changed_ns: Option<i64>,
    /// Adler-32, 8 hex digits.
    pub adler32: Option<String>,
    /// CRC-32C, 8 hex digits.
    pub crc32c: Option<String>,
    /// BLAKE3, 64 hex digits.
    pub blake3: Option<String>,
    /// MD5, 32 hex digits; absent unless it was asked for.
    pub md5: Option<String>,
    /// Product metadata, flat keys, as JSON.
    pub metadata: Option<String>,
    /// Whether every FITS checksum present was right; absent when the file has none.
    pub valid_fits_checksum: Option<bool>,
    /// The rule for the copies after the first.
    pub further_copies_rule: Option<String>,
    /// A rule for the copies after the first that the settling of its dataset is ending.
    pub further_copies_rule_ending: Option<String>,
    /// The rule for the copies after the first that an earlier delivery had.
    pub earlier_further_copies_rule: Option<String>,
    /// The rule that protects the on-site replica.
    pub on_site_rule: Option<String>,
    /// Where the first off-site copy is.
    pub first_rse: Option<String>,
    /// The first look, as JSON.
    pub first_look: Option<String>,
    /// The last complete evidence, as JSON.
    pub last_evidence: Option<String>,
    /// When the end of the on-site rule was announced in the audit record.
    pub release_announced_at: Option<UnixMillis>,
    /// When the on-site rule was ended.
    pub release_ordered_at: Option<UnixMillis>,
    /// How it is known that the on-site rule has ended, once that is so.
    pub on_site_rule_end: Option<EndOfRule>,
    /// When Rucio had no on-site replica any more.
    pub replica_gone_at: Option<UnixMillis>,
    /// Why it was rejected or is held.
    pub reason_code: Option<String>,
    /// The same in words.
    pub reason: Option<String>,
    /// Where a rejected file lies, relative to the data root.
    pub invalid_path: Option<String>,
    /// State before it was held.
    pub held_from: Option<String>,
    /// When it is due.
    pub next_attempt: UnixMillis,
    /// Attempts that failed in this state for a reason of the file's own.
    pub attempts: i64,
    /// What it waits for, in words.
    pub waits_for: Option<String>,
    /// It waits because copies of its own could not be read back.
    pub copies_unreadable: bool,
}

impl FileRow {
    /// The name, checked once when the file was delivered.
    pub fn name(&self) -> Result<Lfn, Error> {
        Lfn::try_from(self.lfn.as_str()).map_err(|e| self.odd(e.to_string()))
    }

    /// The file's DID.
    pub fn did(&self) -> Did {
        Did::new(self.scope.clone(), self.lfn.clone())
    }

    /// The dataset's DID.
    pub fn dataset_did(&self) -> Did {
        Did::new(self.scope.clone(), self.dataset.clone())
    }

    /// Identity on disk as delivered (and later verified).
    pub fn identity(&self) -> FileIdentity {
        FileIdentity { bytes: self.bytes, mtime_ns: self.mtime_ns, inode: self.inode.cast_unsigned() }
    }

    /// The verified content.
    pub fn contents(&self) -> Result<Contents, Error> {
        match (&self.adler32, &self.crc32c, &self.blake3) {
            (Some(adler32), Some(crc32c), Some(blake3)) => Ok(Contents {
                bytes: self.bytes,
                adler32: adler32.clone(),
                crc32c: crc32c.clone(),
                blake3: blake3.clone(),
                md5: self.md5.clone(),
            }),
            _ => Err(self.odd(format!("no checksums on record in state {}", self.state))),
        }
    }

    /// The decisions on record that cannot be taken back.
    pub fn decision(&self) -> DecisionOnRecord<'_> {
        DecisionOnRecord {
            state: self.state,
            evidence: self.last_evidence.as_deref(),
            invalid_path: self.invalid_path.as_deref(),
        }
    }

    /// Why it is held; `None` for a code of an older version, and for files that are not held.
    pub fn hold_code(&self) -> Option<HoldCode> {
        self.reason_code.as_deref().filter(|_| self.state == State::Held).and_then(HoldCode::parse)
    }

    /// The product metadata.
    pub fn metadata(&self) -> Result<Map<String, Value>, Error> {
        self.metadata.as_deref().map_or(Ok(Map::new()), |text| self.json(text))
    }

    /// The first look, if one was complete.
    pub fn first_look(&self) -> Result<Option<FirstLook>, Error> {
        self.first_look.as_deref().map(|text| self.json(text)).transpose()
    }

    fn json<T: serde::de::DeserializeOwned>(&self, text: &str) -> Result<T, Error> {
        serde_json::from_str(text).map_err(|e| self.odd(e.to_string()))
    }

    fn odd(&self, what: String) -> Error {
        Error::Row { lfn: self.lfn.clone(), what }
    }
}

impl From<FileRow> for Value {
    /// The stable keys of `--json`.
    fn from(row: FileRow) -> Self {
        let parsed = |text: &Option<String>| {
            text.as_deref().and_then(|t| serde_json::from_str::<Value>(t).ok()).unwrap_or(Value::Null)
        };
        serde_json::json!({
            "lfn": row.lfn,
            "scope": row.scope,
            "dataset": row.dataset,
            "state": row.state.as_str(),
            "state_since": iso(row.state_since),
            "discovered_at": iso(row.discovered_at),
            "bytes": row.bytes,
            "adler32": row.adler32,
            "crc32c": row.crc32c,
            "blake3": row.blake3,
            "md5": row.md5,
            "valid_fits_checksum": row.valid_fits_checksum,
            "trigger_pending": row.trigger_pending,
            "first_rse": row.first_rse,
            "rule_b": row.further_copies_rule,
            "rule_c": row.on_site_rule,
            "first_look": parsed(&row.first_look),
            "evidence": parsed(&row.last_evidence),
            "release_ordered_at": row.release_ordered_at.map(iso),
            "reason_code": row.reason_code,
            "reason": row.reason,
            "invalid_path": row.invalid_path,
            "held_from": row.held_from,
            "next_attempt": iso(row.next_attempt),
            "attempts": row.attempts,
            "waits_for": row.waits_for,
            "metadata": parsed(&row.metadata),
        })
    }
}

/// One thing that happened to a file.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct EventRow {
    /// When.
    #[serde(serialize_with = "as_iso")]
    pub at: UnixMillis,
    /// What, kebab-case.
    pub kind: String,
    /// State before, if it changed.
    pub from_state: Option<String>,
    /// State after, if it changed.
    pub to_state: Option<String>,
    /// More, in words or JSON.
    pub detail: Option<String>,
}

/// RFC 3339 in UTC with milliseconds.
pub fn iso(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |t| format!("{t:.3}"))
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature is serde's
fn as_iso<S: serde::Serializer>(at: &UnixMillis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&iso(*at))
}
