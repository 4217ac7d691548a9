//! How far the audit record goes: the last record known to be on disk, and the release that it announces.

use crate::clock::now;
use crate::crash;

use super::error::Error;
use super::rows::FileRow;
use super::store::Ledger;

impl Ledger {
    /// The last audit record known to be on disk: its number and its hash.
    pub async fn audit_head(&self) -> Result<Option<(u64, String)>, Error> {
        let head: Option<(i64, String)> = sqlx::query_as("SELECT seq, hash FROM audit_head WHERE id = 1")
            .fetch_optional(&self.reader)
            .await
            .map_err(|e| self.database(e))?;
        Ok(head.map(|(seq, hash)| (seq.cast_unsigned(), hash)))
    }

    /// An audit record is on disk. `released`: the file whose on-site rule is about to end, if the record announces that.
    pub async fn audited(&self, seq: u64, hash: &str, released: Option<&FileRow>) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        crash::note("audited");
        sqlx::query(
            "INSERT INTO audit_head (id, seq, hash) VALUES (1, $1, $2)
             ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
        )
        .bind(seq.cast_signed())
        .bind(hash)
        .execute(&mut *tx)
        .await
        .map_err(|e| self.database(e))?;
        if let Some(row) = released {
            sqlx::query(
                "UPDATE files SET release_announced_at = $1 WHERE id = $2 AND state = 'releasing' AND delivery = $3",
            )
            .bind(now())
            .bind(row.id)
            .bind(row.delivery)
            .execute(&mut *tx)
            .await
            .map_err(|e| self.database(e))?;
        }
        self.commit(tx).await
    }
}
