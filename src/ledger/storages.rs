//! Which RSEs were seen to lead to one storage.

use crate::clock::now;
use crate::crash;

use super::error::Error;
use super::statements::{all, run};
use super::store::Ledger;

impl Ledger {
    /// What a file has shown of two RSEs: why they are one storage, or that they are two.
    pub async fn told_apart(
        &self,
        (one, other): &(String, String),
        lfn: &str,
        same: Option<&str>,
    ) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        crash::note("told-apart");
        run!(self, &mut *tx;
            "INSERT INTO storages_told_apart (first_rse, second_rse, at, lfn, same) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (first_rse, second_rse) DO UPDATE SET at = excluded.at, lfn = excluded.lfn, same = excluded.same";
            one, other, now(), lfn, same)
        .await?;
        self.commit(tx).await
    }

    /// The pairs that were one when they were looked at last, and why.
    pub async fn same_storages(&self) -> Result<Vec<((String, String), String)>, Error> {
        let rows: Vec<(String, String, String)> = all!(self, &self.reader;
            "SELECT first_rse, second_rse, same FROM storages_told_apart WHERE same IS NOT NULL")
        .await?;
        Ok(rows.into_iter().map(|(one, other, why)| ((one, other), why)).collect())
    }
}
