//! The daemon is killed at every point it has, and at random under load; whatever was delivered must end as two copies or
//! in `invalid/`, and never be in danger in between.
//!
//! The embedded Rucio lives in the test's process and survives; the daemon is a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

mod checker;
#[path = "../cli_support/mod.rs"]
mod cli_support;
#[path = "../rucio_contract/client.rs"]
#[allow(dead_code)]
mod client;
mod daemon;
mod kills;
mod points;
mod site;
mod soak;
mod watcher;
