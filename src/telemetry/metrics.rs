//! The metrics of one daemon, in `OpenMetrics` text.
//!
//! Labels take their values from closed sets known at compile time: their type is `&'static str`, so a path or an LFN
//! cannot become one. Moments are gauges of Unix time, not ages: an age stands still when the daemon does.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::process::Process;

/// Media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The outcome of a stage's turn that counts as success for `…_stage_last_success_timestamp_seconds`.
pub const DONE: &str = "done";

/// The modes of deletion, for [`Metrics::deletion_mode`].
const DELETION_MODES: [&str; 3] = ["off", "dry-run", "on"];

/// The promises, for [`Metrics::invariant_violation`].
const INVARIANTS: [&str; 8] = ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8"];

/// Requests to a server: milliseconds to a minute.
const REQUEST_SECONDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 20.0, 60.0];
/// From a trigger on disk to the ledger: the promise is 100 ms, the scan takes seconds.
const LATENCY_SECONDS: [f64; 9] = [0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 20.0, 120.0];
/// Scans of the tree.
const SCAN_SECONDS: [f64; 8] = [0.001, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0];

/// Each stage with the buckets that fit one turn of its work, in seconds.
const STAGES: [(&str, &[f64]); 6] = [
    ("verify", &[0.005, 0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0]),
    ("register", &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0]),
    ("replicate", &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0]),
    ("confirm", &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0]),
    ("release", &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0]),
    ("departure", &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0]),
];

type Number = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageOutcome {
    stage: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verdict {
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    endpoint: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Endpoint {
    endpoint: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Directories {
    directories: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Mode {
    mode: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Invariant {
    invariant: &'static str,
}

/// One histogram per stage, each with buckets of its own, under one name.
#[derive(Clone, Debug)]
struct StageSeconds(Vec<(Stage, Histogram)>);

impl StageSeconds {
    fn new() -> Self {
        let of = |(stage, buckets): &(&'static str, &[f64])| (Stage { stage }, Histogram::new(buckets.iter().copied()));
        Self(STAGES.iter().map(of).collect())
    }

    fn observe(&self, stage: &'static str, seconds: f64) {
        let found = self.0.iter().find(|(label, _)| label.stage == stage);
        debug_assert!(found.is_some(), "the stage {stage} has no buckets");
        if let Some((_, histogram)) = found {
            histogram.observe(seconds);
        }
    }
}

impl EncodeMetric for StageSeconds {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        self.0.iter().try_for_each(|(label, histogram)| histogram.encode(encoder.encode_family(label)?))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// A moment in Unix time; not shown before it is known, so that no alert takes 1970 for an expiry.
#[derive(Clone, Debug, Default)]
struct Moment(Number);

impl EncodeMetric for Moment {
    fn encode(&self, encoder: MetricEncoder) -> fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        self.0.metric_type()
    }

    fn is_empty(&self) -> bool {
        self.0.get() == 0.0
    }
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// All metrics of one daemon; made once, shared by reference.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    stage_taken: Family<Stage, Counter>,
    stage_finished: Family<StageOutcome, Counter>,
    stage_in_progress: Family<Stage, Gauge>,
    stage_seconds: StageSeconds,
    stage_last_success: Family<Stage, Number>,
    backlog_files: Family<State, Gauge>,
    backlog_bytes: Family<State, Gauge>,
    backlog_oldest: Family<State, Number>,
    bytes_read: Counter,
    triggers_judged: Family<Verdict, Counter>,
    scan_seconds: Histogram,
    scanned: Family<Directories, Counter>,
    intake_latency: Histogram,
    rucio_requests: Family<Request, Counter>,
    rucio_seconds: Histograms<Endpoint>,
    rucio_up: Gauge,
    token_expiry: Moment,
    storage_requests: Family<Outcome, Counter>,
    storage_seconds: Histogram,
    released_files: Counter,
    released_bytes: Counter,
    invariant_violations: Family<Invariant, Counter>,
    deletion_mode: Family<Mode, Gauge>,
    minimum_copies: Gauge,
    reload_successful: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All series of known labels exist from the start, so that a rate over the first minutes is right.
    #[allow(clippy::too_many_lines)] // one statement per metric: its name, its help, its unit
    pub fn new() -> Self {
        let mut whole = Registry::default();
        whole.register_collector(Box::new(Process::new()));
        let registry = whole.sub_registry_with_prefix("dl0_ingest");
        registry.register("build", "What is running", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let seconds: fn() -> Histogram = || Histogram::new(REQUEST_SECONDS);
        let metrics = Self {
            stage_taken: put(registry, "stage_taken_files", "Files a stage has taken up", Family::default()),
            stage_finished: put(
                registry,
                "stage_finished_files",
                "Files a stage has put down, by the outcome of its turn",
                Family::default(),
            ),
            stage_in_progress: put(
                registry,
                "stage_in_progress_files",
                "Files a stage is at work on",
                Family::default(),
            ),
            stage_seconds: put_unit(
                registry,
                "stage_duration",
                "Time of one turn of a stage, of a file or a batch",
                Unit::Seconds,
                StageSeconds::new(),
            ),
            stage_last_success: put_unit(
                registry,
                "stage_last_success_timestamp",
                "When a stage last ended a turn without a failure",
                Unit::Seconds,
                Family::default(),
            ),
            backlog_files: put(registry, "backlog_files", "Files in a state", Family::default()),
            backlog_bytes: put_unit(
                registry,
                "backlog",
                "Size of the files in a state",
                Unit::Bytes,
                Family::default(),
            ),
            backlog_oldest: put_unit(
                registry,
                "backlog_oldest_timestamp",
                "Since when the oldest file has been in a state; absent when there is none",
                Unit::Seconds,
                Family::default(),
            ),
            bytes_read: put_unit(registry, "read", "Bytes read from data files", Unit::Bytes, Counter::default()),
            triggers_judged: put(registry, "triggers_judged", "Triggers judged, by verdict", Family::default()),
            scan_seconds: put_unit(
                registry,
                "scan_duration",
                "Time of one scan of the interface directory",
                Unit::Seconds,
                Histogram::new(SCAN_SECONDS),
            ),
            scanned: put(
                registry,
                "scan_directories",
                "Directories met by scans: read, or skipped as unchanged",
                Family::default(),
            ),
            intake_latency: put_unit(
                registry,
                "intake_latency",
                "Time from the making of a trigger to its record in the ledger",
                Unit::Seconds,
                Histogram::new(LATENCY_SECONDS),
            ),
            rucio_requests: put(
                registry,
                "rucio_requests",
                "Requests to Rucio, repetitions included",
                Family::default(),
            ),
            rucio_seconds: put_unit(
                registry,
                "rucio_request_duration",
                "Time of a request to Rucio",
                Unit::Seconds,
                Family::new_with_constructor(seconds),
            ),
            rucio_up: put(registry, "rucio_up", "1 while Rucio answers, 0 while files wait for it", Gauge::default()),
            token_expiry: put_unit(
                registry,
                "rucio_token_expiry_timestamp",
                "When the token for Rucio expires",
                Unit::Seconds,
                Moment::default(),
            ),
            storage_requests: put(
                registry,
                "storage_requests",
                "Questions to the data centres' storages",
                Family::default(),
            ),
            storage_seconds: put_unit(
                registry,
                "storage_request_duration",
                "Time of a question to a storage",
                Unit::Seconds,
                seconds(),
            ),
            released_files: put(
                registry,
                "released_files",
                "Files whose on-site copy is gone for a proven reason",
                Counter::default(),
            ),
            released_bytes: put_unit(
                registry,
                "released",
                "Size of the released files",
                Unit::Bytes,
                Counter::default(),
            ),
            invariant_violations: put(
                registry,
                "invariant_violations",
                "Broken promises; anything but 0 is a defect",
                Family::default(),
            ),
            deletion_mode: put(registry, "deletion_mode", "1 for the configured mode of deletion", Family::default()),
            minimum_copies: put(
                registry,
                "minimum_copies",
                "Proven off-site copies that a release needs",
                Gauge::default(),
            ),
            reload_successful: put(
                registry,
                "config_last_reload_successful",
                "1 if the configuration was fine when last read",
                Gauge::default(),
            ),
            registry: whole,
        };
        for (stage, _) in STAGES {
            drop(metrics.stage_taken.get_or_create(&Stage { stage }));
            drop(metrics.stage_in_progress.get_or_create(&Stage { stage }));
            drop(metrics.stage_finished.get_or_create(&StageOutcome { stage, outcome: DONE }));
        }
        for invariant in INVARIANTS {
            drop(metrics.invariant_violations.get_or_create(&Invariant { invariant }));
        }
        metrics.reload_successful.set(1);
        metrics
    }

    /// Everything, as `OpenMetrics` text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::with_capacity(16 * 1024);
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }

    /// A stage has taken files up.
    pub fn taken(&self, stage: &'static str, files: u64) {
        self.stage_taken.get_or_create(&Stage { stage }).inc_by(files);
        self.stage_in_progress.get_or_create(&Stage { stage }).inc_by(signed(files));
    }

    /// A stage has put files down, all with the same outcome, after one turn of `seconds`.
    pub fn finished(&self, stage: &'static str, outcome: &'static str, files: u64, seconds: f64) {
        self.stage_finished.get_or_create(&StageOutcome { stage, outcome }).inc_by(files);
        self.stage_in_progress.get_or_create(&Stage { stage }).dec_by(signed(files));
        self.stage_seconds.observe(stage, seconds);
        if outcome == DONE && files > 0 {
            self.stage_last_success.get_or_create(&Stage { stage }).set(now());
        }
    }

    /// How many files are in a state, how large they are, and since when (Unix time) the oldest has been there.
    pub fn backlog(&self, state: &'static str, files: u64, bytes: u64, oldest_unix_seconds: Option<f64>) {
        let label = State { state };
        self.backlog_files.get_or_create(&label).set(signed(files));
        self.backlog_bytes.get_or_create(&label).set(signed(bytes));
        match oldest_unix_seconds {
            Some(since) => drop(self.backlog_oldest.get_or_create(&label).set(since)),
            None => drop(self.backlog_oldest.remove(&label)),
        }
    }

    /// Bytes were read from data files.
    pub fn bytes_read(&self, n: u64) {
        self.bytes_read.inc_by(n);
    }

    /// A trigger was judged.
    pub fn trigger_judged(&self, verdict: &'static str) {
        self.triggers_judged.get_or_create(&Verdict { verdict }).inc();
    }

    /// One scan of the interface directory is over.
    pub fn scan(&self, seconds: f64, directories_read: u64, directories_skipped: u64) {
        self.scan_seconds.observe(seconds);
        self.scanned.get_or_create(&Directories { directories: "read" }).inc_by(directories_read);
        self.scanned.get_or_create(&Directories { directories: "skipped" }).inc_by(directories_skipped);
    }

    /// Time from the making of a trigger to its record in the ledger.
    pub fn intake_latency(&self, seconds: f64) {
        self.intake_latency.observe(seconds);
    }

    /// One request to Rucio.
    pub fn rucio_request(&self, endpoint: &'static str, outcome: &'static str, seconds: f64) {
        self.rucio_requests.get_or_create(&Request { endpoint, outcome }).inc();
        self.rucio_seconds.get_or_create(&Endpoint { endpoint }).observe(seconds);
    }

    /// Whether Rucio answers.
    pub fn rucio_up(&self, up: bool) {
        self.rucio_up.set(i64::from(up));
    }

    /// When the token for Rucio expires, in Unix time.
    pub fn token_expiry(&self, unix_seconds: f64) {
        self.token_expiry.0.set(unix_seconds);
    }

    /// One question to a storage.
    pub fn storage_request(&self, outcome: &'static str, seconds: f64) {
        self.storage_requests.get_or_create(&Outcome { outcome }).inc();
        self.storage_seconds.observe(seconds);
    }

    /// Files were released.
    pub fn released(&self, files: u64, bytes: u64) {
        self.released_files.inc_by(files);
        self.released_bytes.inc_by(bytes);
    }

    /// A promise was found broken.
    pub fn invariant_violation(&self, invariant: &'static str) {
        self.invariant_violations.get_or_create(&Invariant { invariant }).inc();
    }

    /// The configured mode of deletion: `off`, `dry-run` or `on`.
    pub fn deletion_mode(&self, mode: &'static str) {
        for known in DELETION_MODES {
            self.deletion_mode.get_or_create(&Mode { mode: known }).set(i64::from(known == mode));
        }
    }

    /// The configured minimum of copies.
    pub fn minimum_copies(&self, n: u32) {
        self.minimum_copies.set(i64::from(n));
    }

    /// Whether the configuration was fine when it was last read.
    pub fn config_reloaded(&self, successful: bool) {
        self.reload_successful.set(i64::from(successful));
    }
}

fn put<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn put_unit<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, unit: Unit, metric: M) -> M {
    registry.register_with_unit(name, help, unit, metric.clone());
    metric
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The sample lines of a page, without its comments.
    fn samples(metrics: &Metrics) -> Vec<String> {
        let page = metrics.encode().unwrap();
        page.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    fn value(metrics: &Metrics, series: &str) -> Option<f64> {
        let found = samples(metrics).into_iter().find_map(|line| Some(line.strip_prefix(series)?.trim().to_owned()))?;
        Some(found.parse().unwrap())
    }

    #[test]
    fn every_line_is_a_number_under_our_prefix_or_the_customary_one() {
        let metrics = Metrics::new();
        metrics.rucio_request("POST /dids/attachments", "ok", 0.1);
        for line in samples(&metrics) {
            let (series, number) = line.rsplit_once(' ').unwrap();
            assert!(series.starts_with("dl0_ingest_") || series.starts_with("process_"), "{line}");
            assert!(number.parse::<f64>().is_ok(), "{line}");
        }
    }

    #[test]
    fn no_metric_is_declared_twice_and_every_one_has_help() {
        let page = Metrics::new().encode().unwrap();
        let declared = |kind: &str| -> Vec<String> {
            let name = |line: &str| Some(line.strip_prefix(kind)?.split(' ').next()?.to_owned());
            page.lines().filter_map(name).collect()
        };
        let types = declared("# TYPE ");
        assert_eq!(types, declared("# HELP "));
        assert_eq!(types.len(), types.iter().collect::<BTreeSet<_>>().len());
        assert!(types.contains(&"process_resident_memory_bytes".to_owned()));
    }

    #[test]
    fn what_is_taken_and_not_put_down_is_in_progress() {
        let metrics = Metrics::new();
        metrics.taken("register", 250);
        metrics.finished("register", DONE, 240, 0.3);
        metrics.finished("register", "retry", 4, 0.3);
        assert_eq!(value(&metrics, "dl0_ingest_stage_in_progress_files{stage=\"register\"}"), Some(6.0));
        assert_eq!(value(&metrics, "dl0_ingest_stage_taken_files_total{stage=\"register\"}"), Some(250.0));
        assert_eq!(value(&metrics, "dl0_ingest_stage_duration_seconds_count{stage=\"register\"}"), Some(2.0));
        assert!(value(&metrics, "dl0_ingest_stage_last_success_timestamp_seconds{stage=\"register\"}").unwrap() > 1e9);
        assert_eq!(value(&metrics, "dl0_ingest_stage_last_success_timestamp_seconds{stage=\"verify\"}"), None);
    }

    #[test]
    fn a_state_without_files_has_no_oldest_one() {
        let metrics = Metrics::new();
        metrics.backlog("held", 1, 10, Some(1.7e9));
        assert_eq!(value(&metrics, "dl0_ingest_backlog_oldest_timestamp_seconds{state=\"held\"}"), Some(1.7e9));
        metrics.backlog("held", 0, 0, None);
        assert_eq!(value(&metrics, "dl0_ingest_backlog_oldest_timestamp_seconds{state=\"held\"}"), None);
        assert_eq!(value(&metrics, "dl0_ingest_backlog_files{state=\"held\"}"), Some(0.0));
    }

    #[test]
    fn a_token_that_nobody_has_yet_does_not_expire() {
        let metrics = Metrics::new();
        let expiry = "dl0_ingest_rucio_token_expiry_timestamp_seconds";
        assert!(!metrics.encode().unwrap().contains(expiry));
        metrics.token_expiry(1.7e9);
        assert_eq!(value(&metrics, expiry), Some(1.7e9));
    }

    #[test]
    fn a_promise_never_broken_is_a_zero() {
        let metrics = Metrics::new();
        let of = |metrics: &Metrics| value(metrics, "dl0_ingest_invariant_violations_total{invariant=\"I2\"}");
        assert_eq!(of(&metrics), Some(0.0));
        metrics.invariant_violation("I2");
        assert_eq!(of(&metrics), Some(1.0));
    }

    #[test]
    fn one_mode_of_deletion_is_on_at_a_time() {
        let metrics = Metrics::new();
        metrics.deletion_mode("dry-run");
        metrics.deletion_mode("on");
        let of = |mode: &str| value(&metrics, &format!("dl0_ingest_deletion_mode{{mode=\"{mode}\"}}"));
        assert_eq!((of("off"), of("dry-run"), of("on")), (Some(0.0), Some(0.0), Some(1.0)));
    }
}
