//! The real daemon as a process of its own, on a site whose Rucio lives in the test's process; a watcher, and a checker that
//! does not ask the daemon.
#![allow(dead_code)]

pub(crate) mod checker;
#[path = "../cli_support/mod.rs"]
pub(crate) mod cli_support;
#[path = "../../crates/rucio-miniature/tests/contract/client.rs"]
mod client;
pub(crate) mod daemon;
pub(crate) mod others;
pub(crate) mod site;
pub(crate) mod watcher;
