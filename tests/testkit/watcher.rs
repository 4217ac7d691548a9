//! Looks all the time whether any delivered file is in danger.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::deliveries::{Delivery, Fate};
use super::site::Site;

/// Between two looks at all files, at least.
const PACE: Duration = Duration::from_millis(5);

pub(crate) struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watcher {
    pub(crate) fn start(site: &Arc<Site>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (site, end) = (Arc::clone(site), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut looks = 0;
            while !end.load(Ordering::Relaxed) {
                let begun = Instant::now();
                for delivery in site.deliveries() {
                    assert_safe(&site, &delivery);
                    looks += 1;
                }
                // with many files, no more than a share of a core
                std::thread::sleep(PACE.max(begun.elapsed() * 3));
            }
            looks
        });
        Self { stop, thread }
    }

    /// How often it has looked at a file. Fails if one was in danger.
    pub(crate) fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        // with the watcher's own words
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Where a bad file goes.
pub(crate) fn invalid(site: &Site, delivery: &Delivery) -> PathBuf {
    let below = delivery.path.strip_prefix("ctao/acada").unwrap();
    site.storage(1).join("ctao/acada/invalid").join(below)
}

/// Looked for in the order of the road: a file that has left one place has come to the next by then. Length alone where a
/// file stays for long: what is there at the end is read as a whole.
fn assert_safe(site: &Site, delivery: &Delivery) {
    let whole =
        |path: PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.len() == delivery.content.len() as u64);
    let elsewhere = || match delivery.fate {
        Fate::Released => [2, 3].into_iter().all(|number| whole(site.storage(number).join(&delivery.path))),
        Fate::Rejected => whole(invalid(site, delivery)),
        Fate::Kept => false,
    };
    let safe = whole(site.storage(1).join(&delivery.path)) || elsewhere();
    // another content may have been delivered since the deliveries were listed; it is looked at the next time
    assert!(
        safe || !site.is_expected(delivery),
        "{} is neither on site, nor in invalid/, nor in two copies off site",
        delivery.lfn()
    );
}
