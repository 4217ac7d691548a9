//! What the ledger says of files, to compare with disk and Rucio; and rows that are restored from those two.

use sqlx::FromRow;

use crate::clock::now;
use crate::custody::{Contents, FileIdentity, State, UnixMillis, sites_on_record};
use crate::names::{Did, Lfn};

use super::error::Error;
use super::statements::{all, first_value, run, value};
use super::store::Ledger;

/// What the ledger says of one file, as far as disk and Rucio can agree or disagree with it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct OnRecord {
    /// Logical file name.
    pub lfn: String,
    /// State.
    pub state: State,
    /// Since when.
    pub state_since: UnixMillis,
    /// Counts the deliveries of this LFN.
    pub delivery: i64,
    /// Size in bytes.
    #[sqlx(try_from = "i64")]
    pub bytes: u64,
    /// Last modification, nanoseconds since 1970 UTC.
    pub mtime_ns: i64,
    /// Inode (bits of an unsigned number).
    pub inode: i64,
    /// Adler-32, 8 hex digits.
    pub adler32: Option<String>,
    /// BLAKE3, 64 hex digits.
    pub blake3: Option<String>,
    /// The rule that protects the on-site replica.
    pub on_site_rule: Option<String>,
    /// When that rule was ended.
    pub release_ordered_at: Option<UnixMillis>,
    /// Where a rejected file lies or is to lie, relative to the data root.
    pub invalid_path: Option<String>,
    /// At how many sites the evidence on record proves a copy; `None`: there is no evidence on record.
    #[sqlx(rename = "last_evidence", try_from = "Option<String>")]
    pub proven: Proven,
    /// A second delivery waits to be compared.
    pub redelivered: bool,
}

/// What is kept of evidence: at how many sites it proves a copy, if there is any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proven(pub Option<u32>);

impl From<Option<String>> for Proven {
    fn from(written: Option<String>) -> Self {
        Self(written.as_deref().map(sites_on_record))
    }
}

impl OnRecord {
    /// Identity on disk as verified.
    pub fn identity(&self) -> FileIdentity {
        FileIdentity { bytes: self.bytes, mtime_ns: self.mtime_ns, inode: self.inode.cast_unsigned() }
    }
}

/// A file whose custody is restored from Rucio and the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Its name.
    pub lfn: Lfn,
    /// Registered, Replicated, Verified, Rejected or Held.
    pub state: State,
    /// As found on disk.
    pub identity: FileIdentity,
    /// What was read; `None` when it could not be.
    pub contents: Option<Contents>,
    /// Product metadata as a JSON object.
    pub metadata: Option<String>,
    /// `None` when the file carries no checksum at all.
    pub valid_fits_checksum: Option<bool>,
    /// Its trigger is on disk.
    pub trigger: bool,
    /// The rule that protects the on-site replica.
    pub on_site_rule: Option<String>,
    /// The rule for the copies after the first, and where the first one is.
    pub further_copies_rule: Option<(String, String)>,
    /// A rule for further copies that was found, and that the file has not come to yet.
    pub earlier_further_copies_rule: Option<String>,
    /// Where a rejected file lies, relative to the data root.
    pub invalid_path: Option<String>,
    /// Code and words for why it is held or rejected.
    pub reason: Option<(String, String)>,
}

impl Ledger {
    /// All datasets with files on record.
    pub async fn datasets(&self) -> Result<Vec<Did>, Error> {
        let found: Vec<(String, String)> =
            all!(self, &self.reader; "SELECT DISTINCT scope, dataset FROM files ORDER BY scope, dataset").await?;
        Ok(found.into_iter().map(|(scope, name)| Did::new(scope, name)).collect())
    }

    /// The files of one dataset, by name.
    pub async fn on_record(&self, dataset: &Did) -> Result<Vec<OnRecord>, Error> {
        all!(self, &self.reader;
            "SELECT lfn, state, state_since, delivery, bytes, mtime_ns, inode, adler32, blake3, on_site_rule,
                release_ordered_at, invalid_path, last_evidence,
                EXISTS (SELECT 1 FROM redeliveries WHERE file_id = files.id) AS redelivered
            FROM files WHERE scope = $1 AND dataset = $2 ORDER BY lfn"; &dataset.scope, &dataset.name)
        .await
    }

    /// Whether nothing has happened to any file but that it was restored.
    pub async fn holds_only_restored(&self) -> Result<bool, Error> {
        value!(self, &self.reader; "SELECT NOT EXISTS (SELECT 1 FROM events WHERE kind <> 'rebuilt')").await
    }

    /// Writes rows for files in custody that the ledger does not know, all in one transaction. One that it knows is left
    /// as it is. Returns how many are new.
    pub async fn restore(&self, files: &[Restored]) -> Result<u64, Error> {
        let mut tx = self.begin().await?;
        let mut new = 0;
        for file in files {
            let at = now();
            let contents = file.contents.as_ref();
            let (code, reason) = file.reason.clone().unzip();
            let (further_copies_rule, first_rse) = file.further_copies_rule.clone().unzip();
            let id: Option<i64> = first_value!(self, &mut *tx;
                "INSERT INTO files (lfn, scope, dataset, state, state_since, discovered_at, next_attempt, bytes, mtime_ns,
                    inode, trigger_pending, adler32, crc32c, blake3, md5, metadata, valid_fits_checksum, further_copies_rule,
                    on_site_rule, first_rse, invalid_path, reason_code, reason, held_from,
                    earlier_further_copies_rule)
                VALUES ($1, $2, $3, $4, $5, $5, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
                    $20, $21, $22, $23)
                ON CONFLICT (lfn) DO NOTHING RETURNING id";
                file.lfn.as_str(), file.lfn.scope(), file.lfn.dataset().name, file.state.as_str(), at,
                file.identity.bytes.cast_signed(), file.identity.mtime_ns, file.identity.inode.cast_signed(),
                i64::from(file.trigger), contents.map(|contents| &contents.adler32),
                contents.map(|contents| &contents.crc32c), contents.map(|contents| &contents.blake3),
                contents.and_then(|contents| contents.md5.as_ref()), &file.metadata, file.valid_fits_checksum,
                further_copies_rule, &file.on_site_rule, first_rse, &file.invalid_path, code, &reason,
                (file.state == State::Held).then_some(State::Registered.as_str()), &file.earlier_further_copies_rule)
            .await?;
            let Some(id) = id else { continue };
            new += 1;
            run!(self, &mut *tx;
                "INSERT INTO events (file_id, at, kind, to_state, detail) VALUES ($1, $2, 'rebuilt', $3, $4)";
                id, at, file.state.as_str(), reason.as_deref().unwrap_or("restored from Rucio and the disk"))
            .await?;
        }
        self.commit(tx).await?;
        Ok(new)
    }
}
