//! Times in the ledger that another clock took: found out and dealt with at the start.

use super::error::Error;
use super::statements::{first_value, run};
use super::store::Ledger;
use crate::clock::{TOLERANCE, booted_at, now};
use crate::custody::brakes::MINUTE;

impl Ledger {
    /// Compares the clock of the last run with ours. If the machine was started anew or its clock was set in between, the age
    /// of a first look is unknown: files that are still on site begin their hold time again, and everything that waits for a
    /// time is due now. Only with the lock held.
    pub(super) async fn take_over_clock(&self) -> Result<(), Error> {
        let ours = booted_at();
        let mut tx = self.begin().await?;
        let theirs: Option<i64> = first_value!(self, &mut *tx; "SELECT booted_at FROM clock WHERE id = 1").await?;
        let mut begun_again = 0;
        if theirs.is_some_and(|theirs| (theirs - ours).abs() > TOLERANCE) {
            run!(self, &mut *tx; "INSERT INTO events (file_id, at, kind, detail)
                SELECT id, $1, 'first-look-void', 'taken by another clock; the hold time begins again' FROM files
                WHERE state IN ('replicated', 'confirmed', 'releasing') AND first_look IS NOT NULL"; now())
            .await?;
            begun_again = run!(self, &mut *tx;
                "UPDATE files SET first_look = NULL, waits_for = NULL, copies_unreadable = 0
                WHERE state IN ('replicated', 'confirmed', 'releasing') AND first_look IS NOT NULL")
            .await?;
            for due in [
                "UPDATE files SET next_attempt = $1 WHERE next_attempt > $1",
                "UPDATE redeliveries SET next_attempt = $1 WHERE next_attempt > $1",
            ] {
                run!(self, &mut *tx; due; now()).await?;
            }
            // releases with a time ahead of ours count for one hour from now, not until our clock has reached that time
            let minute = now() / MINUTE * MINUTE;
            for ahead in [
                "INSERT INTO releases (minute, files, bytes)
                 SELECT $1, SUM(files), SUM(bytes) FROM releases WHERE minute > $1 HAVING COUNT(*) > 0
                 ON CONFLICT (minute) DO UPDATE SET files = files + excluded.files, bytes = bytes + excluded.bytes",
                "DELETE FROM releases WHERE minute > $1",
            ] {
                run!(self, &mut *tx; ahead; minute).await?;
            }
        }
        run!(self, &mut *tx;
            "INSERT INTO clock (id, booted_at) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET booted_at = excluded.booted_at";
            ours).await?;
        self.commit(tx).await?;
        if begun_again > 0 {
            tracing::warn!(
                files = begun_again,
                "the machine was started anew or its clock was set since the last run; files that were not given up \
                 yet begin their hold time again"
            );
        }
        Ok(())
    }
}
