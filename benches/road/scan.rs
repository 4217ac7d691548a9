//! What scans of a large and quiet interface directory cost.

use std::fs::{File, create_dir_all};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::daemon::Daemon;
use crate::row;
use crate::stack::Stack;

const DIRECTORIES: usize = 1000;
const FILES: usize = 100;
/// Longer than it takes until a directory's time stamp is trusted.
const SETTLE: Duration = Duration::from_secs(6);
const WINDOW: Duration = Duration::from_secs(20);

pub(crate) async fn measure(stack: &Stack) {
    let data = tempfile::tempdir().unwrap();
    for number in 0..DIRECTORIES {
        let day = format!("ctao/acada/dl0/TEL-{:02}/events/{:03}", number / 100, number % 100);
        let directory = data.path().join(day);
        create_dir_all(&directory).unwrap();
        for chunk in 0..FILES {
            File::create(directory.join(format!("CHUNK{chunk:03}.fits.fz"))).unwrap();
        }
    }
    let mut daemon = Daemon::start(stack, data.path(), "intake: {scan_interval: 1s}");
    daemon.ready().await;
    while daemon.metrics().await.sum("dl0_ingest_scan_duration_seconds_count") < 1.0 {
        sleep(Duration::from_millis(50)).await;
    }
    let first = daemon.metrics().await.sum("dl0_ingest_scan_duration_seconds_sum");
    sleep(SETTLE).await;
    let (before, cpu_before, began) = (daemon.metrics().await, daemon.cpu_seconds(), Instant::now());
    sleep(WINDOW).await;
    let (after, cpu_after, window) = (daemon.metrics().await, daemon.cpu_seconds(), began.elapsed().as_secs_f64());
    daemon.stop();
    let grown = |begin: &str| after.sum(begin) - before.sum(begin);
    let scans = grown("dl0_ingest_scan_duration_seconds_count");
    row("scan", "old directories, files in them", format!("{DIRECTORIES}, {}", DIRECTORIES * FILES));
    row("", "first scan, which reads them and sets watches", format!("{:.0} ms", 1e3 * first));
    let idle = 1e3 * grown("dl0_ingest_scan_duration_seconds_sum") / scans;
    row("", "idle scan, mean", format!("{idle:.1} ms ({scans} scans, one a second)"));
    let read = grown("dl0_ingest_scan_directories_total{directories=\"read\"") / scans;
    row("", "directories read by an idle scan", format!("{read:.1}"));
    let share = 100.0 * (cpu_after - cpu_before) / window;
    row("", "processor of the whole idle daemon", format!("{share:.1} % of one core"));
}
