//! More triggers at once than Rucio's transfers serve in hours.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::e2e::acada::{fixture, pull_trigger, trigger_of, write};
use crate::e2e::shift::Shift;
use crate::e2e::stack::Stack;
use crate::testkit::number;

/// kB of memory that the daemon may have had at most, whatever the number of files.
const MEMORY: u64 = 160 << 10;
/// Files of one dataset.
const NIGHT: u64 = 5000;
/// Of Rucio's database, what has rows of a file or a dataset by its name; those that refer to others come first.
const TABLES: [&str; 7] =
    ["did_meta", "locks", "dataset_locks", "rules", "replicas", "updated_dids", "collection_replicas"];

/// Files that no test but this one sees: when the value goes, they are gone from the site and from Rucio's database, or its
/// daemons would be at work on them for hours.
struct Backlog {
    stack: Arc<Stack>,
    directory: PathBuf,
}

impl Backlog {
    fn new(stack: &Arc<Stack>) -> Self {
        let backlog = Self { stack: Arc::clone(stack), directory: stack.acada_base().join("dl0/LSTN-BACKLOG") };
        backlog.forget();
        backlog
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("events/2026/01/{:02}/TEL001_CHUNK{number:06}.fits.fz", number / NIGHT + 1))
    }

    /// How many rows of a table are these files', and as they must be.
    fn rows(&self, table: &str, condition: &str) -> u64 {
        let files = format!("name LIKE '{}/%.fits.fz'", self.stack.lfn(&self.directory));
        self.stack.database(&format!("UPDATE {table} SET updated_at = updated_at WHERE {files} AND {condition}"))
    }

    fn forget(&self) {
        let lfns = self.stack.lfn(&self.directory);
        for table in TABLES {
            self.stack.database(&format!("DELETE FROM {table} WHERE name LIKE '{lfns}%'"));
        }
        self.stack.database(&format!("DELETE FROM contents WHERE child_name LIKE '{lfns}%'"));
        self.stack.database(&format!("DELETE FROM dids WHERE name LIKE '{lfns}%'"));
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        // a test that failed has its own reason to tell
        let _ = catch_unwind(AssertUnwindSafe(|| self.forget()));
    }
}

/// `DL0_INGEST_REAL_BACKLOG` says how many. Rucio's daemons rest: of what is registered nothing is copied.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_triggers_is_registered_in_the_real_rucio_within_bounded_memory() {
    let files = number("DL0_INGEST_REAL_BACKLOG", 500);
    let stack = Arc::new(Stack::find());
    let resting = tokio::task::block_in_place(|| stack.without("daemons"));
    let backlog = tokio::task::block_in_place(|| Backlog::new(&stack));
    let patient =
        |text: String| text.replace("replicate: {poll: 500ms, poll_max: 2s}", "replicate: {poll: 1h, poll_max: 1h}");
    let mut shift = Shift::with_configuration(patient).await;
    let content = fixture("CAL");
    let begun = Instant::now();
    tokio::task::block_in_place(|| {
        for path in (0..files).map(|number| backlog.path(number)) {
            write(&path, &content);
            pull_trigger(&path);
        }
    });
    let delivered = begun.elapsed();
    let limit = Duration::from_mins(2) + Duration::from_millis(50) * u32::try_from(files).unwrap();
    let registered = format!("dl0_ingest_backlog_files{{state=\"registered\"}} {files}");
    shift.until_within(limit, "all are registered", |shift| shift.daemon.measures(&registered)).await;
    let triggered = |number| trigger_of(&backlog.path(number)).is_symlink();
    shift.until_within(limit, "no trigger is left", |_| !(0..files).any(triggered)).await;
    let (took, peak) = (begun.elapsed(), shift.daemon.peak_memory());
    println!("{files} files delivered in {delivered:.1?}, registered after {took:.1?}; at most {peak} kB");
    assert!((0..files).all(|number| backlog.path(number).is_file()));
    assert!(peak < MEMORY, "{peak} kB");
    // each with its rule and the lock of that, its replica and its metadata
    for (table, condition) in
        [("did_meta", "true"), ("rules", "expires_at IS NULL"), ("locks", "state = 'O'"), ("replicas", "state = 'A'")]
    {
        assert_eq!(tokio::task::block_in_place(|| backlog.rows(table, condition)), files, "{table}");
    }
    shift.end_with_all_on_site().await;
    tokio::task::block_in_place(|| {
        drop(backlog);
        drop(resting);
    });
}
