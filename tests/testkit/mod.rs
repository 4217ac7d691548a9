//! What the tests of behaviour share.
//!
//! A [`site::Site`] is an interface directory, a Rucio in miniature with three storages, a configuration, and files that
//! are delivered there. A daemon runs on it in the test's own process ([`in_process`]) or as a process that may die
//! ([`process`]); commands are run by [`command`]. What must have come of it, [`checker`] and [`watcher`] say without asking
//! the daemon.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod change;
pub(crate) mod checker;
pub(crate) mod clock;
pub(crate) mod columns;
pub(crate) mod command;
pub(crate) mod contract;
pub(crate) mod deliveries;
pub(crate) mod in_process;
pub(crate) mod ledger;
pub(crate) mod mounts;
pub(crate) mod others;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod rucio;
pub(crate) mod site;
pub(crate) mod watcher;

use std::path::{Path, PathBuf};

/// Where the small real files are.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dl0")
}

/// A real DL0 file of ACADA's mock, by a part of its name.
pub(crate) fn fixture(part: &str) -> Vec<u8> {
    let mut found = std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path());
    std::fs::read(found.find(|path| path.to_string_lossy().contains(part)).unwrap()).unwrap()
}

/// How long, or how many, unless the environment says otherwise.
pub(crate) fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}
