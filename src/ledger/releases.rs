//! The release of a file: its durable intent, the end of the on-site rule, and the file gone.

use crate::clock::now;
use crate::custody::brakes::Limits;
use crate::custody::{State, UnixMillis};

use super::columns::EndOfRule;
use super::error::Error;
use super::rows::FileRow;
use super::statements::run;
use super::stops::IntentOutcome;
use super::store::Ledger;

impl Ledger {
    /// Confirmed → Releasing: the durable intent, with the evidence it rests on, unless a brake is on. Both are one
    /// transaction: what an operator has put on by then is seen. Nobody else takes the file up before `until`, or before a
    /// restart: whoever wrote the intent is carrying it out.
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
        run!(self, &mut *tx; "UPDATE files SET being_carried_out = 1 WHERE id = $1"; row.id).await?;
        self.commit(tx).await?;
        Ok(IntentOutcome::Written)
    }

    /// The on-site rule was ended in Rucio; the file can be watched go from now on. Counts once.
    pub async fn release_ordered(&self, row: &FileRow, end: EndOfRule) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let done = run!(self, &mut *tx;
            "UPDATE files SET release_ordered_at = $1, on_site_rule_end = $3, being_carried_out = 0, next_attempt = $1
            WHERE id = $2 AND release_ordered_at IS NULL"; now(), row.id, end.as_str())
        .await?;
        if done > 0 {
            let detail = (end == EndOfRule::Found).then_some("its rule was found ended");
            self.event(&mut tx, row.id, "release-ordered", None, detail).await?;
            self.spend(&mut tx, row.bytes).await?;
        }
        self.commit(tx).await
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
        let done = run!(self, &mut *tx;
            "UPDATE files SET release_ordered_at = NULL, on_site_rule_end = NULL, release_announced_at = NULL,
                replica_gone_at = NULL, on_site_rule = COALESCE($1, on_site_rule), waits_for = $2, next_attempt = $3,
                claimed_by = NULL, claimed_until = NULL
            WHERE id = $4 AND state = 'releasing' AND delivery = $5 AND release_ordered_at IS NOT NULL";
            on_site_rule, why, now(), row.id, row.delivery)
        .await?;
        if done == 0 {
            return Ok(false);
        }
        self.event(&mut tx, row.id, "release-order-void", None, Some(why)).await?;
        self.commit(tx).await?;
        Ok(true)
    }

    /// Rucio has no on-site replica any more. Noted once.
    pub async fn replica_gone(&self, row: &FileRow) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let done = run!(self, &mut *tx;
            "UPDATE files SET replica_gone_at = $1 WHERE id = $2 AND replica_gone_at IS NULL"; now(), row.id)
        .await?;
        if done > 0 {
            self.event(&mut tx, row.id, "replica-gone", None, None).await?;
        }
        self.commit(tx).await
    }

    /// Releasing → Released: replica and file are gone.
    pub async fn released(&self, row: &FileRow) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let moved = self.step(&mut tx, row, State::Released, "released", None).await?;
        self.commit(tx).await?;
        Ok(moved)
    }
}
