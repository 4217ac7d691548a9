//! What goes wrong on the mountain: files, disks, clocks, processes and settings. The real daemon is a process of its own;
//! the embedded Rucio lives in the test's process. Every test ends with the checker of the crash campaign: nothing was lost,
//! and nothing was deleted on site before two right copies lay off site.
//!
//! Needs root (mounts), the Debian packages `faketime` and `e2fsprogs`, and the feature `failpoints`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

mod change;
mod clock;
mod clocks;
#[path = "../daemon_support/mod.rs"]
mod daemon_support;
mod disks;
mod files;
mod hostile;
mod mounts;
mod power;
mod processes;
mod settings;
mod storms;

use std::fs;
use std::sync::Arc;

use daemon_support::daemon::Daemon;
use daemon_support::site::{Delivery, Fate, Site, fixture};
use dl0_ingest::custody::State;

/// Directory that the tests deliver into.
const NIGHT: &str = "ctao/acada/dl0/LST/events/2026/01/01";

fn named(name: &str) -> String {
    format!("{NIGHT}/{name}.fits.fz")
}

async fn site() -> Arc<Site> {
    Arc::new(Site::new().await)
}

/// A daemon on a site whose one file is confirmed, and not released because of the kill switch.
async fn with_a_confirmed_file() -> (Arc<Site>, Daemon, Delivery) {
    let site = site().await;
    fs::write(site.kill_switch(), "until something has changed").unwrap();
    let daemon = Daemon::start(&site, &[]);
    let file = site.deliver(&named("a"), fixture("CAL"), Fate::Released);
    site.until_state(&file, State::Confirmed).await;
    (site, daemon, file)
}
