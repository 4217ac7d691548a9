//! Reading: what operators, metrics and the stages ask the ledger.

use sqlx::FromRow;

use crate::custody::{State, UnixMillis};

use super::deliveries::WrongTrigger;
use super::error::Error;
use super::rows::{EventRow, FileRow};
use super::statements::{all, first, value};
use super::store::Ledger;

/// How much stands in one state.
#[derive(Clone, Debug, FromRow, serde::Serialize)]
pub struct StateSummary {
    /// The state.
    #[serde(serialize_with = "as_name")]
    pub state: State,
    /// Files in it.
    pub files: i64,
    /// Their bytes.
    pub bytes: i64,
    /// Since when the oldest of them is in it.
    pub oldest: UnixMillis,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature is serde's
fn as_name<S: serde::Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.as_str())
}

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this state.
    pub state: Option<State>,
    /// Only files on site that an operator's hold keeps there.
    pub held_by_operator: bool,
    /// Only files of this dataset, with its scope or without.
    pub dataset: Option<String>,
    /// Only files that are rejected or held for this reason.
    pub reason: Option<String>,
    /// Only files that have been in their state since then or before.
    pub since: Option<UnixMillis>,
}

/// Files whose on-site rule must stand: it has not been ended by us.
macro_rules! protected {
    () => {
        "on_site_rule IS NOT NULL AND (state IN ('registered', 'replicated', 'confirmed')
             OR (state IN ('releasing', 'held') AND release_ordered_at IS NULL))"
    };
}

impl Ledger {
    /// Files, bytes and age per state; states without files are absent.
    pub async fn summary(&self) -> Result<Vec<StateSummary>, Error> {
        all!(self, &self.reader;
            "SELECT state, COUNT(*) AS files, CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes,
            MIN(state_since) AS oldest FROM files GROUP BY state")
        .await
    }

    /// Files in the order of their delivery: at most `most` of them, after the row with the key `after`.
    pub async fn list(&self, filter: &Filter, after: i64, most: i64) -> Result<Vec<FileRow>, Error> {
        all!(self, &self.reader;
            "SELECT * FROM files WHERE id > $1 AND ($2 IS NULL OR state = $2)
                AND ($3 = 0 OR (state NOT IN ('released', 'rejected') AND EXISTS (
                    SELECT 1 FROM holds WHERE kind = 'all' OR (kind = 'file' AND name = files.lfn)
                        OR (kind = 'dataset' AND name = files.scope || ':' || files.dataset))))
                AND ($4 IS NULL OR dataset = $4 OR scope || ':' || dataset = $4)
                AND ($5 IS NULL OR (reason_code = $5 AND state IN ('rejected', 'held')))
                AND ($6 IS NULL OR state_since <= $6)
            ORDER BY id LIMIT $7";
            after, filter.state.map(State::as_str), i64::from(filter.held_by_operator), &filter.dataset, &filter.reason,
            filter.since, most)
        .await
    }

    /// The file of that LFN.
    pub async fn by_lfn(&self, lfn: &str) -> Result<Option<FileRow>, Error> {
        first!(self, &self.reader; "SELECT * FROM files WHERE lfn = $1"; lfn).await
    }

    pub(super) async fn by_id(&self, id: i64) -> Result<Option<FileRow>, Error> {
        first!(self, &self.reader; "SELECT * FROM files WHERE id = $1"; id).await
    }

    /// The file as it is on record now; `None` when it has another state or delivery than `row`: somebody else has decided
    /// about it since it was claimed.
    pub async fn unmoved(&self, row: &FileRow) -> Result<Option<FileRow>, Error> {
        let on_record = self.by_id(row.id).await?;
        Ok(on_record.filter(|now| now.state == row.state && now.delivery == row.delivery))
    }

    /// What happened to a file, oldest first.
    pub async fn events(&self, file: &FileRow) -> Result<Vec<EventRow>, Error> {
        all!(self, &self.reader;
            "SELECT at, kind, from_state, to_state, detail FROM events WHERE file_id = $1 ORDER BY id"; file.id)
        .await
    }

    /// When copies of a file were last read back whole since it was registered, and what was found, as JSON.
    pub async fn read_back(&self, file: &FileRow) -> Result<Option<(UnixMillis, String)>, Error> {
        first!(self, &self.reader; "SELECT at, detail FROM events WHERE file_id = $1 AND kind = 'read-back' AND id >
                coalesce((SELECT max(id) FROM events WHERE file_id = $1 AND kind = 'registered'), 0)
            ORDER BY id DESC LIMIT 1"; file.id)
        .await
    }

    /// Whether any file is on site that a rule must protect there.
    pub async fn any_protected(&self) -> Result<bool, Error> {
        value!(self, &self.reader; concat!("SELECT EXISTS (SELECT 1 FROM files WHERE ", protected!(), ")")).await
    }

    /// The files on site that a rule must protect there, each with the rule: the row's key and the rule's id.
    pub async fn protected(&self) -> Result<Vec<(i64, String)>, Error> {
        all!(self, &self.reader; concat!("SELECT id, on_site_rule FROM files WHERE ", protected!(), " ORDER BY id"))
            .await
    }

    /// The file, if that rule still has to protect it on site.
    pub async fn protected_by(&self, id: i64, rule: &str) -> Result<Option<FileRow>, Error> {
        first!(self, &self.reader;
            concat!("SELECT * FROM files WHERE id = $1 AND on_site_rule = $2 AND ", protected!()); id, rule)
        .await
    }

    /// Registered files whose trigger is still to be removed.
    pub async fn triggers_to_remove(&self, most: i64) -> Result<Vec<FileRow>, Error> {
        all!(self, &self.reader; "SELECT * FROM files WHERE trigger_pending = 1
            AND state IN ('registered', 'replicated', 'confirmed', 'releasing', 'released') ORDER BY id LIMIT $1";
            most)
        .await
    }

    /// Triggers that cannot be taken, by path.
    pub async fn wrong_triggers(&self) -> Result<Vec<WrongTrigger>, Error> {
        all!(self, &self.reader; "SELECT path, reason, message, signature, since FROM wrong_triggers ORDER BY path")
            .await
    }
}
