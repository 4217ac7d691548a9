//! The daemon as a process that may die.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};

use crate::cli_support::command;
use crate::site::Site;

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
    pub(crate) fn start(site: &Site, environment: &[(&str, &str)]) -> Self {
        let log = OpenOptions::new().create(true).append(true).open(site.log()).unwrap();
        let log_from = log.metadata().unwrap().len();
        let mut command = command(&["run", "--config", site.config().to_str().unwrap()]);
        command.envs(environment.iter().copied()).stderr(log.try_clone().unwrap()).stdout(log);
        let child = command.spawn().unwrap();
        let id = rustix::process::Pid::from_child(&child);
        Self { child: Arc::new(Mutex::new(child)), id, log_from }
    }

    pub(crate) fn id(&self) -> rustix::process::Pid {
        self.id
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) -> End {
        let child = Arc::clone(&self.child);
        let status = tokio::task::spawn_blocking(move || child.lock().unwrap().wait().unwrap()).await.unwrap();
        match (status.signal(), status.code()) {
            (Some(9), _) => End::Killed,
            (None, Some(0)) => End::Stopped,
            _ => End::Other(status),
        }
    }

    pub(crate) async fn kill(self) {
        rustix::process::kill_process(self.id, rustix::process::Signal::KILL).unwrap();
        assert_eq!(self.ended().await, End::Killed);
    }

    /// Stops it, once it is up.
    pub(crate) async fn stop(self, site: &Site) -> End {
        let ready = || {
            let log = std::fs::read(site.log()).unwrap();
            let ours = &log[usize::try_from(self.log_from).unwrap()..];
            std::future::ready(String::from_utf8_lossy(ours).contains(r#""message":"ready""#))
        };
        site.until("the daemon to be ready", ready).await;
        rustix::process::kill_process(self.id, rustix::process::Signal::TERM).unwrap();
        self.ended().await
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
            Err(_) => drop(rustix::process::kill_process(self.id, rustix::process::Signal::KILL)),
        }
    }
}
