//! A site of its own for the built command: directories, configuration and the embedded Rucio.
#![allow(clippy::new_without_default)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use dl0_ingest::embedded::{Embedded, Options};

use super::{command, configuration, say};

/// A site with its Rucio.
pub struct Site {
    pub directory: tempfile::TempDir,
    pub rucio: Embedded,
    pub config: String,
}

impl Site {
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let rucio = Embedded::start(Options::new(directory.path())).await.unwrap();
        let path = configuration(directory.path());
        std::fs::create_dir_all(directory.path().join("onsite/ctao/acada")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let text =
            text.replace("http://127.0.0.1:1", rucio.url().as_str()) + "http: {listen: null}\nlog: {format: json}\n";
        std::fs::write(&path, text).unwrap();
        Self { directory, rucio, config: path.to_str().unwrap().to_owned() }
    }

    pub fn change(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        std::fs::write(&self.config, text.replace(from, to)).unwrap();
    }

    pub async fn check_online(&self) -> (i32, String) {
        let config = self.config.clone();
        let said = tokio::task::spawn_blocking(move || say(&["check-config", "--online", "--config", &config]));
        let said = said.await.unwrap();
        (said.code, said.all(self.directory.path()))
    }

    pub fn run(&self) -> Daemon {
        self.run_with(|command| command)
    }

    pub fn run_with(&self, change: impl FnOnce(&mut Command) -> &mut Command) -> Daemon {
        let mut command = command(&["run", "--config", &self.config]);
        let mut child = change(&mut command).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Daemon { child, lines: Box::new(lines.map_while(Result::ok)) }
    }
}

/// A daemon of its own process, killed at the latest when the test ends.
pub struct Daemon {
    child: Child,
    lines: Box<dyn Iterator<Item = String> + Send>,
}

impl Daemon {
    /// Reads its log until a message comes, and returns that line.
    pub fn until(&mut self, message: &str) -> serde_json::Value {
        let mut lines = self.lines.by_ref().map(|line| serde_json::from_str(&line).unwrap());
        let is_it = |line: &serde_json::Value| line["message"].as_str().is_some_and(|text| text.contains(message));
        lines.find(is_it).unwrap_or_else(|| panic!("the log ended without '{message}'"))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    pub fn ended(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // it has ended already in a test that passes
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
