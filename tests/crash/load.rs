//! Files that keep coming while a test does its worst, and the account at the end.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinHandle;

use crate::testkit::checker::ends_well;
use crate::testkit::deliveries::{Delivery, Fate};
use crate::testkit::fixture;
use crate::testkit::process::Daemon;
use crate::testkit::site::Site;
use crate::testkit::watcher::Watcher;

/// Between two deliveries, in milliseconds.
const DELIVERIES: Range<u64> = 20..200;
/// Files of one dataset.
const NIGHT: usize = 200;

/// A stream of deliveries to a watched site.
pub(crate) struct Load {
    pub(crate) site: Arc<Site>,
    /// How long files come.
    pub(crate) lasts: Duration,
    /// When the last one comes.
    pub(crate) end: Instant,
    /// For whatever else is left to chance.
    pub(crate) rng: StdRng,
    watcher: Watcher,
    stream: JoinHandle<()>,
}

impl Load {
    /// Lets files come for `seconds`, unless `DL0_INGEST_<name>_SECONDS` says otherwise; `DL0_INGEST_<name>_SEED` repeats
    /// the choices.
    pub(crate) async fn start(name: &str, seconds: u64) -> Self {
        let seed = wished(name, "SEED").unwrap_or_else(|| rand::rng().random());
        let lasts = Duration::from_secs(wished(name, "SECONDS").unwrap_or(seconds));
        eprintln!("DL0_INGEST_{name}_SEED={seed}, for {} s", lasts.as_secs());
        let site = Arc::new(Site::in_haste().await);
        site.lift_limits_of_an_hour();
        let watcher = Watcher::start(&site);
        let end = Instant::now() + lasts;
        let mut rng = StdRng::seed_from_u64(seed);
        let stream = tokio::spawn(deliver(Arc::clone(&site), StdRng::seed_from_u64(rng.random()), end));
        Self { site, lasts, end, rng, watcher, stream }
    }

    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// When no more files come: a daemon that nobody disturbs brings all of them to their ends, and the account is right.
    pub(crate) async fn ends_well(self) {
        self.stream.await.unwrap();
        let daemon = Daemon::start(&self.site, &[]);
        ends_well(&self.site, daemon).await;
        let looks = self.watcher.finish();
        let deliveries = self.site.deliveries();
        let times: usize = deliveries.iter().map(|delivery| delivery.inodes.len()).sum();
        eprintln!("{} files, {times} deliveries, {looks} looks at a file", deliveries.len());
        assert!(times > 0);
    }
}

/// A number from the environment.
fn wished(name: &str, what: &str) -> Option<u64> {
    std::env::var(format!("DL0_INGEST_{name}_{what}")).ok().map(|text| text.parse().unwrap())
}

/// Delivers until the end: good files, bad ones, such as Rucio leaves on disk, and such as were released before.
async fn deliver(site: Arc<Site>, mut rng: StdRng, end: Instant) {
    let contents = ["CAL", "MUON", "SUBARRAY", "SHOWER"].map(fixture);
    for number in 0.. {
        if Instant::now() > end {
            break;
        }
        let path = format!("ctao/acada/dl0/LST/events/2026/01/{:02}/{number}.fits.fz", number / NIGHT + 1);
        let content = contents[rng.random_range(0..contents.len())].clone();
        match rng.random_range(0..100) {
            0..8 => drop(site.deliver_for(&path, content[..content.len() - 2880].to_vec(), Fate::Rejected)),
            8..16 => drop(site.deliver_leftover(&path, content)),
            16..22 => come_back(&site, &mut rng),
            _ => drop(site.deliver_for(&path, content, Fate::Released)),
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
