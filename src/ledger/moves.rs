//! The outcomes of the stages. Each is one transaction: the move, what was learnt, and an event that records it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::{Sqlite, Transaction};

use crate::clock::now;
use crate::crash;
use crate::custody::{Contents, FileIdentity, HoldCode, State, UnixMillis};

use super::error::Error;
use super::rows::FileRow;
use super::statements::run;
use super::store::{Ledger, after};

/// A file that was read and found sound.
#[derive(Clone, Debug)]
pub struct Verified {
    /// As claimed.
    pub row: FileRow,
    /// What was read.
    pub contents: Contents,
    /// Product metadata as a JSON object.
    pub metadata: String,
    /// `None` when the file carries no checksum at all.
    pub valid_fits_checksum: Option<bool>,
}

/// Why a file is rejected and where it goes.
#[derive(Clone, Debug)]
pub struct Sentence {
    /// Code of the first reason.
    pub code: String,
    /// All reasons, in words.
    pub reason: String,
    /// Destination relative to the data root.
    pub invalid_path: String,
}

/// A file that Rucio has on record and protects on site.
#[derive(Clone, Debug)]
pub struct Registration {
    /// As claimed.
    pub row: FileRow,
    /// The on-site rule.
    pub on_site_rule: String,
}

impl Ledger {
    /// Discovered → Verified. Files that were delivered anew meanwhile are left out; returns how many moved.
    pub async fn verified(&self, files: &[Verified]) -> Result<usize, Error> {
        let mut tx = self.begin().await?;
        let mut moved = 0;
        for file in files {
            if !self.step(&mut tx, &file.row, State::Verified, "verified", None).await? {
                continue;
            }
            moved += 1;
            run!(self, &mut *tx; "UPDATE files SET adler32 = $1, crc32c = $2, blake3 = $3, md5 = $4, metadata = $5,
                valid_fits_checksum = $6, changed_ns = $8 WHERE id = $7";
                &file.contents.adler32, &file.contents.crc32c, &file.contents.blake3, &file.contents.md5,
                &file.metadata, file.valid_fits_checksum, file.row.id, file.row.changed_ns)
            .await?;
        }
        self.commit(tx).await?;
        Ok(moved)
    }

    /// The file on disk is not the one recorded: it is taken as delivered anew, as `found`, and read again after `delay`,
    /// because whoever changed it may still be writing.
    pub async fn rediscovered(
        &self,
        row: &FileRow,
        found: FileIdentity,
        why: &str,
        delay: Duration,
    ) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let moved = self.step(&mut tx, row, State::Discovered, "changed-on-disk", Some(why)).await?;
        if moved {
            self.new_delivery(&mut tx, row.id, found).await?;
            run!(self, &mut *tx; "UPDATE files SET next_attempt = $1, waits_for = $2 WHERE id = $3";
                after(delay), why, row.id)
            .await?;
        }
        self.commit(tx).await?;
        Ok(moved)
    }

    /// The durable intent to set a bad file aside. The state stays Discovered until that is done. `false`: the file was
    /// delivered anew since it was judged, and the sentence is void.
    pub async fn rejecting(&self, row: &FileRow, sentence: &Sentence) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let done = run!(self, &mut *tx; "UPDATE files SET reason_code = $1, reason = $2, invalid_path = $3
            WHERE id = $4 AND state = $5 AND delivery = $6";
            &sentence.code, &sentence.reason, &sentence.invalid_path, row.id, row.state.as_str(), row.delivery)
        .await?;
        if done == 0 {
            return Ok(false);
        }
        self.event(&mut tx, row.id, "rejecting", None, Some(&sentence.reason)).await?;
        self.commit(tx).await?;
        Ok(true)
    }

    /// Discovered → Rejected: the file lies in `invalid/` and its trigger is gone.
    pub async fn rejected(&self, row: &FileRow) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let moved = self.step(&mut tx, row, State::Rejected, "rejected", row.reason.as_deref()).await?;
        if moved {
            self.set_trigger_gone(&mut tx, row.id).await?;
        }
        self.commit(tx).await?;
        Ok(moved)
    }

    /// Any state → Held. A contradiction also stops the releases of all files, in the same transaction.
    pub async fn hold(&self, row: &FileRow, code: HoldCode, reason: &str) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let moved = self.step(&mut tx, row, State::Held, "held", Some(reason)).await?;
        if moved {
            run!(self, &mut *tx; "UPDATE files SET reason_code = $1, reason = $2, held_from = $3 WHERE id = $4";
                code.as_str(), reason, row.state.as_str(), row.id)
            .await?;
            if code.is_contradiction() {
                self.trip_in(&mut tx, code.as_str(), reason, Some(&row.lfn)).await?;
            }
        }
        self.commit(tx).await?;
        Ok(moved)
    }

    /// The file was touched on disk since it was verified, or put there again, and its content is the same.
    pub async fn read_again(&self, row: &FileRow, found: FileIdentity, changed_ns: Option<i64>) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let done = run!(self, &mut *tx;
            "UPDATE files SET changed_ns = $1, mtime_ns = $2, inode = $3 WHERE id = $4 AND delivery = $5";
            changed_ns, found.mtime_ns, found.inode.cast_signed(), row.id, row.delivery)
        .await?;
        if done > 0 {
            self.event(&mut tx, row.id, "read-again", None, None).await?;
        }
        self.commit(tx).await
    }

    /// Verified → Registered. Returns the rows that moved.
    pub async fn registered(&self, files: &[Registration], first_look: Duration) -> Result<Vec<i64>, Error> {
        let mut tx = self.begin().await?;
        let mut moved = Vec::with_capacity(files.len());
        for file in files {
            if self.step(&mut tx, &file.row, State::Registered, "registered", None).await? {
                run!(self, &mut *tx;
                    "UPDATE files SET on_site_rule = $1,
                        earlier_further_copies_rule = COALESCE(further_copies_rule, earlier_further_copies_rule),
                        further_copies_rule = NULL, first_rse = NULL, first_look = NULL,
                        last_evidence = NULL, release_ordered_at = NULL, on_site_rule_end = NULL,
                        replica_gone_at = NULL, next_attempt = $3
                    WHERE id = $2"; &file.on_site_rule, file.row.id, after(first_look))
                .await?;
                moved.push(file.row.id);
            }
        }
        self.commit(tx).await?;
        Ok(moved)
    }

    /// Records that triggers were removed.
    pub async fn triggers_gone(&self, ids: &[i64]) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        for id in ids {
            self.set_trigger_gone(&mut tx, *id).await?;
        }
        self.commit(tx).await
    }

    /// Registered → Replicated: (row, RSE of the first copy, further-copies rule).
    pub async fn replicated(&self, files: &[(FileRow, String, String)]) -> Result<usize, Error> {
        let mut tx = self.begin().await?;
        let mut moved = 0;
        for (row, first_rse, further_copies_rule) in files {
            if self.step(&mut tx, row, State::Replicated, "replicated", Some(first_rse)).await? {
                moved += 1;
                run!(self, &mut *tx; "UPDATE files SET first_rse = $1, further_copies_rule = $2 WHERE id = $3";
                    first_rse, further_copies_rule, row.id)
                .await?;
            }
        }
        self.commit(tx).await?;
        Ok(moved)
    }

    /// The rule of the file's further copies was placed again, with this RSE as its source. Nothing is written of a file that
    /// was delivered anew meanwhile.
    pub async fn set_further_copies_rule(&self, row: &FileRow, rule: &str, source: &str) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let done = run!(self, &mut *tx;
            "UPDATE files SET further_copies_rule = $1, first_rse = $2,
                earlier_further_copies_rule = CASE WHEN further_copies_rule = $1 THEN earlier_further_copies_rule
                    ELSE COALESCE(further_copies_rule, earlier_further_copies_rule) END
            WHERE id = $3 AND delivery = $4";
            rule, source, row.id, row.delivery)
        .await?;
        if done == 0 {
            return Ok(());
        }
        self.event(&mut tx, row.id, "further-copies-rule-replaced", None, Some(rule)).await?;
        self.commit(tx).await
    }

    /// The rule that protects the on-site copy was placed again. An end announced before was that of another rule. Nothing is
    /// written of a file that was delivered anew meanwhile.
    pub async fn set_on_site_rule(&self, row: &FileRow, rule: &str) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let changed = run!(self, &mut *tx;
            "UPDATE files SET on_site_rule = $1, on_site_rule_end = NULL, release_announced_at = NULL
            WHERE id = $2 AND delivery = $3"; rule, row.id, row.delivery)
        .await?;
        if changed == 0 {
            return Ok(());
        }
        self.event(&mut tx, row.id, "on-site-rule-replaced", None, Some(rule)).await?;
        self.commit(tx).await
    }

    /// A first complete look; the second may come after `due`.
    pub async fn looked(&self, row: &FileRow, first_look: &str, due: UnixMillis) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let done = run!(self, &mut *tx;
            "UPDATE files SET first_look = $1, next_attempt = $2, waits_for = $3, copies_unreadable = 0,
            claimed_by = NULL, claimed_until = NULL WHERE id = $4 AND state = $5 AND delivery = $6";
            first_look, due, "all copies are proven; waiting for the hold time before the second look", row.id,
            row.state.as_str(), row.delivery)
        .await?;
        if done > 0 {
            self.event(&mut tx, row.id, "first-look", None, Some(first_look)).await?;
        }
        self.commit(tx).await
    }

    /// Replicated → Confirmed, on the evidence of the second look.
    pub async fn confirmed(&self, row: &FileRow, evidence: &str) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let moved = self.step_with_evidence(&mut tx, row, State::Confirmed, evidence, now()).await?;
        self.commit(tx).await?;
        Ok(moved)
    }

    pub(super) async fn step_with_evidence(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        row: &FileRow,
        to: State,
        evidence: &str,
        due: UnixMillis,
    ) -> Result<bool, Error> {
        let moved = self.step(tx, row, to, to.as_str(), Some(evidence)).await?;
        if moved {
            let update =
                "UPDATE files SET last_evidence = $1, next_attempt = $2, release_announced_at = NULL WHERE id = $3";
            run!(self, &mut **tx; update; evidence, due, row.id).await?;
        }
        Ok(moved)
    }

    /// Records something that happened without a move.
    pub async fn remark(&self, row: &FileRow, kind: &str, detail: &str) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        self.event(&mut tx, row.id, kind, None, Some(detail)).await?;
        self.commit(tx).await
    }

    /// One move with its event. `false`: the row is no longer as claimed, and nothing was written.
    pub(super) async fn step(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        row: &FileRow,
        to: State,
        kind: &str,
        detail: Option<&str>,
    ) -> Result<bool, Error> {
        row.state.moving_to(to)?;
        let done = run!(self, &mut **tx;
            "UPDATE files SET state = $1, state_since = $2, next_attempt = $2, attempts = 0, waits_for = NULL,
                copies_unreadable = 0, being_carried_out = 0, claimed_by = NULL, claimed_until = NULL
            WHERE id = $3 AND state = $4 AND delivery = $5";
            to.as_str(), now(), row.id, row.state.as_str(), row.delivery)
        .await?;
        if done == 0 {
            return Ok(false);
        }
        self.event(tx, row.id, kind, Some((row.state, to)), detail).await?;
        self.moves[row.state as usize].fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    pub(super) async fn event(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        file: i64,
        kind: &str,
        moved: Option<(State, State)>,
        detail: Option<&str>,
    ) -> Result<(), Error> {
        crash::note(kind);
        run!(self, &mut **tx;
            "INSERT INTO events (file_id, at, kind, from_state, to_state, detail) VALUES ($1, $2, $3, $4, $5, $6)";
            file, now(), kind, moved.map(|(from, _)| from.as_str()), moved.map(|(_, to)| to.as_str()), detail)
        .await
        .map(|_| ())
    }

    pub(super) async fn new_delivery(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        id: i64,
        found: FileIdentity,
    ) -> Result<(), Error> {
        run!(self, &mut **tx;
            "UPDATE files SET delivery = delivery + 1, bytes = $1, mtime_ns = $2, inode = $3, adler32 = NULL,
            crc32c = NULL, blake3 = NULL, md5 = NULL, metadata = NULL, valid_fits_checksum = NULL, changed_ns = NULL,
            reason_code = NULL, reason = NULL, invalid_path = NULL, held_from = NULL, trigger_pending = 1 WHERE id = $4";
            found.bytes.cast_signed(), found.mtime_ns, found.inode.cast_signed(), id).await.map(|_| ())
    }

    async fn set_trigger_gone(&self, tx: &mut Transaction<'static, Sqlite>, id: i64) -> Result<(), Error> {
        crash::note("trigger-gone");
        run!(self, &mut **tx; "UPDATE files SET trigger_pending = 0 WHERE id = $1"; id).await.map(|_| ())
    }
}
