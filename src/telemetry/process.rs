//! The customary `process_*` metrics, read from /proc at each scrape.

use std::fmt;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Reads `/proc/self`; what cannot be read is left out of the answer.
#[derive(Debug)]
pub(super) struct Process {
    started: f64,
}

impl Process {
    /// To be made early in the life of the process: its start time is taken now.
    pub(super) fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { started: since_epoch.as_secs_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut put = |name: &str, help: &str, unit: Option<&Unit>, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
        };
        if let Some(seconds) = cpu_seconds() {
            let help = "Total user and system CPU time spent in seconds";
            put("process_cpu", help, Some(&Unit::Seconds), &ConstCounter::new(seconds))?;
        }
        if let Some(bytes) = resident_bytes() {
            put(
                "process_resident_memory",
                "Resident memory size in bytes",
                Some(&Unit::Bytes),
                &ConstGauge::new(bytes),
            )?;
        }
        if let Some(open) = open_files() {
            put("process_open_fds", "Number of open file descriptors", None, &ConstGauge::new(open))?;
        }
        if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            put("process_max_fds", "Maximum number of open file descriptors", None, &ConstGauge::new(most))?;
        }
        let help = "Start time of the process since unix epoch in seconds";
        put("process_start_time", help, Some(&Unit::Seconds), &ConstGauge::new(self.started))
    }
}

/// Fields 14 and 15 of `/proc/self/stat` (`proc_pid_stat(5)`), in clock ticks; the name in field 2 may contain anything,
/// so counting begins behind its closing parenthesis.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn resident_bytes() -> Option<i64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split_whitespace().nth(1)?.parse().ok()?;
    i64::try_from(pages.checked_mul(rustix::param::page_size())?).ok()
}

fn open_files() -> Option<i64> {
    // the directory being read is itself one of them
    let entries = fs::read_dir("/proc/self/fd").ok()?.count();
    i64::try_from(entries.saturating_sub(1)).ok()
}
