//! Datasets and containers that Rucio is known to have, so that it is asked once.

use std::collections::BTreeSet;

use crate::clock::now;
use crate::crash;
use crate::names::Did;

use super::error::Error;
use super::statements::{first_value, run};
use super::store::Ledger;

impl Ledger {
    /// Of these collections, those not known to exist in Rucio.
    pub async fn unknown_collections(&self, dids: &BTreeSet<Did>) -> Result<Vec<Did>, Error> {
        let mut unknown = Vec::new();
        for did in dids {
            let known: Option<i64> = first_value!(self, &self.reader;
                "SELECT known_at FROM collections WHERE scope = $1 AND name = $2 AND known_at > 0";
                &did.scope, &did.name)
            .await?;
            if known.is_none() {
                unknown.push(did.clone());
            }
        }
        Ok(unknown)
    }

    /// Remembers collections that exist and are attached to their parents.
    pub async fn collections_known(&self, dids: &[Did]) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        crash::note("collections-known");
        for did in dids {
            run!(self, &mut *tx; "INSERT INTO collections (scope, name, known_at) VALUES ($1, $2, $3)
                ON CONFLICT (scope, name) DO UPDATE SET known_at = excluded.known_at WHERE collections.known_at = 0";
                &did.scope, &did.name, now())
            .await?;
        }
        self.commit(tx).await
    }

    /// Rucio may not have these collections any more. What held the released files of a dataset, and what was said of it,
    /// stays on record: whoever looks after its rules must find out that they are gone.
    pub async fn collections_unknown(&self, dids: &BTreeSet<Did>) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        crash::note("collections-unknown");
        for did in dids {
            run!(self, &mut *tx;
                "UPDATE collections SET known_at = 0, first_copy_rule = NULL, settled_at = NULL WHERE scope = $1 AND name = $2";
                &did.scope, &did.name).await?;
        }
        self.commit(tx).await
    }

    /// The first-copy rule of a dataset, if it was placed.
    pub async fn first_copy_rule(&self, dataset: &Did) -> Result<Option<String>, Error> {
        let rule: Option<Option<String>> = first_value!(self, &self.reader;
            "SELECT first_copy_rule FROM collections WHERE scope = $1 AND name = $2"; &dataset.scope, &dataset.name)
        .await?;
        Ok(rule.flatten())
    }

    /// Remembers the first-copy rule of a dataset. If it is another one than before, the dataset does not count as settled
    /// until it is seen what the rule holds.
    pub async fn set_first_copy_rule(&self, dataset: &Did, rule: &str) -> Result<(), Error> {
        let write = run!(self, &self.writer;
            "INSERT INTO collections (scope, name, known_at, first_copy_rule) VALUES ($1, $2, $3, $4)
            ON CONFLICT (scope, name) DO UPDATE SET first_copy_rule = excluded.first_copy_rule,
                settled_at = CASE WHEN collections.first_copy_rule = excluded.first_copy_rule THEN collections.settled_at END";
            &dataset.scope, &dataset.name, now(), rule);
        crash::around("ledger", "first-copy-rule", write).await.map(|_| ())
    }
}
