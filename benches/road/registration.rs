//! How fast a backlog of small files is registered: replica, metadata and the rule that protects the on-site copy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::daemon::{Daemon, Metrics};
use crate::rucio::Rucio;
use crate::stack::{Night, Stack};
use crate::{Arguments, row};

const REQUESTS: &str = "dl0_ingest_rucio_requests_total{endpoint=\"";
const SECONDS: &str = "dl0_ingest_rucio_request_duration_seconds_sum{endpoint=\"";
/// A backlog that stands still for so long is not going to move.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) async fn measure(stack: &Stack, arguments: &Arguments) {
    if !arguments.rucio_daemons {
        stack.ctl("stop", "daemons");
    }
    let night = Night::new(stack);
    let metadata = night.metadata();
    let before = bare(stack, arguments, &metadata).await;
    let flat = Layout {
        files: arguments.files,
        datasets: arguments.datasets,
        lfn: |night, dataset, number| night.lfn(dataset, number),
    };
    let rate = backlog(stack, arguments, &flat).await;
    // what a few nights of three telescopes look like: most requests are about datasets and containers
    backlog(
        stack,
        arguments,
        &Layout { files: 1500, datasets: 30, lfn: |night, dataset, number| night.lfn_in_tree(dataset, number) },
    )
    .await;
    let after = bare(stack, arguments, &metadata).await;
    let what = "files/s of a bare client that makes only the same two calls, before and after";
    row("", what, format!("{before:.0}, {after:.0}"));
    row("", "registration, of what Rucio can take here", format!("{:.0} %", 200.0 * rate / (before + after)));
    if !arguments.rucio_daemons {
        stack.ctl("start", "daemons");
    }
}

/// How a backlog lies on disk.
struct Layout {
    files: usize,
    datasets: usize,
    lfn: fn(&Night<'_>, usize, usize) -> String,
}

/// The daemon and a backlog: files/s.
async fn backlog(stack: &Stack, arguments: &Arguments, layout: &Layout) -> f64 {
    let files = layout.files;
    let night = Night::new(stack);
    for number in 0..files {
        let lfn = (layout.lfn)(&night, number % layout.datasets, number);
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
        // the first-copy rule is placed, and looking for its copies is put off
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
    let last_to = "SELECT (SELECT MIN(at) FROM events), (SELECT MAX(at) FROM events WHERE to_state = $1)";
    let (first, verified): (i64, i64) = sqlx::query_as(last_to).bind("verified").fetch_one(&ledger).await.unwrap();
    let (_, last): (i64, i64) = sqlx::query_as(last_to).bind("registered").fetch_one(&ledger).await.unwrap();
    ledger.close().await;
    daemon.stop();

    let what = format!("{files} of {} bytes in {} datasets", night.bytes(), layout.datasets);
    row("registration", "backlog", what);
    let background = if arguments.rucio_daemons { "at work on the same cores" } else { "at rest" };
    row("", "Rucio's daemons", background);
    let rate_to = |last: i64| files as f64 * 1e3 / (last - first) as f64;
    row("", "files/s from the first discovered to the last verified", format!("{:.0}", rate_to(verified)));
    let rate = rate_to(last);
    row("", "files/s from the first discovered to the last registered", format!("{rate:.0}"));
    let overall = files as f64 / whole;
    row("", "files/s from the start of the process to the last", format!("{overall:.0} ({whole:.1} s)"));
    let requests = metrics.sum(REQUESTS);
    let per_file = requests / files as f64;
    row("", "HTTP requests per file, with login and first-copy rule", format!("{per_file:.3} ({requests} in all)"));
    for (endpoint, count) in by_endpoint(&metrics, REQUESTS) {
        let seconds = by_endpoint(&metrics, SECONDS).get(endpoint).copied().unwrap_or_default();
        row("", &format!("  {endpoint}: requests, mean time"), format!("{count}, {:.0} ms", 1e3 * seconds / count));
    }
    row("", "processor time of the daemon per file", format!("{:.2} ms", 1e3 * cpu / files as f64));
    rate
}

/// The alternative that does nothing else: files/s of as many clients as the daemon has calls under way, with batches of
/// the same size, no file behind the names, no ledger and no questions first.
async fn bare(stack: &Stack, arguments: &Arguments, metadata: &Value) -> f64 {
    let default = dl0_ingest::config::Register::default();
    let (batch, clients) = (arguments.batch.unwrap_or(default.batch), arguments.parallel.unwrap_or(default.parallel));
    let night = Night::new(stack);
    let (rse, rucio) = (stack.onsite().0, Rucio::login(stack).await);
    let client = async |number: usize| {
        let names: Vec<String> = (0..arguments.files / clients).map(|file| night.lfn(900 + number, file)).collect();
        let dataset = format!("{}/bare", night.lfn(900 + number, 0));
        rucio.add_dataset(&dataset).await;
        for names in names.chunks(batch) {
            rucio.register(rse, &dataset, names, metadata).await;
        }
    };
    let started = Instant::now();
    futures_util::future::join_all((0..clients).map(client)).await;
    (arguments.files / clients * clients) as f64 / started.elapsed().as_secs_f64()
}

/// Sums of these series, whose names end where the endpoint begins.
fn by_endpoint<'m>(metrics: &'m Metrics, begin: &str) -> BTreeMap<&'m str, f64> {
    let mut sums = BTreeMap::<&str, f64>::new();
    for (labels, value) in metrics.series(begin) {
        *sums.entry(labels.split('"').next().unwrap_or_default()).or_default() += value;
    }
    sums
}
