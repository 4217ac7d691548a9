//! How fast a backlog of small files is registered: replica, metadata and the rule that protects the on-site copy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::daemon::{Daemon, Metrics};
use crate::stack::{Night, Stack};
use crate::{Arguments, row};

const REQUESTS: &str = "dl0_ingest_rucio_requests_total{endpoint=\"";
const SECONDS: &str = "dl0_ingest_rucio_request_duration_seconds_sum{endpoint=\"";
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
    let mut settings = format!("register: {{{register}}}");
    if !arguments.whole_road {
        // rule A is placed, and looking for its copies is put off
        settings.push_str("\nreplicate: {poll: 1h, poll_max: 1h}");
    }
    let mut daemon = Daemon::start(stack, &stack.onsite().1.directory, &settings);
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
    let moments = "SELECT (SELECT MIN(at) FROM events), (SELECT MAX(at) FROM events WHERE to_state = 'registered')";
    let (first, last): (i64, i64) = sqlx::query_as(moments).fetch_one(&ledger).await.unwrap();
    ledger.close().await;
    daemon.stop();

    let what = format!("{files} of {} bytes in {} datasets", night.bytes(), arguments.datasets);
    row("registration", "backlog", what);
    let rate = files as f64 * 1e3 / (last - first) as f64;
    row("", "files/s from the first discovered to the last registered", format!("{rate:.0}"));
    let overall = files as f64 / whole;
    row("", "files/s from the start of the process to the last", format!("{overall:.0} ({whole:.1} s)"));
    let requests = metrics.sum(REQUESTS);
    let per_file = requests / files as f64;
    row("", "HTTP requests per file, with login and rule A", format!("{per_file:.3} ({requests} in all)"));
    for (endpoint, count) in by_endpoint(&metrics, REQUESTS) {
        let seconds = by_endpoint(&metrics, SECONDS).get(endpoint).copied().unwrap_or_default();
        row("", &format!("  {endpoint}: requests, mean time"), format!("{count}, {:.0} ms", 1e3 * seconds / count));
    }
    row("", "processor time of the daemon per file", format!("{:.2} ms", 1e3 * cpu / files as f64));
}

/// Sums of these series, whose names end where the endpoint begins.
fn by_endpoint<'m>(metrics: &'m Metrics, begin: &str) -> BTreeMap<&'m str, f64> {
    let mut sums = BTreeMap::<&str, f64>::new();
    for (labels, value) in metrics.series(begin) {
        *sums.entry(labels.split('"').next().unwrap_or_default()).or_default() += value;
    }
    sums
}
