//! The real binary, with a configuration and a state directory of its own, seen through its metrics and its ledger.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::stack::Stack;

/// `dl0-ingest run`.
pub(crate) struct Daemon {
    home: TempDir,
    child: Child,
    http: reqwest::Client,
    url: String,
}

impl Daemon {
    /// Starts it with the defaults, `deletion: dry-run`, and `more` lines of YAML.
    pub(crate) fn start(stack: &Stack, data: &Path, more: &str) -> Self {
        let home = TempDir::with_prefix("dl0-ingest-bench-").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let password = home.path().join("password");
        std::fs::write(&password, &stack.accounts["ingest"]).unwrap();
        let config = home.path().join("dl0-ingest.yaml");
        let text = format!(
            "data_path: {data_path}
state_dir: {state}
onsite_rse: {onsite}
offsite: {{expression: OFFSITE, ca_file: {ca}}}
rucio:
  url: {url}
  account: ingest
  auth: {{userpass: {{password_file: {password}}}}}
  ca_file: {ca}
release: {{deletion: dry-run}}
http: {{listen: '127.0.0.1:{port}'}}
{more}
",
            data_path = data.display(),
            state = home.path().join("state").display(),
            onsite = stack.onsite().0,
            ca = stack.ca_file.display(),
            url = stack.rucio_url,
            password = password.display(),
        );
        std::fs::write(&config, text).unwrap();
        let log = File::create(home.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_dl0-ingest"))
            .args(["run", "--config"])
            .arg(&config)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { home, child, http, url: format!("http://127.0.0.1:{port}") }
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self) {
        let until = Instant::now() + Duration::from_mins(1);
        let url = format!("{}/readyz", self.url);
        while !self.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < until, "the daemon is not ready:\n{}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its metrics as they are now.
    pub(crate) async fn metrics(&self) -> Metrics {
        let answer = self.http.get(format!("{}/metrics", self.url)).send().await.unwrap();
        Metrics(answer.error_for_status().unwrap().text().await.unwrap())
    }

    /// Its ledger, to be read; the daemon must be ready.
    pub(crate) async fn ledger(&self) -> SqlitePool {
        let file = self.home.path().join("state/ledger.db");
        let options = SqliteConnectOptions::new().filename(file).read_only(true).busy_timeout(Duration::from_secs(10));
        SqlitePool::connect_with(options).await.unwrap()
    }

    /// Processor time it has used so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // after the command's name, which may have spaces, utime and stime are the 12th and 13th field
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(2);
        let ticks: u64 = fields.map(|field| field.parse::<u64>().unwrap()).sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Stops it as systemd does.
    pub(crate) fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "the daemon did not end well:\n{}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // a daemon that was stopped is gone already; one whose part panicked is not
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A page of `OpenMetrics` text.
pub(crate) struct Metrics(String);

impl Metrics {
    /// All series whose name and labels begin so, as (the rest of the name and labels, value).
    pub(crate) fn series(&self, begin: &str) -> Vec<(&str, f64)> {
        let lines = self.0.lines().filter_map(|line| line.strip_prefix(begin)?.rsplit_once(' '));
        lines.map(|(labels, value)| (labels, value.parse().unwrap())).collect()
    }

    /// The sum of these series.
    pub(crate) fn sum(&self, begin: &str) -> f64 {
        self.series(begin).into_iter().map(|(_, value)| value).sum()
    }
}
