//! The release of a file: its durable intent, the end of the on-site rule, and the file gone.

use sqlx::{Sqlite, Transaction};

use crate::clock::now;
use crate::custody::brakes::Limits;
use crate::custody::{State, UnixMillis};

use super::error::Error;
use super::rows::{EndOfRule, FileRow};
use super::stops::IntentOutcome;
use super::store::Ledger;

impl Ledger {
    /// Confirmed → Releasing: the durable intent, with the evidence it rests on, unless a brake is on. Both are one
    /// transaction: what an operator has put on by then is seen. Nobody else takes the file up before `until`: whoever
    /// wrote the intent is about to carry it out.
    pub async fn releasing(
        &self,
        row: &FileRow,
        evidence: &str,
        until: UnixMillis,
        limits: Limits,
    ) -> Result<IntentOutcome, Error> {
        let mut tx = self.begin().await?;
        let brakes = self.brakes_in(&mut tx, Some(row), true).await?;
        if let Err(brake) = brakes.allows(row.bytes, limits, now()) {
            return Ok(IntentOutcome::Braked(brake));
        }
        if !self.step_with_evidence(&mut tx, row, State::Releasing, evidence, until).await? {
            return Ok(IntentOutcome::Moved);
        }
        self.commit(tx).await?;
        Ok(IntentOutcome::Written)
    }

    /// The on-site rule was ended in Rucio; the file can be watched go from now on. Counts once.
    pub async fn release_ordered(&self, row: &FileRow, end: EndOfRule) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let update = "UPDATE files SET release_ordered_at = $1, next_attempt = $1
             WHERE id = $2 AND release_ordered_at IS NULL";
        let detail = (end == EndOfRule::Found).then_some("its rule was found ended");
        if self.note(&mut tx, row, "release-ordered", detail, update).await? {
            self.spend(&mut tx, row.bytes).await?;
        }
        self.commit(tx).await
    }

    /// How it was known that the on-site rule had ended, when the release was ordered last.
    pub async fn how_it_ended(&self, row: &FileRow) -> Result<EndOfRule, Error> {
        let last = "SELECT detail IS NULL FROM events WHERE file_id = $1 AND kind = 'release-ordered'
             ORDER BY id DESC LIMIT 1";
        let answered: Option<bool> =
            sqlx::query_scalar(last).bind(row.id).fetch_optional(&self.reader).await.map_err(|e| self.database(e))?;
        Ok(if answered == Some(true) { EndOfRule::Answered } else { EndOfRule::Found })
    }

    /// Nobody will delete the file, although its release was ordered: that is decided afresh, about the rule that stands now,
    /// if one does. `false`: the file has moved on.
    pub async fn release_order_void(
        &self,
        row: &FileRow,
        on_site_rule: Option<&str>,
        why: &str,
    ) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE files SET release_ordered_at = NULL, release_announced_at = NULL, replica_gone_at = NULL,
                 on_site_rule = COALESCE($1, on_site_rule), waits_for = $2, next_attempt = $3, claimed_by = NULL, claimed_until = NULL
             WHERE id = $4 AND state = 'releasing' AND delivery = $5 AND release_ordered_at IS NOT NULL",
        )
        .bind(on_site_rule)
        .bind(why)
        .bind(now())
        .bind(row.id)
        .bind(row.delivery)
        .execute(&mut *tx)
        .await
        .map_err(|e| self.database(e))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        self.event(&mut tx, row.id, "release-order-void", None, Some(why)).await?;
        self.commit(tx).await?;
        Ok(true)
    }

    /// Rucio has no on-site replica any more.
    pub async fn replica_gone(&self, row: &FileRow) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let update = "UPDATE files SET replica_gone_at = $1 WHERE id = $2 AND replica_gone_at IS NULL";
        self.note(&mut tx, row, "replica-gone", None, update).await?;
        self.commit(tx).await
    }

    /// `false`: that is on record already.
    async fn note(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        row: &FileRow,
        kind: &str,
        detail: Option<&str>,
        update: &'static str,
    ) -> Result<bool, Error> {
        let done = sqlx::query(update).bind(now()).bind(row.id).execute(&mut **tx).await;
        if done.map_err(|e| self.database(e))?.rows_affected() == 0 {
            return Ok(false);
        }
        self.event(tx, row.id, kind, None, detail).await?;
        Ok(true)
    }

    /// Releasing → Released: replica and file are gone.
    pub async fn released(&self, row: &FileRow) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let moved = self.step(&mut tx, row, State::Released, "released", None).await?;
        self.commit(tx).await?;
        Ok(moved)
    }
}
