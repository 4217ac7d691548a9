//! Which ledger this is, and which others it has taken over.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::clock::now;

use super::error::Error;
use super::operators::Operator;
use super::statements::{all, run, value};
use super::store::Ledger;

/// Stands in the place of a ledger for rules that name none: from before rules were signed.
pub const UNSIGNED: &str = "unsigned";

impl Ledger {
    /// Made with the ledger, and never changed.
    pub async fn id(&self) -> Result<String, Error> {
        value!(self, &self.reader; "SELECT ledger FROM identity WHERE id = 1").await
    }

    /// Whose rules this ledger answers for: its own, and those of ledgers that it has taken over.
    pub async fn answers_for(&self) -> Result<BTreeSet<String>, Error> {
        let ledgers: Vec<(String,)> = all!(self, &self.reader;
            "SELECT ledger FROM identity UNION SELECT ledger FROM ledgers_taken_over")
        .await?;
        Ok(ledgers.into_iter().map(|(ledger,)| ledger).collect())
    }

    /// From now on this ledger answers for the rules of another one. `false`: it did already.
    pub async fn take_over(&self, ledger: &str, operator: &Operator) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let done = run!(self, &mut *tx;
            "INSERT INTO ledgers_taken_over (ledger, at, by_whom, reason) SELECT $1, $2, $3, $4
            WHERE $1 NOT IN (SELECT ledger FROM identity) ON CONFLICT (ledger) DO NOTHING";
            ledger, now(), &operator.who, &operator.reason)
        .await?;
        if done > 0 {
            self.act(&mut tx, operator, "ledger-taken-over", ledger).await?;
            // what waited for somebody to decide
            run!(self, &mut *tx; "UPDATE files SET next_attempt = state_since
                WHERE state IN ('verified', 'registered', 'replicated') AND next_attempt > state_since")
            .await?;
            self.look_again(&mut tx).await?;
        }
        self.commit(tx).await?;
        Ok(done > 0)
    }

    /// Gives a new ledger its identity.
    pub(super) async fn identify(&self) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        run!(self, &mut *tx; "INSERT INTO identity (id, ledger) VALUES (1, $1) ON CONFLICT (id) DO NOTHING";
            Uuid::new_v4().to_string())
        .await?;
        self.commit(tx).await
    }
}
