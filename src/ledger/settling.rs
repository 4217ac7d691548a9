//! Settling of quiet datasets: which are quiet, the intent to end the rules of their files, and what came of it.

use std::time::Duration;

use sqlx::{FromRow, SqliteConnection};

use crate::clock::now;
use crate::crash;
use crate::custody::UnixMillis;
use crate::custody::brakes::{Brakes, Limits, Target};
use crate::custody::settling::{Cause, Unsettled};
use crate::names::Did;

use super::error::Error;
use super::rows::FileRow;
use super::statements::{all, first, run, value};
use super::stops::IntentOutcome;
use super::store::{Ledger, after};

/// A released file of a dataset, as far as settling needs it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Resting {
    /// Key of the row.
    pub id: i64,
    /// Logical file name.
    pub lfn: String,
    /// Counts the deliveries of this LFN.
    pub delivery: i64,
    /// Size in bytes.
    #[sqlx(try_from = "i64")]
    pub bytes: u64,
    /// Adler-32, 8 hex digits.
    pub adler32: Option<String>,
    /// Its own rule for the further copies, unless that has gone.
    pub further_copies_rule: Option<String>,
}

/// A released file's own rule for the further copies.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct OwnRule {
    /// Key of the row.
    pub id: i64,
    /// Counts the deliveries of this LFN.
    pub delivery: i64,
    /// Logical file name.
    pub lfn: String,
    /// The rule.
    pub further_copies_rule: String,
    /// Where its first copy was when the rule was placed, which is its source.
    pub first_rse: String,
}

/// A rule that was to be ended when the daemon stopped.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Ending {
    /// Key of the file's row.
    pub id: i64,
    /// The rule.
    pub rule: String,
}

/// How far a dataset is settled.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromRow)]
pub struct Settlement {
    /// The dataset's rule for the further copies.
    pub settled_rule: Option<String>,
    /// Since when no file has one of its own.
    pub settled_at: Option<UnixMillis>,
    /// Why some still have, in words.
    pub unsettled: Option<String>,
}

/// A dataset with released files, whose rules hold their copies, or some of them.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Watched {
    /// Scope of the dataset.
    pub scope: String,
    /// Its name.
    pub name: String,
    /// Since when the dataset is known.
    pub known_at: UnixMillis,
    /// Its rule for the first copies.
    pub first_copy_rule: Option<String>,
    /// Its rule for the further copies; `None`: it was never settled.
    pub settled_rule: Option<String>,
    /// Since when both were seen to hold all copies of all released files; `None`: that is to be seen.
    pub settled_at: Option<UnixMillis>,
    /// Why they do not, in words.
    pub unsettled: Option<String>,
    /// What kind of reason that is.
    pub unsettled_cause: Option<Cause>,
}

impl Watched {
    /// The dataset.
    pub fn did(&self) -> Did {
        Did::new(self.scope.clone(), self.name.clone())
    }
}

/// Nothing of the dataset ($1, $2) has moved since $3, nothing is on its road, held, or waits to be compared.
macro_rules! quiet {
    ($scope:literal, $dataset:literal, $since:literal) => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM files AS moving WHERE moving.scope = ",
            $scope,
            " AND moving.dataset = ",
            $dataset,
            " AND (moving.state NOT IN ('released', 'rejected') OR moving.state_since > ",
            $since,
            " OR EXISTS (SELECT 1 FROM redeliveries WHERE redeliveries.file_id = moving.id)))"
        )
    };
}

/// A file that has left the site. One that is held since (other content lies under its name), or was held before it was on
/// record that it had left, is held off site as before.
macro_rules! gone {
    () => {
        "(state = 'released' OR (state = 'held'
             AND (held_from = 'released' OR (held_from = 'releasing' AND replica_gone_at IS NOT NULL))))"
    };
}

impl Ledger {
    /// At most `most` datasets that are due, in which nothing has moved after `since`, and that are not settled or have a file
    /// with a rule of its own. Those due longest come first, so that datasets that cannot be settled keep no other waiting.
    pub async fn quiet_datasets(&self, since: UnixMillis, most: i64) -> Result<Vec<Did>, Error> {
        let found: Vec<(String, String)> = all!(self, &self.reader; concat!(
            "WITH candidates AS (
                 SELECT scope, dataset FROM files WHERE further_copies_rule IS NOT NULL
                 UNION SELECT scope, name FROM collections WHERE settled_rule IS NOT NULL AND settled_at IS NULL)
             SELECT candidates.scope, candidates.dataset FROM candidates
             LEFT JOIN collections ON collections.scope = candidates.scope AND collections.name = candidates.dataset
             WHERE COALESCE(collections.settle_after, 0) <= $1 AND ",
            quiet!("candidates.scope", "candidates.dataset", "$2"),
            " ORDER BY COALESCE(collections.settle_after, 0), candidates.scope, candidates.dataset LIMIT $3"
        ); now(), since, most)
        .await?;
        Ok(found.into_iter().map(|(scope, name)| Did::new(scope, name)).collect())
    }

    /// The released files of a dataset, by name.
    pub async fn resting(&self, dataset: &Did) -> Result<Vec<Resting>, Error> {
        all!(self, &self.reader; concat!(
            "SELECT id, lfn, delivery, bytes, adler32, further_copies_rule FROM files WHERE scope = $1 AND dataset = $2 AND ",
            gone!(),
            " ORDER BY lfn"
        ); &dataset.scope, &dataset.name).await
    }

    /// The durable intent to end the own rules of these files of a dataset, unless something in it has moved after `since`
    /// or a brake is on. From then on no file counts these rules as its own: one that is delivered again gets another rule.
    pub async fn settling(&self, dataset: &Did, files: &[Resting], since: UnixMillis) -> Result<IntentOutcome, Error> {
        let mut tx = self.begin().await?;
        if let Err(brake) = self.brakes_of_dataset_in(&mut tx, dataset).await?.allows(0, Limits::NONE, now()) {
            return Ok(IntentOutcome::Braked(brake));
        }
        let quiet: bool = value!(self, &mut *tx; concat!("SELECT ", quiet!("$1", "$2", "$3"));
            &dataset.scope, &dataset.name, since)
        .await?;
        if !quiet {
            return Ok(IntentOutcome::Moved);
        }
        for file in files {
            let done = run!(self, &mut *tx;
                "UPDATE files SET further_copies_rule_ending = further_copies_rule, further_copies_rule = NULL
                WHERE id = $1 AND delivery = $2 AND further_copies_rule = $3 AND state = 'released'";
                file.id, file.delivery, &file.further_copies_rule)
            .await?;
            if done == 0 {
                return Ok(IntentOutcome::Moved);
            }
            self.event(&mut tx, file.id, "settling", None, file.further_copies_rule.as_deref()).await?;
        }
        self.commit(tx).await?;
        Ok(IntentOutcome::Written)
    }

    /// What stops the settling of a dataset: the breaker, and a hold on it, on a file of it, or on everything.
    async fn brakes_of_dataset_in(&self, connection: &mut SqliteConnection, dataset: &Did) -> Result<Brakes, Error> {
        let (all, name) = (self.holds_in(connection).await?, dataset.to_string());
        let below = format!("{}/", dataset.name);
        let hold = all.into_iter().find(|hold| match &hold.target {
            Target::File(lfn) => lfn.starts_with(&below),
            Target::Dataset(held) => *held == name,
            Target::All => true,
        });
        Ok(Brakes { breaker: self.breaker_in(connection).await?, hold, ..Brakes::default() })
    }

    /// What stops the settling of a dataset as far as the ledger knows.
    pub async fn brakes_of_dataset(&self, dataset: &Did) -> Result<Brakes, Error> {
        let mut connection = self.reader.acquire().await.map_err(|e| self.database(e))?;
        self.brakes_of_dataset_in(&mut connection, dataset).await
    }

    /// The rules were ended in Rucio.
    pub async fn further_copies_rules_ended(&self, files: &[i64]) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        crash::note("further-copies-rules-ended");
        for id in files {
            run!(self, &mut *tx; "UPDATE files SET further_copies_rule_ending = NULL WHERE id = $1"; id).await?;
        }
        self.commit(tx).await
    }

    /// Rules that a stop left between intent and end, anywhere.
    pub async fn ending_rules(&self, most: i64) -> Result<Vec<Ending>, Error> {
        all!(self, &self.reader; // in no order: for one, SQLite would go through all files there ever were
            "SELECT id, further_copies_rule_ending AS rule FROM files WHERE further_copies_rule_ending IS NOT NULL LIMIT $1";
            most).await
    }

    /// The rule stands after all: it is the file's own again, unless the file was delivered again meanwhile and asks anew.
    pub async fn further_copies_rule_stands(&self, ending: &Ending) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        crash::note("further-copies-rule-stands");
        run!(self, &mut *tx; concat!(
            "UPDATE files SET further_copies_rule = CASE WHEN ",
            gone!(),
            " THEN further_copies_rule_ending ELSE further_copies_rule END, further_copies_rule_ending = NULL WHERE id = $1 AND further_copies_rule_ending = $2"
        ); ending.id, &ending.rule).await?;
        self.commit(tx).await
    }

    /// How far a dataset is settled.
    pub async fn settlement(&self, dataset: &Did) -> Result<Settlement, Error> {
        let found = first!(self, &self.reader;
            "SELECT settled_rule, settled_at, unsettled FROM collections WHERE scope = $1 AND name = $2";
            &dataset.scope, &dataset.name)
        .await?;
        Ok(found.unwrap_or_default())
    }

    /// How many released files of a dataset have no rule of their own: the first-copy rule and the settled rule hold them.
    pub async fn held_by_dataset(&self, dataset: &Did) -> Result<u64, Error> {
        let query = concat!(
            "SELECT COUNT(*) FROM files WHERE scope = $1 AND dataset = $2 AND further_copies_rule IS NULL AND ",
            gone!()
        );
        let count: i64 = value!(self, &self.reader; query; &dataset.scope, &dataset.name).await?;
        Ok(count.cast_unsigned())
    }

    /// Datasets with a rule for the further copies, or with a released file that has one of its own, newest first, after
    /// (older than) `after`. At most `most`.
    pub async fn watched_datasets(&self, after: Option<&Watched>, most: i64) -> Result<Vec<Watched>, Error> {
        let (known_at, did) = after.map_or((i64::MAX, Did::new("", "")), |last| (last.known_at, last.did()));
        all!(self, &self.reader; concat!(
            "SELECT scope, name, known_at, first_copy_rule, settled_rule, settled_at, unsettled, unsettled_cause
             FROM collections
             WHERE (settled_rule IS NOT NULL OR EXISTS (SELECT 1 FROM files WHERE files.scope = collections.scope
                     AND files.dataset = collections.name AND further_copies_rule IS NOT NULL AND ",
            gone!(),
            ")) AND (known_at, scope, name) < ($1, $2, $3) ORDER BY known_at DESC, scope DESC, name DESC LIMIT $4"
        ); known_at, did.scope, did.name, most)
        .await
    }

    /// The released files of a dataset that have a rule of their own for the further copies.
    pub async fn own_rules(&self, dataset: &Did) -> Result<Vec<OwnRule>, Error> {
        all!(self, &self.reader; concat!(
            "SELECT id, delivery, lfn, further_copies_rule, COALESCE(first_rse, '') AS first_rse FROM files
             WHERE scope = $1 AND dataset = $2 AND further_copies_rule IS NOT NULL AND ",
            gone!(),
            " ORDER BY id"
        ); &dataset.scope, &dataset.name)
        .await
    }

    /// The file, if it has still left the site and that rule is still its own.
    pub async fn still_own(&self, own: &OwnRule) -> Result<Option<FileRow>, Error> {
        let query =
            concat!("SELECT * FROM files WHERE id = $1 AND delivery = $2 AND further_copies_rule = $3 AND ", gone!());
        first!(self, &self.reader; query; own.id, own.delivery, &own.further_copies_rule).await
    }

    /// Datasets that cannot be settled or whose rules do not hold all copies, with the reason, by name.
    pub async fn unsettled_datasets(&self) -> Result<Vec<(Did, String)>, Error> {
        let found: Vec<(String, String, String)> = all!(self, &self.reader;
            "SELECT scope, name, unsettled FROM collections WHERE unsettled IS NOT NULL ORDER BY scope, name")
        .await?;
        Ok(found.into_iter().map(|(scope, name, why)| (Did::new(scope, name), why)).collect())
    }

    /// The dataset's rules do not hold all copies of its released files, for this reason.
    pub async fn unheld(&self, dataset: &Did, why: &Unsettled) -> Result<(), Error> {
        crash::around(
            "ledger",
            "unheld",
            run!(self, &self.writer;
            "UPDATE collections SET settled_at = NULL, unsettled = $3, unsettled_cause = $4
            WHERE scope = $1 AND name = $2"; &dataset.scope, &dataset.name, &why.words, why.cause.as_str()),
        )
        .await
        .map(|_| ())
    }

    /// What each look at the dataset finds out is not so any more.
    pub async fn held_again(&self, dataset: &Did) -> Result<(), Error> {
        crash::around(
            "ledger",
            "held-again",
            run!(self, &self.writer;
            "UPDATE collections SET unsettled = NULL, unsettled_cause = NULL WHERE scope = $1 AND name = $2";
            &dataset.scope, &dataset.name),
        )
        .await
        .map(|_| ())
    }

    /// Remembers the dataset's rule for the further copies.
    pub async fn set_settled_rule(&self, dataset: &Did, rule: &str) -> Result<(), Error> {
        crash::around(
            "ledger",
            "settled-rule",
            run!(self, &self.writer;
            "INSERT INTO collections (scope, name, known_at, settled_rule) VALUES ($1, $2, $3, $4)
            ON CONFLICT (scope, name) DO UPDATE SET settled_rule = excluded.settled_rule, settled_at = NULL";
            &dataset.scope, &dataset.name, now(), rule),
        )
        .await
        .map(|_| ())
    }

    /// No file of the dataset has a rule of its own any more.
    pub async fn settled(&self, dataset: &Did) -> Result<(), Error> {
        crash::around(
            "ledger",
            "settled",
            run!(self, &self.writer;
            "INSERT INTO collections (scope, name, known_at, settled_at) VALUES ($1, $2, $3, $3)
            ON CONFLICT (scope, name) DO UPDATE SET settled_at = excluded.settled_at, unsettled = NULL,
                unsettled_cause = NULL"; &dataset.scope, &dataset.name, now()),
        )
        .await
        .map(|_| ())
    }

    /// The dataset stays as it is for now; it is looked at again after `delay`.
    pub async fn unsettled(&self, dataset: &Did, why: &Unsettled, delay: Duration) -> Result<(), Error> {
        crash::around(
            "ledger",
            "unsettled",
            run!(self, &self.writer;
            "INSERT INTO collections (scope, name, known_at, unsettled, unsettled_cause, settle_after)
            VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (scope, name) DO UPDATE SET unsettled = excluded.unsettled,
                unsettled_cause = excluded.unsettled_cause, settle_after = excluded.settle_after";
            &dataset.scope, &dataset.name, now(), &why.words, why.cause.as_str(), after(delay)),
        )
        .await
        .map(|_| ())
    }
}
