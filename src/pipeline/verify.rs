//! Discovered → Verified: one read of each file, and its verdict.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::custody::State;
use crate::engine::{Context, STILL_WRITING, Stage, StageError, after_failures, blocking, set_aside};
use crate::fixity::Report;
use crate::ledger::{FileRow, Postpone, Verified};
use crate::reading::{Reading, contents, read_once};

/// Small files share a transaction, for no longer than this.
const COMMIT: Duration = Duration::from_secs(1);

/// Reads files and judges them.
pub struct Verify {
    threads: Arc<Semaphore>,
}

impl Verify {
    /// At most `threads` files are read at the same time.
    pub fn new(context: &Context) -> Self {
        Self { threads: Arc::new(Semaphore::new(context.config().verify.threads)) }
    }
}

/// Reads one file when a thread is free for it.
async fn read(context: Context, threads: Arc<Semaphore>, mut row: FileRow) -> Result<(FileRow, Reading), StageError> {
    let name = row.name()?;
    let permit = threads.acquire_owned().await;
    let (data, options, expected) = (context.data.clone(), context.reading_options(), row.identity());
    let (changed, reading) = blocking(move || {
        let _permit = permit;
        // before the first byte: what is changed while it is read is read again later
        let changed = data.changed_ns(name.relative());
        (changed, read_once(&data, &name, expected, &options))
    })
    .await;
    row.changed_ns = changed.unwrap_or_default();
    if let Reading::Read(report) = &reading {
        context.metrics.bytes_read(report.fixity.bytes);
    }
    Ok((row, reading))
}

impl Stage for Verify {
    const NAME: &'static str = "verify";
    const STATE: State = State::Discovered;
    const NEEDS_RUCIO: bool = false;

    fn batch(&self, config: &Config) -> usize {
        // small files come by the hundred and share a transaction; large ones are limited by the threads
        32 * config.verify.threads
    }

    fn parallel(&self, _config: &Config) -> usize {
        2
    }

    async fn work(&self, context: &Context, rows: Vec<FileRow>) -> Result<(), StageError> {
        let mut sound = Vec::new();
        let mut committed = Instant::now();
        let mut readings = JoinSet::new();
        for row in rows {
            if row.invalid_path.is_some() {
                // rejected before the last stop, not yet set aside
                if let Err(error) = set_aside::resume(context, &row).await {
                    trouble(context, &row, error.to_string()).await?;
                }
                continue;
            }
            readings.spawn(read(context.clone(), Arc::clone(&self.threads), row));
        }
        while let Some(joined) = readings.join_next().await {
            let (row, reading) = joined.map_err(|_| StageError::Defect)??;
            match settle(context, &row, reading).await {
                Ok(Some(report)) => {
                    sound.push(verified(row, report));
                    // large files take hours together; what was read is not read again after a stop
                    if committed.elapsed() > COMMIT {
                        commit(context, &std::mem::take(&mut sound)).await?;
                        committed = Instant::now();
                    }
                }
                Ok(None) => {}
                // one file that cannot be set aside keeps no other from its road
                Err(error) => trouble(context, &row, error.to_string()).await?,
            }
        }
        commit(context, &sound).await
    }
}

/// What was read and found sound is on record, and goes on.
async fn commit(context: &Context, sound: &[Verified]) -> Result<(), StageError> {
    if !sound.is_empty() && context.ledger.verified(sound).await? > 0 {
        context.wake(State::Verified);
    }
    Ok(())
}

/// Commits what became of one file, unless it is sound: those are committed together.
async fn settle(context: &Context, row: &FileRow, reading: Reading) -> Result<Option<Report>, StageError> {
    match reading {
        Reading::Read(report) => {
            if report.accepted() {
                tracing::info!(lfn = row.lfn, bytes = row.bytes, "file read and verified");
                warn(row, &report);
                return Ok(Some(*report));
            }
            set_aside::reject(context, row, &report).await?;
        }
        Reading::Changed(found) => {
            tracing::debug!(lfn = row.lfn, "file changed since it was delivered, reading it again");
            let why = "it changed since it was delivered, somebody may still be writing it";
            context.ledger.rediscovered(row, found, why, STILL_WRITING).await?;
        }
        Reading::Missing => {
            trouble(context, row, "its data file is gone; it is taken when it comes back".to_owned()).await?;
        }
        Reading::Failed(reason) => trouble(context, row, reason).await?,
        Reading::Cancelled => {}
    }
    Ok(None)
}

/// A file's own trouble: said when it is new, tried again later and later.
async fn trouble(context: &Context, row: &FileRow, reason: String) -> Result<(), StageError> {
    let is_news = row.waits_for.as_deref() != Some(&reason);
    if is_news && context.memory.troubles.is_first("a file cannot be verified", &row.lfn) {
        tracing::error!(lfn = row.lfn, stage = Verify::NAME, "{reason}; trying again");
    }
    later(context, row, reason).await
}

async fn later(context: &Context, row: &FileRow, waits_for: String) -> Result<(), StageError> {
    let delay = after_failures(&context.config().retry, row.attempts);
    Ok(context.ledger.postpone(&[Postpone { id: row.id, delay, waits_for, failed: true }]).await?)
}

fn warn(row: &FileRow, report: &Report) {
    for warning in &report.warnings {
        tracing::warn!(lfn = row.lfn, code = warning.code, "{}", warning.message);
    }
}

fn verified(row: FileRow, report: Report) -> Verified {
    let contents = contents(&report);
    let metadata = serde_json::Value::Object(report.metadata.unwrap_or_default()).to_string();
    Verified { row, contents, metadata, valid_fits_checksum: report.valid_fits_checksum }
}
