//! The real binary, with a configuration and a state directory of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use dl0_ingest::ledger::{FileRow, Ledger};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::e2e::stack::Stack;

/// `dl0-ingest run`, killed when dropped.
pub(crate) struct Daemon {
    home: TempDir,
    config: PathBuf,
    /// Of each life.
    environment: Vec<(String, String)>,
    port: u16,
    child: Option<Child>,
}

impl Daemon {
    /// Starts a daemon that deletes, with the shortest waits that are still waits.
    pub(crate) fn start(stack: &Stack) -> Self {
        Self::start_with(stack, Vec::new(), |text| text)
    }

    /// Starts a daemon with an environment of its own, whose configuration was changed.
    pub(crate) fn start_with(
        stack: &Stack,
        environment: Vec<(String, String)>,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        stack.remove_old_triggers();
        let home = TempDir::with_prefix("dl0-ingest-e2e-").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let password = home.path().join("password");
        std::fs::write(&password, &stack.accounts["ingest"]).unwrap();
        let (onsite, storage) = stack.onsite();
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
  timeout: 20s
  retry_budget: 5s
intake: {{scan_interval: 1s}}
replicate: {{poll: 500ms, poll_max: 2s}}
confirm: {{hold: 4s, poll: 500ms, poll_max: 2s, read_back: 8}}
release: {{deletion: on, poll: 500ms, poll_max: 2s}}
http: {{listen: '127.0.0.1:{port}'}}
log: {{format: json}}
retry: {{initial: 200ms, max: 3s}}
",
            data_path = storage.directory.display(),
            state = home.path().join("state").display(),
            ca = stack.ca_file.display(),
            url = stack.rucio_url,
            password = password.display(),
        );
        std::fs::write(&config, change(text)).unwrap();
        let mut daemon = Self { home, config, environment, port, child: None };
        daemon.run();
        daemon
    }

    /// Starts the process (again) and waits until it says that it is ready.
    pub(crate) fn run(&mut self) {
        self.spawn(&[]);
        self.await_ready();
    }

    /// Starts the process (again), with something more in its environment.
    pub(crate) fn spawn(&mut self, environment: &[(&str, &str)]) {
        assert!(self.child.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_dl0-ingest"))
            .args(["run", "--config"])
            .arg(&self.config)
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .envs(environment.iter().copied())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    fn await_ready(&mut self) {
        let until = Instant::now() + Duration::from_secs(30);
        while !self.is_ready() {
            assert!(self.is_running(), "the daemon ended instead of starting:\n{}", self.last_words());
            assert!(Instant::now() < until, "not ready within 30 s:\n{}", self.last_words());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// How it has ended, if it has ended by itself.
    pub(crate) fn end(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        Some(status)
    }

    /// Whether `/readyz` answers 200.
    pub(crate) fn is_ready(&self) -> bool {
        self.get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Whether the metrics have this line.
    pub(crate) fn measures(&self, line: &str) -> bool {
        self.get("/metrics").is_ok_and(|answer| answer.lines().any(|found| found == line))
    }

    /// How often each promise was found broken, by its name.
    pub(crate) fn broken_promises(&self) -> BTreeMap<String, String> {
        let metrics = self.get("/metrics").unwrap();
        let lines = metrics.lines().filter_map(|line| line.strip_prefix("dl0_ingest_invariant_violations_total"));
        let counts = lines.filter_map(|rest| rest.strip_prefix("{invariant=\"")?.split_once("\"} "));
        counts.map(|(promise, count)| (promise.to_owned(), count.to_owned())).collect()
    }

    /// The rows of the ledger, by LFN.
    pub(crate) async fn rows(&self) -> BTreeMap<String, FileRow> {
        let ledger = Ledger::open_read_only(&self.state_dir().join("ledger.db")).await.unwrap();
        let mut rows = BTreeMap::new();
        for lfn in self.states().into_keys() {
            rows.extend(ledger.by_lfn(&lfn).await.unwrap().map(|row| (lfn, row)));
        }
        ledger.close().await;
        rows
    }

    /// The file that stops all releases while it is there.
    pub(crate) fn kill_switch(&self) -> PathBuf {
        self.state_dir().join("stop-releases")
    }

    /// Has it read its configuration again, changed.
    pub(crate) fn reload(&self, change: impl FnOnce(String) -> String) {
        self.configure(change);
        self.signal(Signal::HUP);
    }

    /// Changes its configuration, which it takes over at its next start.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        std::fs::write(&self.config, change(text)).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// The most memory that it has had since its start, in kB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let pid = self.child.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Where its ledger and its audit record are.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.home.path().join("state")
    }

    /// What an endpoint answers, head included.
    pub(crate) fn get(&self, path: &str) -> std::io::Result<String> {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// What `why` says of a file.
    pub(crate) fn why(&self, lfn: &str) -> String {
        let output = self.command(&["why", lfn]);
        assert!(output.status.success(), "why: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Everything it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// SIGKILL: no chance to tidy up.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM: ends by itself within 10 s, with success.
    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if asked.elapsed() > Duration::from_secs(10) {
                child.kill().unwrap();
                panic!("still there 10 s after SIGTERM:\n{}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "ended with {status}:\n{}", self.last_words());
    }

    /// Runs another subcommand with the daemon's configuration.
    pub(crate) fn command(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_dl0-ingest")).args(words).arg("--config").arg(&self.config).output().unwrap()
    }

    /// The state of each file in custody, by LFN, from `list --json`.
    pub(crate) fn states(&self) -> BTreeMap<String, String> {
        let output = self.command(&["list", "--json"]);
        assert!(output.status.success(), "list: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| {
                let row: serde_json::Value = serde_json::from_str(line).unwrap();
                (row["lfn"].as_str().unwrap().to_owned(), row["state"].as_str().unwrap().to_lowercase())
            })
            .collect()
    }

    fn log_file(&self) -> PathBuf {
        self.home.path().join("log")
    }

    /// The end of the log, for the message of a failing test.
    pub(crate) fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].iter().fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "{line}");
            text
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        if std::thread::panicking() {
            let list = self.command(&["list", "--json"]);
            println!("files in custody:\n{}", String::from_utf8_lossy(&list.stdout));
            println!("the daemon's last words:\n{}", self.last_words());
        }
    }
}
