//! Kills at random moments, under load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::daemon_support::checker::check;
use crate::daemon_support::daemon::{Daemon, End};
use crate::daemon_support::site::{Delivery, Fate, Site, fixture};
use crate::daemon_support::watcher::Watcher;

/// Between two deliveries, in milliseconds.
const DELIVERIES: std::ops::Range<u64> = 20..200;
/// How long a daemon lives, in milliseconds: from its very start to well into the road of a file.
const LIVES: std::ops::Range<u64> = 5..3000;
/// Files of one dataset.
const NIGHT: usize = 200;

/// A number from the environment.
pub(crate) fn wished(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Delivers until the end: good files, bad ones, such as Rucio leaves on disk, and such as were released before.
pub(crate) async fn deliver(site: Arc<Site>, mut rng: StdRng, end: Instant) {
    let contents = ["CAL", "MUON", "SUBARRAY", "SHOWER"].map(fixture);
    for number in 0.. {
        if Instant::now() > end {
            break;
        }
        let path = format!("ctao/acada/dl0/LST/events/2026/01/{:02}/{number}.fits.fz", number / NIGHT + 1);
        let content = contents[rng.random_range(0..contents.len())].clone();
        match rng.random_range(0..100) {
            0..8 => drop(site.deliver(&path, content[..content.len() - 2880].to_vec(), Fate::Rejected)),
            8..16 => drop(site.deliver_leftover(&path, content)),
            16..22 => come_back(&site, &mut rng),
            _ => drop(site.deliver(&path, content, Fate::Released)),
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(DELIVERIES))).await;
    }
}

/// A file that has left the site is delivered once more.
fn come_back(site: &Site, rng: &mut StdRng) {
    let gone = |delivery: &Delivery| {
        delivery.fate == Fate::Released
            && !site.storage(1).join(&delivery.path).exists()
            && !site.rucio.replicas(&delivery.did()).contains_key("STORAGE-1")
    };
    let deliveries = site.deliveries();
    let start = rng.random_range(0..deliveries.len().max(1));
    if let Some(delivery) = deliveries[start.min(deliveries.len())..].iter().find(|delivery| gone(delivery)) {
        site.deliver_again(delivery);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_under_load_it_loses_nothing() {
    let seed = wished("DL0_INGEST_CRASH_SEED").unwrap_or_else(|| rand::rng().random());
    let lasts = Duration::from_secs(wished("DL0_INGEST_CRASH_SECONDS").unwrap_or(60));
    eprintln!("DL0_INGEST_CRASH_SEED={seed}, for {} s", lasts.as_secs());
    let site = Arc::new(Site::new().await);
    let watcher = Watcher::start(&site);
    let end = Instant::now() + lasts;
    let mut rng = StdRng::seed_from_u64(seed);
    let load = tokio::spawn(deliver(Arc::clone(&site), StdRng::seed_from_u64(rng.random()), end));
    let mut kills = 0;
    while Instant::now() < end {
        let daemon = Daemon::start(&site, &[]);
        tokio::time::sleep(Duration::from_millis(rng.random_range(LIVES))).await;
        daemon.kill().await;
        kills += 1;
    }
    load.await.unwrap();
    let daemon = Daemon::start(&site, &[]);
    site.until_settled().await;
    assert_eq!(daemon.stop(&site).await, End::Stopped);
    check(&site).await;
    let looks = watcher.finish();
    let deliveries = site.deliveries();
    let times: usize = deliveries.iter().map(|delivery| delivery.inodes.len()).sum();
    eprintln!("{kills} kills, {} files, {times} deliveries, {looks} looks at a file", deliveries.len());
    assert!(kills > 0 && times > 0);
}
