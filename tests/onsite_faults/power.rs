//! Power cuts: what was not synced is gone, and the daemon with it.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use crate::onsite_faults::{named, site};
use crate::testkit::checker::ends_well;
use crate::testkit::deliveries::{Delivery, Fate};
use crate::testkit::fixture;
use crate::testkit::mounts::PowerDisk;
use crate::testkit::process::Daemon;
use crate::testkit::site::Site;
use crate::testkit::watcher::{Watcher, invalid};

/// Each life is longer than the one before by this, so that the cuts find the road of the files everywhere.
const LONGER: Duration = Duration::from_millis(100);
const LIVES: RangeInclusive<u32> = 1..=12;

/// As ACADA does: on the disk before the trigger is there.
fn sync(path: &Path) {
    for synced in [path, path.parent().unwrap()] {
        fs::File::open(synced).unwrap().sync_all().unwrap();
    }
}

fn deliver(site: &Site, name: &str, fate: Fate) -> Delivery {
    let mut content = fixture("CAL");
    if fate == Fate::Rejected {
        content.truncate(content.len() - 2880);
    }
    let delivery = site.deliver_for(&named(name), content, fate);
    sync(&site.storage(1).join(&delivery.path));
    delivery
}

/// Lets a daemon work on some files for ever longer times, and cuts the power of the disk each time.
async fn cut_again_and_again(site: &Site, disk: &PowerDisk) {
    for life in LIVES {
        let daemon = Daemon::start(site, &[]);
        for number in 0..4 {
            deliver(site, &format!("good-{life}-{number}"), Fate::Released);
            deliver(site, &format!("bad-{life}-{number}"), Fate::Rejected);
        }
        daemon.ready(site).await;
        tokio::time::sleep(LONGER * life).await;
        disk.cut_power();
        daemon.kill().await;
        site.until("the disk to be left alone", || std::future::ready(disk.is_away())).await;
        disk.power_on();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_takes_nothing_from_the_ledger_and_the_audit_record_that_others_rely_on() {
    let site = site().await;
    let disk = PowerDisk::new(&site.root().join("image"), &site.state());
    let watcher = Watcher::start(&site);
    cut_again_and_again(&site, &disk).await;
    ends_well(&site, Daemon::start(&site, &[])).await;
    assert!(watcher.finish() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_power_cut_of_the_data_disk_files_lie_where_the_ledger_says() {
    let site = site().await;
    let disk = PowerDisk::new(&site.root().join("image"), &site.storage(1));
    site.make_tree();
    // what Rucio deletes is for its storage to sync
    fs::write(site.kill_switch(), "until the last cut").unwrap();
    cut_again_and_again(&site, &disk).await;
    for delivery in site.deliveries() {
        let places = [site.storage(1).join(&delivery.path), invalid(&site, &delivery)];
        let there = places.iter().filter(|place| place.exists()).count();
        assert_eq!(there, 1, "{delivery:?}");
    }
    fs::remove_file(site.kill_switch()).unwrap();
    ends_well(&site, Daemon::start(&site, &[])).await;
}
