//! How fast a backlog of small files is registered: replica, metadata and the rule that protects the on-site copy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::daemon::Daemon;
use crate::stack::{Night, Stack};
use crate::{Arguments, row};

/// A backlog that stands still for so long is not going to move.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) async fn measure(stack: &Stack, arguments: &Arguments) {
    let files = arguments.files;
    let night = Night::new(stack);
    for number in 0..files {
        let lfn = night.lfn(number % arguments.datasets, number);
        night.write(&lfn);
        night.trigger(&lfn);
    }
    let mut register = String::new();
    for (key, value) in [("batch", arguments.batch), ("parallel", arguments.parallel)] {
        if let Some(value) = value {
            write!(register, "{key}: {value}, ").unwrap();
        }
    }
    let started = Instant::now();
    let mut daemon = Daemon::start(stack, &stack.onsite().1.directory, &format!("register: {{{register}}}"));
    daemon.ready().await;
    let ledger = daemon.ledger().await;
    let (mut registered, mut moved) = (0, Instant::now());
    while registered < files {
        assert!(moved.elapsed() < PATIENCE, "{registered} of {files} are registered:\n{}", daemon.log());
        sleep(Duration::from_millis(100)).await;
        let count = "SELECT COUNT(*) FROM events WHERE to_state = 'registered'";
        let now: i64 = sqlx::query_scalar(count).fetch_one(&ledger).await.unwrap();
        let now = usize::try_from(now).unwrap();
        if now > registered {
            (registered, moved) = (now, Instant::now());
        }
    }
    let whole = started.elapsed().as_secs_f64();
    let (metrics, cpu) = (daemon.metrics().await, daemon.cpu_seconds());
    let commits = "SELECT at, COUNT(*) FROM events WHERE to_state = 'registered' GROUP BY at ORDER BY at";
    let commits: Vec<(i64, i64)> = sqlx::query_as(commits).fetch_all(&ledger).await.unwrap();
    ledger.close().await;
    daemon.stop();

    let (first, last) = (commits[0], commits[commits.len() - 1]);
    // the files of the first commit were registered before the clock started
    let steady = (files as f64 - first.1 as f64) * 1e3 / (last.0 - first.0) as f64;
    let what = format!("{files} of {} bytes in {} datasets", night.bytes(), arguments.datasets);
    row("registration", "backlog", what);
    row("", "files/s from the first registered to the last", format!("{steady:.0}"));
    let overall = files as f64 / whole;
    row("", "files/s from the start of the process to the last", format!("{overall:.0} ({whole:.1} s)"));
    let requests = metrics.sum("dl0_ingest_rucio_requests_total{");
    row(
        "",
        "HTTP requests per file, later stages included",
        format!("{:.3} ({requests} in all)", requests / files as f64),
    );
    row("", "", by_endpoint(&metrics.series("dl0_ingest_rucio_requests_total{endpoint=\"")));
    row("", "processor time of the daemon per file", format!("{:.2} ms", 1e3 * cpu / files as f64));
}

/// Counts as `endpoint count, …`; a series is `endpoint",outcome="…"}`.
fn by_endpoint(series: &[(&str, f64)]) -> String {
    let mut counts = BTreeMap::<&str, f64>::new();
    for (labels, value) in series {
        *counts.entry(labels.split('"').next().unwrap_or_default()).or_default() += value;
    }
    counts.iter().map(|(endpoint, count)| format!("{endpoint} {count}")).collect::<Vec<_>>().join(", ")
}
