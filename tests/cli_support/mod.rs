//! Runs the built command and keeps what it says.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::new_without_default)]

pub mod site;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a command said and how it ended.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// All of it in one text, for snapshots; `directory` becomes `DIR`.
    pub fn all(&self, directory: &Path) -> String {
        let text = format!("code: {}\n--- out\n{}--- err\n{}", self.code, self.out, self.err);
        text.replace(&directory.display().to_string(), "DIR")
    }

    /// The same with paths below `directory` as `DIR/…`.
    pub fn json_below(mut self, directory: &Path) -> Vec<serde_json::Value> {
        self.out = self.out.replace(&directory.display().to_string(), "DIR");
        self.json()
    }

    /// The output as one JSON value per line.
    pub fn json(&self) -> Vec<serde_json::Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }
}

/// The command with a small environment of its own.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dl0-ingest"));
    command.args(arguments).env_clear().env("COLUMNS", "100").stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn say(arguments: &[&str]) -> Said {
    let output = command(arguments).output().unwrap();
    Said {
        code: output.status.code().expect("not ended by a signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What the daemon's own endpoint answers.
pub fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Where the small real files are.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dl0")
}

/// A sound file of the mock.
pub fn sound_file() -> PathBuf {
    fixtures().join("TEL001_SDH000_20260101T200000_SBID2000000456_OBSID2000000456_TEL_CAL_CHUNK000.fits.fz")
}

/// A configuration in `directory`, whose data and state lie beside it.
pub fn configuration(directory: &Path) -> PathBuf {
    let (data, state) = (directory.join("onsite"), directory.join("state"));
    std::fs::create_dir_all(&data).unwrap();
    std::fs::create_dir_all(&state).unwrap();
    let password = directory.join("password");
    std::fs::write(&password, "ingestpw\n").unwrap();
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let text = format!(
        "data_path: {}\nstate_dir: {}\nonsite_rse: STORAGE-1\noffsite:\n  expression: OFFSITE\nrucio:\n  \
         url: http://127.0.0.1:1\n  account: ingest\n  auth:\n    userpass:\n      password_file: {}\n",
        data.display(),
        state.display(),
        password.display()
    );
    let path = directory.join("dl0-ingest.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

/// A configuration and what lies around it, with no Rucio and no daemon.
pub struct Offline {
    pub directory: tempfile::TempDir,
    pub config: PathBuf,
}

impl Offline {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = configuration(directory.path());
        Self { directory, config }
    }

    /// What a command says, with moments and ages made equal.
    pub fn told(&self, arguments: &[&str]) -> String {
        let said = say(&[arguments, &["--config", self.config.to_str().unwrap()]].concat());
        steady(&said.all(self.directory.path()))
    }
}

/// `2026-01-01 20:00:00 UTC` becomes `[moment]` and a number of seconds `[age]`; runs of spaces become two.
pub fn steady(text: &str) -> String {
    let words: Vec<String> = text.split_inclusive([' ', '\n', '"', ',', '.']).map(str::to_owned).collect();
    let mut steady = String::new();
    let mut rest = words.iter().peekable();
    while let Some(word) = rest.next() {
        let day = word.len() == 11 && word.as_bytes()[4] == b'-' && word.as_bytes()[7] == b'-';
        if day && rest.peek().is_some_and(|time| time.as_bytes().get(2) == Some(&b':')) {
            rest.next();
            let zone = rest.next().map_or("", String::as_str);
            steady.push_str("[moment]");
            steady.push_str(zone.trim_start_matches("UTC"));
        } else {
            steady.push_str(word);
        }
    }
    for seconds in 0..60 {
        steady = steady.replace(&format!(" {seconds} s"), " [age]");
    }
    while steady.contains("   ") {
        steady = steady.replace("   ", "  ");
    }
    steady
}
