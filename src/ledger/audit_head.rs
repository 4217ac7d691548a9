//! How far the audit record goes: the last record known to be on disk, and the release that it announces.

use crate::clock::now;
use crate::crash;

use super::error::Error;
use super::rows::FileRow;
use super::statements::{first, run};
use super::store::Ledger;

impl Ledger {
    /// The last audit record known to be on disk: its number and its hash.
    pub async fn audit_head(&self) -> Result<Option<(u64, String)>, Error> {
        let head: Option<(i64, String)> =
            first!(self, &self.reader; "SELECT seq, hash FROM audit_head WHERE id = 1").await?;
        Ok(head.map(|(seq, hash)| (seq.cast_unsigned(), hash)))
    }

    /// An audit record is on disk. `released`: the file whose on-site rule is about to end, if the record announces that.
    pub async fn audited(&self, seq: u64, hash: &str, released: Option<&FileRow>) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        crash::note("audited");
        run!(self, &mut *tx; "INSERT INTO audit_head (id, seq, hash) VALUES (1, $1, $2)
            ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash"; seq.cast_signed(), hash)
        .await?;
        if let Some(row) = released {
            run!(self, &mut *tx;
                "UPDATE files SET release_announced_at = $1 WHERE id = $2 AND state = 'releasing' AND delivery = $3";
                now(), row.id, row.delivery)
            .await?;
        }
        self.commit(tx).await
    }
}
