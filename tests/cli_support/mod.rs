//! Runs the built command and keeps what it says.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

pub mod site;

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
