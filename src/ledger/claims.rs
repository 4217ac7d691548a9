//! Claiming due work, and giving it back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clock::now;
use crate::crash;
use crate::custody::{State, UnixMillis};

use super::error::Error;
use super::rows::FileRow;
use super::statements::{all, run, value};
use super::store::{Ledger, after};

/// Work that could not be finished now.
#[derive(Clone, Debug)]
pub struct Postpone {
    /// The file.
    pub id: i64,
    /// Not before this long from now.
    pub delay: Duration,
    /// What it waits for, in words; shown by `why`.
    pub waits_for: String,
    /// The file's own failure, which lengthens the next delay. An outage or a normal wait is not.
    pub failed: bool,
}

/// How long a claim lasts: as long as the process that holds it. The embedded ledger has one daemon, which drops all claims
/// at its start; a lease would end under work that merely takes long, and others would do it a second time.
const FOR_LIFE: UnixMillis = UnixMillis::MAX;

/// How many batches of due files a claim looks through for those of one dataset.
const WINDOW: i64 = 20;

/// Files claimed together.
#[derive(Debug)]
pub struct Claim {
    token: String,
    /// The files, in the order of their delivery.
    pub rows: Vec<FileRow>,
}

impl Ledger {
    /// Claims up to `most` files that are due in `state`: the one longest due, then those of its dataset, then the others.
    /// A batch of one dataset costs Rucio least, and two batches seldom wait for each other's dataset there.
    pub async fn claim(&self, state: State, most: usize) -> Result<Claim, Error> {
        let at = now();
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let token = format!("{}#{}", self.owner, self.claims.fetch_add(1, Ordering::Relaxed));
        // PostgreSQL will add FOR UPDATE SKIP LOCKED to the inner select; SQLite's single writer needs none
        let mut rows: Vec<FileRow> = all!(self, &self.writer; "WITH due AS (
                SELECT id, scope, dataset, next_attempt FROM files
                WHERE state = $3 AND next_attempt <= $4 AND (claimed_until IS NULL OR claimed_until < $4)
                ORDER BY next_attempt, id LIMIT $5
            ), longest AS (
                SELECT scope, dataset FROM due ORDER BY next_attempt, id LIMIT 1
            )
            UPDATE files SET claimed_by = $1, claimed_until = $2 WHERE id IN (
                SELECT due.id FROM due, longest
                ORDER BY CASE WHEN due.scope = longest.scope AND due.dataset = longest.dataset THEN 0 ELSE 1 END,
                    due.next_attempt, due.id LIMIT $6)
            RETURNING *"; &token, FOR_LIFE, state.as_str(), at, most.saturating_mul(WINDOW), most)
        .await?;
        rows.sort_by_key(|row| row.id);
        Ok(Claim { token, rows })
    }

    /// Gives back what is left of a claim: files whose work ended without an outcome. They are due again after `delay`.
    pub async fn give_back(&self, claim: &Claim, delay: Duration) -> Result<u64, Error> {
        run!(self, &self.writer;
            "UPDATE files SET claimed_by = NULL, claimed_until = NULL, next_attempt = $1, being_carried_out = 0
            WHERE claimed_by = $2"; after(delay), &claim.token)
        .await
    }

    /// Gives back files of a claim whose work failed, each due after its own delay, with the reason. Files that have an
    /// outcome already are left alone. `count`: as a failure, which lengthens the next delay; an outage is nobody's fault.
    pub async fn failed(
        &self,
        claim: &Claim,
        files: &[(i64, Duration)],
        reason: &str,
        count: bool,
    ) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        crash::note("failed");
        for (id, delay) in files {
            run!(self, &mut *tx;
                "UPDATE files SET waits_for = $1, copies_unreadable = 0, attempts = attempts + $2, next_attempt = $3,
                being_carried_out = 0, claimed_by = NULL, claimed_until = NULL WHERE id = $4 AND claimed_by = $5";
                reason, i64::from(count), after(*delay), id, &claim.token)
            .await?;
        }
        self.commit(tx).await
    }

    /// Of these files, those that the claim still holds: without an outcome so far.
    pub async fn unfinished(&self, claim: &Claim, rows: Vec<FileRow>) -> Result<Vec<FileRow>, Error> {
        let held: Vec<(i64,)> =
            all!(self, &self.writer; "SELECT id FROM files WHERE claimed_by = $1"; &claim.token).await?;
        let held: std::collections::HashSet<i64> = held.into_iter().map(|(id,)| id).collect();
        Ok(rows.into_iter().filter(|row| held.contains(&row.id)).collect())
    }

    /// When the next file of that state is due, if any waits unclaimed.
    pub async fn next_due(&self, state: State) -> Result<Option<UnixMillis>, Error> {
        value!(self, &self.reader; "SELECT MIN(next_attempt) FROM files WHERE state = $1 AND claimed_until IS NULL";
            state.as_str())
        .await
    }

    /// Gives files back for later. The state does not change.
    pub async fn postpone(&self, files: &[Postpone]) -> Result<(), Error> {
        self.postpone_all(files, false).await
    }

    /// Gives a file back for later because copies of its own could not be read back.
    pub async fn postpone_unreadable(&self, file: Postpone) -> Result<(), Error> {
        self.postpone_all(&[file], true).await
    }

    async fn postpone_all(&self, files: &[Postpone], copies_unreadable: bool) -> Result<(), Error> {
        if files.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        crash::note("postponed");
        for file in files {
            run!(self, &mut *tx; "UPDATE files SET next_attempt = $1, waits_for = $2, copies_unreadable = $3,
                attempts = CASE WHEN $4 = 1 THEN attempts + 1 ELSE 0 END,
                being_carried_out = 0, claimed_by = NULL, claimed_until = NULL WHERE id = $5";
                after(file.delay), &file.waits_for, i64::from(copies_unreadable), i64::from(file.failed),
                file.id)
            .await?;
        }
        self.commit(tx).await
    }

    /// Makes all files of a state due now: what they waited for has changed (a new configuration, Rucio back). A release
    /// that is being carried out stays with whoever does it.
    pub async fn hasten(&self, state: State) -> Result<u64, Error> {
        run!(self, &self.writer;
            "UPDATE files SET next_attempt = $1 WHERE state = $2 AND next_attempt > $1 AND being_carried_out = 0";
            now(), state.as_str())
        .await
    }

    /// Makes a file due whose interrupted release waits for something. `false`: it does not, or is being carried out.
    pub async fn hasten_interrupted(&self, row: &FileRow) -> Result<bool, Error> {
        let hastened = run!(self, &self.writer;
            "UPDATE files SET next_attempt = $1 WHERE id = $2 AND delivery = $3 AND state = 'releasing'
                AND release_ordered_at IS NULL AND being_carried_out = 0 AND next_attempt > $1";
            now(), row.id, row.delivery)
        .await?;
        Ok(hastened > 0)
    }

    /// Forgets the claims of a daemon that is gone, and that it was carrying out releases: those are due now. Only with the
    /// lock held.
    pub(super) async fn drop_claims(&self) -> Result<(), Error> {
        run!(self, &self.writer;
            "UPDATE files SET claimed_by = NULL, claimed_until = NULL WHERE claimed_until IS NOT NULL")
        .await?;
        run!(self, &self.writer; "UPDATE files SET being_carried_out = 0,
                next_attempt = CASE WHEN next_attempt > $1 THEN $1 ELSE next_attempt END
            WHERE state = 'releasing' AND being_carried_out = 1"; now())
        .await
        .map(|_| ())
    }
}
