//! What goes wrong on the mountain: files, disks, clocks, processes and settings. The real daemon is a process of its own;
//! the embedded Rucio lives in the test's process. Every test ends with the checker of the crash campaign: nothing was lost,
//! and nothing was deleted on site before two right copies lay off site.
mod clocks;
mod disks;
mod files;
mod hostile;
mod power;
mod processes;
mod settings;
mod storms;

use std::fs;
use std::sync::Arc;

use crate::testkit::deliveries::{Delivery, Fate};
use crate::testkit::fixture;
use crate::testkit::process::Daemon;
use crate::testkit::site::Site;
use dl0_ingest::custody::State;

/// Directory that the tests deliver into.
const NIGHT: &str = "ctao/acada/dl0/LST/events/2026/01/01";

fn named(name: &str) -> String {
    format!("{NIGHT}/{name}.fits.fz")
}

async fn site() -> Arc<Site> {
    Arc::new(Site::in_haste().await)
}

/// A daemon on a site whose one file is confirmed, and not released because of the kill switch.
async fn with_a_confirmed_file() -> (Arc<Site>, Daemon, Delivery) {
    let site = site().await;
    fs::write(site.kill_switch(), "until something has changed").unwrap();
    let daemon = Daemon::start(&site, &[]);
    let file = site.deliver_for(&named("a"), fixture("CAL"), Fate::Released);
    site.until_state(&file, State::Confirmed).await;
    (site, daemon, file)
}
