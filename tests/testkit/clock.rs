//! A clock that a test sets, with libfaketime: the daemon's own calls are answered by it.

use std::fs;
use std::path::{Path, PathBuf};

/// Where Debian's package `faketime` has it.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// A clock that a test sets.
pub(crate) struct Clock {
    offset: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Clock {
    /// The clock that people set, and with it what the process takes for the passing of time if `all` clocks follow: as
    /// after a time in which it stood still. What it says lies in a file in this directory.
    pub(crate) fn new(directory: &Path, all: bool) -> Self {
        assert!(
            Path::new(LIBRARY).exists(),
            "{LIBRARY} is missing: apt-get install faketime (tests/testbed/up does it as well)"
        );
        let offset = directory.join("offset");
        let mut environment = vec![
            ("LD_PRELOAD", LIBRARY.to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap().to_owned()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            // time stamps of files are the file system's
            ("NO_FAKE_STAT", "1".to_owned()),
        ];
        if !all {
            environment.push(("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()));
        }
        let clock = Self { offset, environment };
        clock.set("+0s");
        clock
    }

    /// Sets it to so far from the true time.
    pub(crate) fn set(&self, offset: &str) {
        // whole or not at all: the daemon reads it all the time
        let part = self.offset.with_extension("part");
        fs::write(&part, offset).unwrap();
        fs::rename(part, &self.offset).unwrap();
    }

    pub(crate) fn environment<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let ours = self.environment.iter().map(|(key, value)| (*key, value.as_str()));
        ours.chain(more.iter().copied()).collect()
    }
}
