//! The metrics of one daemon, in `OpenMetrics` text.
//!
//! Labels take their values from closed sets known at compile time: their type is `&'static str`, so a path or an LFN
//! cannot become one; the only others are the off-site RSEs, by name. Moments are gauges of Unix time, not ages: an age stands still when the daemon does.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use self::shapes::{
    Directories, Endpoint, Histograms, Invariant, LATENCY_SECONDS, Mode, Moment, Needed, Number, Outcome,
    REQUEST_SECONDS, Request, Rse, SCAN_SECONDS, STAGES, Stage, StageOutcome, StageSeconds, State, Trouble, Verdict,
};
use super::health::{Health, Need};
use super::process::Process;

mod shapes;

/// Media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The outcome of a stage's turn that counts as success for `…_stage_last_success_timestamp_seconds`.
pub const DONE: &str = "done";

/// The modes of deletion, for [`Metrics::deletion_mode`].
const DELETION_MODES: [&str; 3] = ["off", "dry-run", "on"];

/// The promises, for [`Metrics::invariant_violation`].
const INVARIANTS: [&str; 8] = ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8"];

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
    settled_datasets: Counter,
    rule_troubles: Family<Trouble, Counter>,
    boosted_rules: Counter,
    invariant_violations: Family<Invariant, Counter>,
    deletion_mode: Family<Mode, Gauge>,
    minimum_copies: Gauge,
    release_breaker: Gauge,
    kill_switch: Gauge,
    reload_successful: Gauge,
    ready: Family<Needed, Gauge>,
    storage_up: Family<Rse, Gauge>,
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
            stage_taken: put(registry, "stage_taken_files", "Files a stage has taken up"),
            stage_finished: put(
                registry,
                "stage_finished_files",
                "Files a stage has put down, by the outcome of its turn",
            ),
            stage_in_progress: put(registry, "stage_in_progress_files", "Files a stage is at work on"),
            stage_seconds: put_unit_of(
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
            ),
            backlog_files: put(registry, "backlog_files", "Files in a state"),
            backlog_bytes: put_unit(registry, "backlog", "Size of the files in a state", Unit::Bytes),
            backlog_oldest: put_unit(
                registry,
                "backlog_oldest_timestamp",
                "Since when the oldest file has been in a state; absent when there is none",
                Unit::Seconds,
            ),
            bytes_read: put_unit(registry, "read", "Bytes read from data files", Unit::Bytes),
            triggers_judged: put(registry, "triggers_judged", "Triggers judged, by verdict"),
            scan_seconds: put_unit_of(
                registry,
                "scan_duration",
                "Time of one scan of the interface directory",
                Unit::Seconds,
                Histogram::new(SCAN_SECONDS),
            ),
            scanned: put(registry, "scan_directories", "Directories met by scans: read, or skipped as unchanged"),
            intake_latency: put_unit_of(
                registry,
                "intake_latency",
                "Time from the making of a trigger to its record in the ledger",
                Unit::Seconds,
                Histogram::new(LATENCY_SECONDS),
            ),
            rucio_requests: put(registry, "rucio_requests", "Requests to Rucio, repetitions included"),
            rucio_seconds: put_unit_of(
                registry,
                "rucio_request_duration",
                "Time of a request to Rucio",
                Unit::Seconds,
                Family::new_with_constructor(seconds),
            ),
            rucio_up: put(registry, "rucio_up", "1 while Rucio answers, 0 while files wait for it"),
            token_expiry: put_unit(
                registry,
                "rucio_token_expiry_timestamp",
                "When the token for Rucio expires",
                Unit::Seconds,
            ),
            storage_requests: put(registry, "storage_requests", "Questions to the data centres' storages"),
            storage_seconds: put_unit_of(
                registry,
                "storage_request_duration",
                "Time of a question to a storage",
                Unit::Seconds,
                seconds(),
            ),
            released_files: put(registry, "released_files", "Files whose on-site copy is gone for a proven reason"),
            released_bytes: put_unit(registry, "released", "Size of the released files", Unit::Bytes),
            settled_datasets: put(registry, "settled_datasets", "Datasets that were left with two rules of their own"),
            rule_troubles: put(
                registry,
                "rule_troubles",
                "Rules of ours found stuck, suspended, ending or gone, each counted once",
            ),
            boosted_rules: put(registry, "boosted_rules", "Stuck rules that Rucio was asked to try again"),
            invariant_violations: put(registry, "invariant_violations", "Broken promises; anything but 0 is a defect"),
            deletion_mode: put(registry, "deletion_mode", "1 for the configured mode of deletion"),
            minimum_copies: put(registry, "minimum_copies", "Proven off-site copies that a release needs"),
            release_breaker: put(
                registry,
                "release_breaker_open",
                "1 while a contradiction stops all releases, until an operator resets the breaker",
            ),
            kill_switch: put(registry, "release_kill_switch", "1 while the kill switch stops all releases"),
            reload_successful: put(
                registry,
                "config_last_reload_successful",
                "1 if the configuration was fine when last read",
            ),
            ready: put(registry, "ready", "1 while something that the daemon needs to do its work is there"),
            storage_up: put(
                registry,
                "storage_up",
                "1 if the storage of an off-site RSE answered when it was asked last",
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

    /// A dataset was left with two rules.
    pub fn dataset_settled(&self) {
        self.settled_datasets.inc();
    }

    /// A rule of ours was found `stuck`, `suspended`, `ending` or `gone`.
    pub fn rule_trouble(&self, trouble: &'static str) {
        self.rule_troubles.get_or_create(&Trouble { trouble }).inc();
    }

    /// Rucio was asked to try a stuck rule again.
    pub fn rule_boosted(&self) {
        self.boosted_rules.inc();
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

    /// Whether the breaker of release is open.
    pub fn release_breaker(&self, open: bool) {
        self.release_breaker.set(i64::from(open));
    }

    /// Whether the kill switch stops releases.
    pub fn kill_switch(&self, on: bool) {
        self.kill_switch.set(i64::from(on));
    }

    /// How everything stands that the daemon needs, and each storage.
    pub fn health(&self, health: &Health) {
        for need in Need::ALL {
            self.ready.get_or_create(&Needed { need: need.label() }).set(i64::from(health.is_met(need)));
        }
        self.storage_up.clear();
        for (rse, state) in health.storages() {
            self.storage_up.get_or_create(&Rse { rse }).set(i64::from(state.is_ok()));
        }
    }

    /// Whether the configuration was fine when it was last read.
    pub fn config_reloaded(&self, successful: bool) {
        self.reload_successful.set(i64::from(successful));
    }
}

fn put<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn put_unit<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str, unit: Unit) -> M {
    put_unit_of(registry, name, help, unit, M::default())
}

fn put_unit_of<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, unit: Unit, metric: M) -> M {
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
mod tests;
