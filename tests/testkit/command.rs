//! Runs the built command and keeps what it says.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::fixtures;

/// What a command said and how it ended.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// All of it in one text, for snapshots; `directory` becomes `DIR`.
    pub(crate) fn all(&self, directory: &Path) -> String {
        let text = format!("code: {}\n--- out\n{}--- err\n{}", self.code, self.out, self.err);
        text.replace(&directory.display().to_string(), "DIR")
    }

    /// The same with paths below `directory` as `DIR/…`.
    pub(crate) fn json_below(mut self, directory: &Path) -> Vec<serde_json::Value> {
        self.out = self.out.replace(&directory.display().to_string(), "DIR");
        self.json()
    }

    /// The output as one JSON value per line.
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }
}

/// The command with a small environment of its own.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dl0-ingest"));
    command.args(arguments).env_clear().env("COLUMNS", "100").stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn say(arguments: &[&str]) -> Said {
    let output = command(arguments).output().unwrap();
    Said {
        code: output.status.code().expect("not ended by a signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What the daemon's own endpoint answers.
pub(crate) fn ask(address: SocketAddr, path: &str) -> String {
    try_to_ask(address, path).unwrap()
}

/// The same, of one that may not listen yet.
pub(crate) fn try_to_ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A sound file of the mock.
pub(crate) fn sound_file() -> PathBuf {
    fixtures().join("TEL001_SDH000_20260101T200000_SBID2000000456_OBSID2000000456_TEL_CAL_CHUNK000.fits.fz")
}

/// The part of a configuration that every site has, with the state directory and the password in `directory`.
pub(crate) fn configuration(directory: &Path, data: &Path, rucio: &str) -> String {
    let (state, password) = (directory.join("state"), directory.join("password"));
    fs::create_dir_all(data).unwrap();
    fs::create_dir_all(&state).unwrap();
    fs::write(&password, "ingestpw\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    format!(
        "data_path: {}\nstate_dir: {}\nonsite_rse: STORAGE-1\noffsite:\n  expression: OFFSITE\nrucio:\n  \
         url: {rucio}\n  account: ingest\n  auth:\n    userpass:\n      password_file: {}\n",
        data.display(),
        state.display(),
        password.display()
    )
}

/// A configuration in `directory`, whose data and state lie beside it, for a Rucio that is not there.
pub(crate) fn offline_configuration(directory: &Path) -> PathBuf {
    let path = directory.join("dl0-ingest.yaml");
    fs::write(&path, configuration(directory, &directory.join("onsite"), "http://127.0.0.1:1")).unwrap();
    path
}

/// A configuration and what lies around it, with no Rucio and no daemon.
pub(crate) struct Offline {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) config: PathBuf,
}

impl Offline {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = offline_configuration(directory.path());
        // whatever listens at the usual port is another daemon
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text + "http: {listen: null}\n").unwrap();
        Self { directory, config }
    }

    /// What a command says, with moments and ages made equal.
    pub(crate) fn told(&self, arguments: &[&str]) -> String {
        let said = say(&[arguments, &["--config", self.config.to_str().unwrap()]].concat());
        steady(&said.all(self.directory.path()))
    }
}

fn is_uuid(word: &str) -> bool {
    word.len() == 36
        && word.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// `2026-01-01 20:00:00 UTC` becomes `[moment]` and a number of seconds `[age]`; runs of spaces become two.
pub(crate) fn steady(text: &str) -> String {
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
        } else if is_uuid(word.trim_end()) {
            steady.push_str("[id]");
            steady.push_str(&word[36..]);
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
