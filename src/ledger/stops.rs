//! What stops releases: the breaker, holds, and what was released lately.

use sqlx::{Sqlite, SqliteConnection, Transaction};

use crate::clock::now;
use crate::custody::UnixMillis;
use crate::custody::brakes::{Brake, Brakes, HOUR, Hold, MINUTE, Spent, Target, Trip};

use super::error::Error;
use super::rows::FileRow;
use super::statements::{all, first, one, run};
use super::store::Ledger;

/// What became of an intent to release a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntentOutcome {
    /// It is durable and may be carried out.
    Written,
    /// The file is no longer as it was claimed.
    Moved,
    /// Something stops it.
    Braked(Brake),
}

impl Ledger {
    /// The brakes that the ledger knows of, for one file or for any. `intents`: whether files count whose release is
    /// decided and not carried out yet.
    pub async fn brakes(&self, row: Option<&FileRow>, intents: bool) -> Result<Brakes, Error> {
        let mut connection = self.reader.acquire().await.map_err(|e| self.database(e))?;
        self.brakes_in(&mut connection, row, intents).await
    }

    pub(super) async fn brakes_in(
        &self,
        connection: &mut SqliteConnection,
        row: Option<&FileRow>,
        intents: bool,
    ) -> Result<Brakes, Error> {
        let breaker = self.breaker_in(connection).await?;
        let hold = match row {
            Some(row) => {
                let dataset = row.dataset_did().to_string();
                self.holds_in(connection).await?.into_iter().find(|hold| hold.covers(&row.lfn, &dataset))
            }
            None => None,
        };
        let mut spent = self.spent_in(connection).await?;
        if intents {
            let (files, bytes): (i64, i64) = one!(self, &mut *connection;
                "SELECT COUNT(*), CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM files
                WHERE state = 'releasing' AND release_ordered_at IS NULL")
            .await?;
            spent.files = spent.files.saturating_add(files.cast_unsigned());
            spent.bytes = spent.bytes.saturating_add(bytes.cast_unsigned());
        }
        Ok(Brakes { kill_switch: None, breaker, hold, spent })
    }

    /// Releases ordered within the last hour, the minute in which it began included. If the clock was set back, that
    /// hour is longer.
    async fn spent_in(&self, connection: &mut SqliteConnection) -> Result<Spent, Error> {
        let (files, bytes, first): (i64, i64, Option<UnixMillis>) = one!(self, connection;
            "SELECT CAST(COALESCE(SUM(files), 0) AS BIGINT), CAST(COALESCE(SUM(bytes), 0) AS BIGINT), MIN(minute) + $2
            FROM releases WHERE minute > $1 - $2"; now() - HOUR, MINUTE)
        .await?;
        Ok(Spent { files: files.cast_unsigned(), bytes: bytes.cast_unsigned(), first })
    }

    /// Counts a release that was ordered.
    pub(super) async fn spend(&self, tx: &mut SqliteConnection, bytes: u64) -> Result<(), Error> {
        run!(self, tx; "INSERT INTO releases (minute, files, bytes) VALUES ($1, 1, $2)
            ON CONFLICT (minute) DO UPDATE SET files = files + 1, bytes = bytes + excluded.bytes";
            now() / MINUTE * MINUTE, bytes.cast_signed())
        .await
        .map(|_| ())
    }

    /// Why the breaker is open, if it is.
    pub async fn breaker(&self) -> Result<Option<Trip>, Error> {
        let mut connection = self.reader.acquire().await.map_err(|e| self.database(e))?;
        self.breaker_in(&mut connection).await
    }

    pub(super) async fn breaker_in(&self, connection: &mut SqliteConnection) -> Result<Option<Trip>, Error> {
        let open: Option<(UnixMillis, String, String, Option<String>)> =
            first!(self, connection; "SELECT tripped_at, code, reason, lfn FROM breaker WHERE open = 1").await?;
        Ok(open.map(|(at, code, reason, lfn)| Trip { at, code, reason, lfn }))
    }

    /// What else came up since the breaker was opened, by time, if it is open.
    pub async fn further_contradictions(&self) -> Result<Vec<Trip>, Error> {
        let mut connection = self.reader.acquire().await.map_err(|e| self.database(e))?;
        self.further_in(&mut connection).await
    }

    pub(super) async fn further_in(&self, connection: &mut SqliteConnection) -> Result<Vec<Trip>, Error> {
        let found: Vec<(UnixMillis, String, String, String)> = all!(self, connection;
            "SELECT at, code, reason, lfn FROM further_contradictions
            WHERE trip = (SELECT id FROM breaker WHERE open = 1) ORDER BY at, lfn")
        .await?;
        let trip = |(at, code, reason, lfn): (UnixMillis, String, String, String)| Trip {
            at,
            code,
            reason,
            lfn: Some(lfn).filter(|lfn| !lfn.is_empty()),
        };
        Ok(found.into_iter().map(trip).collect())
    }

    /// Opens the breaker. What opened it first stays on record until it is reset, and what comes up meanwhile is kept
    /// beside it.
    pub async fn trip(&self, code: &str, reason: &str, lfn: Option<&str>) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        self.trip_in(&mut tx, code, reason, lfn).await?;
        self.commit(tx).await
    }

    pub(super) async fn trip_in(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        code: &str,
        reason: &str,
        lfn: Option<&str>,
    ) -> Result<(), Error> {
        let opened = run!(self, &mut **tx;
            "INSERT INTO breaker (open, tripped_at, code, reason, lfn) VALUES (1, $1, $2, $3, $4)
            ON CONFLICT (open) DO NOTHING"; now(), code, reason, lfn)
        .await?;
        if opened > 0 {
            return Ok(());
        }
        run!(self, &mut **tx; "INSERT INTO further_contradictions (trip, at, code, reason, lfn)
            SELECT id, $1, $2, $3, $4 FROM breaker WHERE open = 1 AND NOT (code = $2 AND COALESCE(lfn, '') = $4)
            ON CONFLICT (trip, code, lfn) DO NOTHING"; now(), code, reason, lfn.unwrap_or_default())
        .await
        .map(|_| ())
    }

    /// All holds: on everything, on datasets, on files.
    pub async fn holds(&self) -> Result<Vec<Hold>, Error> {
        let mut connection = self.reader.acquire().await.map_err(|e| self.database(e))?;
        self.holds_in(&mut connection).await
    }

    pub(super) async fn holds_in(&self, connection: &mut SqliteConnection) -> Result<Vec<Hold>, Error> {
        let rows: Vec<(String, String, UnixMillis, String, String)> =
            all!(self, connection; "SELECT kind, name, placed_at, placed_by, reason FROM holds ORDER BY kind, name")
                .await?;
        let hold = |(kind, name, since, by, reason): (String, String, UnixMillis, String, String)| {
            let target = match kind.as_str() {
                "file" => Target::File(name),
                "dataset" => Target::Dataset(name),
                // a kind that is not known keeps everything
                _ => Target::All,
            };
            Hold { target, since, by, reason }
        };
        Ok(rows.into_iter().map(hold).collect())
    }
}
