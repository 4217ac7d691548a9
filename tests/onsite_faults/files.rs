//! A file changes on site after it was verified, without a delivery.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::Arc;
use std::time::Duration;

use dl0_ingest::custody::State;
use dl0_ingest::embedded::{Daemon as RucioDaemon, Outage};
use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::daemon_support::checker::ends_well;
use crate::daemon_support::daemon::{Daemon, End};
use crate::daemon_support::site::{Delivery, Fate, Site, fixture};
use crate::{named, site, with_a_confirmed_file};

/// What somebody does to a file.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Other content is written into it.
    Overwritten,
    /// Its end is cut off.
    Truncated,
    /// A symbolic link takes its place.
    Link,
    /// Another file with the same content takes its place.
    Replaced,
}

const CHANGES: [Change; 4] = [Change::Overwritten, Change::Truncated, Change::Link, Change::Replaced];

impl Change {
    /// Does it, and tells the site that the file must end like that.
    fn happen(self, site: &Site, delivery: &Delivery, fate: Fate) {
        let path = site.storage(1).join(&delivery.path);
        let beside = site.root().join("beside");
        let content = match self {
            Self::Overwritten => fixture("MUON"),
            Self::Truncated => delivery.content[..delivery.content.len() - 2880].to_vec(),
            Self::Link | Self::Replaced => delivery.content.to_vec(),
        };
        match self {
            // the same inode, and open for everybody to see
            Self::Overwritten | Self::Truncated => fs::write(&path, &content).unwrap(),
            Self::Link => {
                fs::write(&beside, &content).unwrap();
                let link = site.root().join("link");
                symlink(&beside, &link).unwrap();
                fs::rename(link, &path).unwrap();
            }
            Self::Replaced => {
                fs::write(&beside, &content).unwrap();
                fs::rename(&beside, &path).unwrap();
            }
        }
        let inodes = vec![fs::symlink_metadata(&path).unwrap().ino()];
        site.expect(&Delivery { content: Arc::new(content), inodes, fate, ..delivery.clone() });
    }
}

/// Each change at a site of its own: the first contradiction stops the releases of all others.
async fn each<F: Future<Output = ()> + Send + 'static>(act: impl Fn(Change) -> F) {
    let mut sites = JoinSet::new();
    for change in CHANGES {
        sites.spawn(act(change));
    }
    while let Some(ended) = sites.join_next().await {
        ended.unwrap();
    }
}

fn deliver(site: &Site) -> Delivery {
    site.deliver(&named("a"), fixture("CAL"), Fate::Released)
}

async fn held_as(site: &Site, delivery: &Delivery, code: &str) {
    let row = site.until_state(delivery, State::Held).await;
    assert_eq!(row.reason_code.as_deref(), Some(code), "{row:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_before_it_is_registered_is_verified_anew_or_held() {
    each(|change| async move {
        let site = site().await;
        site.rucio.faults().rucio_down(Outage::Refuse);
        let daemon = Daemon::start(&site, &[]);
        let file = deliver(&site);
        site.until_state(&file, State::Verified).await;
        change.happen(
            &site,
            &file,
            match change {
                Change::Overwritten | Change::Replaced => Fate::Released,
                Change::Truncated => Fate::Rejected,
                Change::Link => Fate::Kept,
            },
        );
        site.rucio.faults().rucio_up();
        match change {
            Change::Link => held_as(&site, &file, "changed").await,
            // by the intake, or by the registration
            _ => drop(daemon.until_said(&site, "file changed ").await),
        }
        ends_well(&site, daemon).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_before_its_first_copy_is_held_and_never_copied_wrongly() {
    each(|change| async move {
        let site = site().await;
        site.rucio.faults().pause(RucioDaemon::Conveyor);
        let daemon = Daemon::start(&site, &[]);
        let file = deliver(&site);
        site.until_row(&file, "the end of the delivery", |row| row.state == State::Registered && !row.trigger_pending)
            .await;
        change.happen(&site, &file, Fate::Kept);
        site.rucio.faults().resume(RucioDaemon::Conveyor);
        let code = match change {
            // the bytes are right, so they are copied; the file is not the one that was verified
            Change::Link | Change::Replaced => "evidence",
            Change::Overwritten | Change::Truncated => "changed",
        };
        let daemon = if code == "changed" {
            // Rucio refuses the copies for ever; the file is looked at when they are five minutes late
            assert_eq!(daemon.stop(&site).await, End::Stopped);
            site.age(&file, Duration::from_mins(6)).await;
            Daemon::start(&site, &[])
        } else {
            daemon
        };
        match change {
            Change::Link => held_as(&site, &file, "changed").await,
            _ => held_as(&site, &file, code).await,
        }
        ends_well(&site, daemon).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_its_copies_are_proven_is_held() {
    each(|change| async move {
        let site = site().await;
        site.change("hold: 100ms", "hold: 1h");
        let daemon = Daemon::start(&site, &[]);
        let file = deliver(&site);
        site.until_row(&file, "the first look", |row| row.first_look.is_some()).await;
        change.happen(&site, &file, Fate::Kept);
        site.change("hold: 1h", "hold: 100ms");
        daemon.signal(Signal::HUP);
        held_as(&site, &file, if matches!(change, Change::Link) { "changed" } else { "evidence" }).await;
        ends_well(&site, daemon).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_right_before_its_release_is_held() {
    each(|change| async move {
        let (site, daemon, file) = with_a_confirmed_file().await;
        change.happen(&site, &file, Fate::Kept);
        fs::remove_file(site.kill_switch()).unwrap();
        held_as(&site, &file, if matches!(change, Change::Link) { "changed" } else { "evidence" }).await;
        ends_well(&site, daemon).await;
    })
    .await;
}
