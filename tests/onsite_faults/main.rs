//! What goes wrong on the mountain: files, disks, clocks, processes and settings. The real daemon is a process of its own;
//! the embedded Rucio lives in the test's process. Every test ends with the checker of the crash campaign: nothing was lost,
//! and nothing was deleted on site before two right copies lay off site.
//!
//! Needs root (mounts), the Debian packages `faketime` and `e2fsprogs`, and the feature `failpoints`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

mod clocks;
#[path = "../daemon_support/mod.rs"]
mod daemon_support;
mod disks;
mod files;
mod mounts;
mod processes;
mod settings;
mod storms;

use std::sync::Arc;

use daemon_support::checker::check;
use daemon_support::daemon::{Daemon, End};
use daemon_support::site::Site;

/// Directory that the tests deliver into.
const NIGHT: &str = "ctao/acada/dl0/LST/events/2026/01/01";

fn named(name: &str) -> String {
    format!("{NIGHT}/{name}.fits.fz")
}

async fn site() -> Arc<Site> {
    Arc::new(Site::new().await)
}

/// All files come to their ends, the daemon stops in good order, and the account is right.
async fn ends_well(site: &Site, daemon: Daemon) {
    site.until_settled().await;
    assert_eq!(daemon.stop(site).await, End::Stopped);
    check(site).await;
}
