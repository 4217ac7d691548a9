//! Kills at random moments, under load.

use std::time::Duration;

use rand::RngExt;

use crate::crash::load::Load;
use crate::testkit::process::Daemon;

/// How long a daemon lives, in milliseconds: from its very start to well into the road of a file.
const LIVES: std::ops::Range<u64> = 5..3000;

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_under_load_it_loses_nothing() {
    let mut load = Load::start("CRASH", 60).await;
    let mut kills = 0;
    while !load.is_over() {
        let daemon = Daemon::start(&load.site, &[]);
        tokio::time::sleep(Duration::from_millis(load.rng.random_range(LIVES))).await;
        daemon.kill().await;
        kills += 1;
    }
    eprintln!("{kills} kills");
    load.ends_well().await;
    assert!(kills > 0);
}
