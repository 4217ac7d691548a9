//! A file changes on site after it was verified, without a delivery.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use dl0_ingest::custody::State;
use rucio_miniature::{Daemon as RucioDaemon, Outage};
use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::onsite_faults::{named, site, with_a_confirmed_file};
use crate::testkit::change::Change;
use crate::testkit::checker::ends_well;
use crate::testkit::deliveries::{Delivery, Fate};
use crate::testkit::fixture;
use crate::testkit::process::{Daemon, End};
use crate::testkit::site::Site;

/// Changes a file, and tells the site that it must end like that.
fn change(change: Change, site: &Site, delivery: &Delivery, fate: Fate) {
    let path = site.storage(1).join(&delivery.path);
    let content = change.happen(&path, &delivery.content, &fixture("MUON"), &site.root().join("beside"));
    let inodes = vec![fs::symlink_metadata(&path).unwrap().ino()];
    site.expect(&Delivery { content: Arc::new(content), inodes, fate, ..delivery.clone() });
}

/// Each change at a site of its own: the first contradiction stops the releases of all others.
async fn each<F: Future<Output = ()> + Send + 'static>(act: impl Fn(Change) -> F) {
    let mut sites = JoinSet::new();
    for change in Change::ALL {
        sites.spawn(act(change));
    }
    while let Some(ended) = sites.join_next().await {
        ended.unwrap();
    }
}

fn deliver(site: &Site) -> Delivery {
    site.deliver_for(&named("a"), fixture("CAL"), Fate::Released)
}

async fn held_as(site: &Site, delivery: &Delivery, code: &str) {
    let row = site.until_state(delivery, State::Held).await;
    assert_eq!(row.reason_code.as_deref(), Some(code), "{row:#?}");
}

/// How a file ends that changes when it is registered: another one with the same content is as good.
fn fate(how: Change) -> Fate {
    if how == Change::Replaced { Fate::Released } else { Fate::Kept }
}

async fn held_if_changed(how: Change, site: &Site, delivery: &Delivery) {
    if fate(how) == Fate::Kept {
        held_as(site, delivery, "changed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_before_it_is_registered_is_verified_anew_or_held() {
    each(|how| async move {
        let site = site().await;
        site.rucio.faults().rucio_down(Outage::Refuse);
        let daemon = Daemon::start(&site, &[]);
        let file = deliver(&site);
        site.until_state(&file, State::Verified).await;
        change(
            how,
            &site,
            &file,
            match how {
                Change::Overwritten | Change::Replaced => Fate::Released,
                Change::Truncated => Fate::Rejected,
                Change::Link => Fate::Kept,
            },
        );
        site.rucio.faults().rucio_up();
        match how {
            Change::Link => held_as(&site, &file, "changed").await,
            // by the intake, or by the registration
            _ => drop(daemon.until_said(&site, "file changed ").await),
        }
        ends_well(&site, daemon).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_vanishes_before_it_is_registered_is_told_of_and_goes_on_when_it_is_back() {
    let site = site().await;
    site.rucio.faults().rucio_down(Outage::Refuse);
    let daemon = Daemon::start(&site, &[]);
    let file = deliver(&site);
    site.until_state(&file, State::Verified).await;
    let (path, away) = (site.storage(1).join(&file.path), site.root().join("away"));
    fs::rename(&path, &away).unwrap();
    site.rucio.faults().rucio_up();
    let told = daemon.until_said(&site, "its data file is gone; it goes on when it comes back").await;
    assert_eq!((&told["level"], &told["lfn"]), (&"ERROR".into(), &file.lfn().into()), "{told:#}");
    fs::rename(&away, &path).unwrap();
    ends_well(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_before_its_first_copy_is_held_and_never_copied_wrongly() {
    each(|how| async move {
        let site = site().await;
        site.rucio.faults().pause(RucioDaemon::Conveyor);
        let daemon = Daemon::start(&site, &[]);
        let file = deliver(&site);
        site.until_row(&file, |row| row.state == State::Registered && !row.trigger_pending).await;
        change(how, &site, &file, fate(how));
        site.rucio.faults().resume(RucioDaemon::Conveyor);
        let daemon = if matches!(how, Change::Overwritten | Change::Truncated) {
            // Rucio refuses the copies for ever; the file is looked at when they are five minutes late
            assert_eq!(daemon.stop(&site).await, End::Stopped);
            site.age(&file, Duration::from_mins(6)).await;
            Daemon::start(&site, &[])
        } else {
            daemon
        };
        held_if_changed(how, &site, &file).await;
        ends_well(&site, daemon).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_its_copies_are_proven_is_held() {
    each(|how| async move {
        let site = site().await;
        site.change("hold: 100ms", "hold: 1h");
        let daemon = Daemon::start(&site, &[]);
        let file = deliver(&site);
        site.until_row(&file, |row| row.first_look.is_some()).await;
        change(how, &site, &file, fate(how));
        site.change("hold: 1h", "hold: 100ms");
        daemon.signal(Signal::HUP);
        held_if_changed(how, &site, &file).await;
        ends_well(&site, daemon).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_right_before_its_release_is_held() {
    each(|how| async move {
        let (site, daemon, file) = with_a_confirmed_file().await;
        change(how, &site, &file, fate(how));
        fs::remove_file(site.kill_switch()).unwrap();
        held_if_changed(how, &site, &file).await;
        ends_well(&site, daemon).await;
    })
    .await;
}
