//! The daemon as a process that may die.

use std::fs::{self, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::Value;

use super::command::command;
use super::site::Site;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// SIGKILL, by itself or by us.
    Killed,
    /// In good order.
    Stopped,
    /// Anything else, which a test has to explain.
    Other(ExitStatus),
}

/// A running daemon. What it logs is in `daemon.log` of its site.
pub(crate) struct Daemon {
    child: Arc<Mutex<Child>>,
    id: rustix::process::Pid,
    /// Where its part of the log begins.
    log_from: u64,
}

impl Daemon {
    /// A daemon with something more in its environment.
    pub(crate) fn start(site: &Site, environment: &[(&str, &str)]) -> Self {
        Self::start_with(site, |command| {
            command.envs(environment.iter().copied());
        })
    }

    /// A daemon whose command is changed before it is run.
    pub(crate) fn start_with(site: &Site, change: impl FnOnce(&mut Command)) -> Self {
        let log = OpenOptions::new().create(true).append(true).open(site.log()).unwrap();
        let log_from = log.metadata().unwrap().len();
        let mut command = command(&["run", "--config", site.config_file().to_str().unwrap()]);
        change(&mut command);
        command.stderr(log.try_clone().unwrap()).stdout(log);
        let child = command.spawn().unwrap();
        let id = rustix::process::Pid::from_child(&child);
        Self { child: Arc::new(Mutex::new(child)), id, log_from }
    }

    pub(crate) fn id(&self) -> rustix::process::Pid {
        self.id
    }

    async fn exit(&self) -> ExitStatus {
        let child = Arc::clone(&self.child);
        tokio::task::spawn_blocking(move || child.lock().unwrap().wait().unwrap()).await.unwrap()
    }

    /// Waits for its end, and says with which code, if it was not by a signal.
    pub(crate) async fn code(&self) -> Option<i32> {
        self.exit().await.code()
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) -> End {
        let status = self.exit().await;
        match (status.signal(), status.code()) {
            (Some(9), _) => End::Killed,
            (None, Some(0)) => End::Stopped,
            _ => End::Other(status),
        }
    }

    pub(crate) async fn kill(self) {
        self.signal(Signal::KILL);
        assert_eq!(self.ended().await, End::Killed);
    }

    /// Stops it, once it is up.
    pub(crate) async fn stop(self, site: &Site) -> End {
        self.ready(site).await;
        self.signal(Signal::TERM);
        self.ended().await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.id, signal).unwrap();
    }

    /// The lines that it has logged so far.
    pub(crate) fn said(&self, site: &Site) -> Vec<Value> {
        let log = fs::read(site.log()).unwrap();
        let ours = String::from_utf8_lossy(&log[usize::try_from(self.log_from).unwrap()..]).into_owned();
        // the last one may not be whole yet
        ours.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until it has logged such a line, which is returned.
    pub(crate) async fn until_line(&self, site: &Site, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        site.until(what, || std::future::ready(self.said(site).iter().any(&is_it))).await;
        self.said(site).into_iter().find(is_it).unwrap()
    }

    /// Waits until it has logged a message that contains these words.
    pub(crate) async fn until_said(&self, site: &Site, words: &str) -> Value {
        let says = |line: &Value| line["message"].as_str().is_some_and(|message| message.contains(words));
        self.until_line(site, &format!("the daemon to say '{words}'"), says).await
    }

    /// Waits until it has passed its checks at the start.
    pub(crate) async fn ready(&self, site: &Site) {
        self.until_line(site, "the daemon to be ready", |line| line["message"] == "ready").await;
    }

    /// A line of `/proc/<pid>/status`.
    pub(crate) fn status(&self, key: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id.as_raw_nonzero())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {key} in {status}")).trim().to_owned()
    }

    /// A figure of `/proc/<pid>/status` that is in kB.
    pub(crate) fn kilobytes(&self, key: &str) -> u64 {
        self.status(key).trim_end_matches(" kB").parse().unwrap()
    }

    pub(crate) fn open_files(&self) -> u64 {
        fs::read_dir(format!("/proc/{}/fd", self.id.as_raw_nonzero())).unwrap().count() as u64
    }

    /// Waits until it stands still, by SIGSTOP.
    pub(crate) async fn until_stopped(&self, site: &Site) {
        site.until("the daemon to stand still", || std::future::ready(self.status("State").starts_with('T'))).await;
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // held only while somebody waits for its end; a test that fails then leaves it to the signal
        match self.child.try_lock() {
            Ok(mut child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Err(_) => drop(rustix::process::kill_process(self.id, Signal::KILL)),
        }
    }
}
