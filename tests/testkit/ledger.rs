//! The ledger of a site, read beside the daemon as an operator would, waited for, and bent.

use std::path::Path;
use std::time::{Duration, Instant};

use dl0_ingest::custody::State;
use dl0_ingest::ledger::{EventRow, FileRow, Ledger, Settlement, WrongTrigger};
use dl0_ingest::names::Did;
use sqlx::Connection as _;

use super::deliveries::Delivery;
use super::site::{LOOK, PATIENCE, Site};

/// What has an LFN.
pub(crate) trait Named {
    /// The LFN.
    fn lfn(&self) -> String;
}

impl Named for str {
    fn lfn(&self) -> String {
        self.to_owned()
    }
}

impl Named for String {
    fn lfn(&self) -> String {
        self.clone()
    }
}

impl<T: Named + ?Sized> Named for &T {
    fn lfn(&self) -> String {
        T::lfn(self)
    }
}

impl Named for Delivery {
    fn lfn(&self) -> String {
        Self::lfn(self)
    }
}

impl Site {
    /// The ledger as an operator's command opens it, beside the running daemon.
    pub(crate) async fn operator(&self) -> Ledger {
        Ledger::open_for_operator(&self.ledger_file()).await.unwrap()
    }

    /// What the ledger says of a file, if there is a ledger.
    pub(crate) async fn row(&self, file: &(impl Named + ?Sized)) -> Option<FileRow> {
        let ledger = Ledger::open_read_only(&self.ledger_file()).await.ok()?;
        let row = ledger.by_lfn(&file.lfn()).await.ok().flatten();
        ledger.close().await;
        row
    }

    /// Waits until a file is in a state; tells where it is stuck otherwise.
    pub(crate) async fn until_state(&self, file: &(impl Named + ?Sized), state: State) -> FileRow {
        self.until_row(file, |row| row.state == state).await
    }

    /// Waits until the ledger says something of a file.
    pub(crate) async fn until_row(
        &self,
        file: &(impl Named + ?Sized),
        condition: impl Fn(&FileRow) -> bool,
    ) -> FileRow {
        self.until_row_within(self.patience(), file, condition).await
    }

    /// The same for those that take longer.
    pub(crate) async fn until_row_within(
        &self,
        patience: Duration,
        file: &(impl Named + ?Sized),
        condition: impl Fn(&FileRow) -> bool,
    ) -> FileRow {
        let started = Instant::now();
        loop {
            let row = self.row(file).await;
            if let Some(row) = row.clone().filter(&condition) {
                return row;
            }
            if started.elapsed() > patience {
                let words = self.last_words().await;
                panic!("{} is stuck: {row:#?}\n{words}", file.lfn());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The datasets' state of settling, waited for.
    pub(crate) async fn until_settlement(&self, dataset: &Did, condition: impl Fn(&Settlement) -> bool) -> Settlement {
        let started = Instant::now();
        loop {
            let ledger = Ledger::open_read_only(&self.ledger_file()).await.unwrap();
            let known = ledger.settlement(dataset).await.unwrap();
            ledger.close().await;
            if condition(&known) {
                return known;
            }
            assert!(started.elapsed() < PATIENCE, "{dataset} stays as it is: {known:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What happened to a file so far.
    pub(crate) async fn events(&self, row: &FileRow) -> Vec<EventRow> {
        let ledger = Ledger::open_read_only(&self.ledger_file()).await.unwrap();
        let events = ledger.events(row).await.unwrap();
        ledger.close().await;
        events
    }

    /// The wrong triggers on record, by path.
    pub(crate) async fn wrong_triggers(&self) -> Vec<WrongTrigger> {
        let Ok(ledger) = Ledger::open_read_only(&self.ledger_file()).await else { return Vec::new() };
        let wrong = ledger.wrong_triggers().await.unwrap_or_default();
        ledger.close().await;
        wrong
    }

    /// Waits until the wrong triggers on record are as expected.
    pub(crate) async fn until_wrong(&self, condition: impl Fn(&[WrongTrigger]) -> bool) {
        let started = Instant::now();
        loop {
            let wrong = self.wrong_triggers().await;
            if condition(&wrong) {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "the wrong triggers stay as they are: {wrong:#?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Makes a file's state so much older. The daemon must not run.
    pub(crate) async fn age(&self, file: &(impl Named + ?Sized), by: Duration) {
        let url = format!("sqlite://{}", self.ledger_file().display());
        let mut ledger = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let aged = sqlx::query("UPDATE files SET state_since = state_since - $1, next_attempt = 0 WHERE lfn = $2")
            .bind(i64::try_from(by.as_millis()).unwrap())
            .bind(file.lfn())
            .execute(&mut ledger)
            .await
            .unwrap();
        assert_eq!(aged.rows_affected(), 1);
        ledger.close().await.unwrap();
    }

    /// Makes the order of a file's release so much older. The daemon must not run.
    pub(crate) async fn age_order(&self, file: &(impl Named + ?Sized), by: Duration) {
        let url = format!("sqlite://{}", self.ledger_file().display());
        let mut ledger = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let aged = sqlx::query(
            "UPDATE files SET release_ordered_at = release_ordered_at - $1, next_attempt = 0
             WHERE lfn = $2 AND release_ordered_at IS NOT NULL",
        )
        .bind(i64::try_from(by.as_millis()).unwrap())
        .bind(file.lfn());
        assert_eq!(aged.execute(&mut ledger).await.unwrap().rows_affected(), 1);
        ledger.close().await.unwrap();
    }

    /// Takes the evidence of a file out of the ledger, or puts other evidence there. Without a daemon.
    pub(crate) async fn forge_evidence(&self, lfn: &str, evidence: Option<&str>) {
        let url = format!("sqlite://{}", self.ledger_file().display());
        let mut ledger = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let forge = sqlx::query("UPDATE files SET last_evidence = $2, next_attempt = 0 WHERE lfn = $1");
        let forge = forge.bind(lfn).bind(evidence);
        assert_eq!(forge.execute(&mut ledger).await.unwrap().rows_affected(), 1);
        ledger.close().await.unwrap();
    }

    /// Has the ledger know of a second delivery, which lies there now, that is not compared yet. Without a daemon.
    pub(crate) async fn remember_redelivery(&self, row: &FileRow, found: &Path) {
        let stat = rustix::fs::stat(found).unwrap();
        let path = format!("sqlite://{}", self.ledger_file().display());
        let mut ledger = sqlx::SqliteConnection::connect(&path).await.unwrap();
        let insert = "INSERT INTO redeliveries (file_id, bytes, mtime_ns, inode, seen_at, next_attempt)
                      VALUES ($1, $2, $3, $4, 0, 0)";
        let mtime_ns = stat.st_mtime * 1_000_000_000 + i64::try_from(stat.st_mtime_nsec).unwrap();
        let insert = sqlx::query(insert)
            .bind(row.id)
            .bind(stat.st_size)
            .bind(mtime_ns)
            .bind(i64::try_from(stat.st_ino).unwrap());
        insert.execute(&mut ledger).await.unwrap();
        ledger.close().await.unwrap();
    }
}
