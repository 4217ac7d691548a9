//! A release that is decided and was interrupted, and a file that Rucio left behind: brakes and settings count as they are by
//! the time of the effect, also those that change while the copies are looked at.

use std::fs;
use std::time::Duration;

use dl0_ingest::custody::State;
use dl0_ingest::custody::brakes::Target;
use dl0_ingest::ledger::{FileRow, Operator};
use rucio_miniature::{Answer, Endpoint, Entry, Event};

use crate::road::DELETION_ON;
use crate::road::ended_rules::decided_and_braked;
use crate::testkit::fixture;
use crate::testkit::site::Site;

/// Longer than it takes an operator of these tests to change their mind.
const LOOK: Duration = Duration::from_secs(4);

/// What an operator does while the copies are looked at.
#[derive(Clone, Copy, Debug)]
enum Mind {
    KillSwitch,
    Hold,
    Off,
    DryRun,
}

impl Mind {
    const ALL: [Self; 4] = [Self::KillSwitch, Self::Hold, Self::Off, Self::DryRun];

    /// Does it, and returns what the file then waits for.
    async fn change(self, site: &Site, lfn: &str) -> &'static str {
        match self {
            Self::KillSwitch => {
                fs::write(site.kill_switch(), "not this one").unwrap();
                "not this one"
            }
            Self::Hold => {
                let ada = Operator { who: "ada (uid 1000)".to_owned(), reason: "I want to look".to_owned() };
                site.operator().await.place_hold(&Target::File(lfn.to_owned()), &ada).await.unwrap();
                "ada (uid 1000) holds"
            }
            Self::Off => reload(site, "deletion: off"),
            Self::DryRun => reload(site, "deletion: dry-run"),
        }
    }

    /// Takes it back.
    async fn change_back(self, site: &Site, lfn: &str) {
        match self {
            Self::KillSwitch => fs::remove_file(site.kill_switch()).unwrap(),
            Self::Hold => {
                let ada = Operator { who: "ada (uid 1000)".to_owned(), reason: "I have looked".to_owned() };
                assert!(site.operator().await.lift_hold(&Target::File(lfn.to_owned()), &ada).await.unwrap());
            }
            Self::Off | Self::DryRun => drop(reload(site, "deletion: on")),
        }
    }
}

fn reload(site: &Site, deletion: &str) -> &'static str {
    drop(site.config_with(|text| text.replace("deletion: on", deletion)));
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP).unwrap();
    "deletion is not on any more"
}

/// The next look at copies takes a while; waits until it has begun.
async fn look_begins(site: &Site) {
    while !site.rucio.faults().spoilt().contains_key(&Endpoint::RuleLocks) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn waits_for(words: &str) -> impl Fn(&FileRow) -> bool {
    move |row| row.waits_for.as_ref().is_some_and(|waits_for| waits_for.contains(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn brakes_and_settings_that_change_while_an_interrupted_release_is_taken_up_again_stop_it() {
    for mind in Mind::ALL {
        let site = Site::new(DELETION_ON).await;
        let (daemon, row) = decided_and_braked(&site).await;
        daemon.stop().await;
        site.rucio.faults().answer(Endpoint::RuleLocks, 1, &Answer::Delay(LOOK));
        fs::remove_file(site.kill_switch()).unwrap();
        let daemon = site.start_reloadable();
        look_begins(&site).await;
        let words = mind.change(&site, &row.lfn).await;
        let row = site.until_row(&row.lfn, waits_for(words)).await;
        assert_eq!((row.state, row.release_announced_at), (State::Releasing, None), "{mind:?}: {row:#?}");
        let rule = row.on_site_rule.unwrap();
        let ending = |entry: &Entry| matches!(&entry.event, Event::RuleEnding { id, .. } if *id == rule);
        assert!(!site.rucio.history().iter().any(ending), "{mind:?}");
        mind.change_back(&site, &row.lfn).await;
        site.until_state(&row.lfn, State::Released).await;
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brakes_and_settings_that_change_while_a_leftovers_copies_are_looked_at_keep_it() {
    let removed = DELETION_ON.replace("deletion: on", "deletion: on, leftover: remove, leftover_grace: 2s");
    for mind in Mind::ALL {
        let site = Site::new(&removed).await;
        site.rucio.faults().leave_files(true);
        let daemon = site.start_reloadable();
        let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
        site.until_row(&lfn, |row| row.replica_gone_at.is_some()).await;
        site.rucio.faults().answer(Endpoint::RuleLocks, 1, &Answer::Delay(LOOK));
        look_begins(&site).await;
        let words = mind.change(&site, &lfn).await;
        let row = site.until_row(&lfn, waits_for(words)).await;
        assert_eq!(row.state, State::Releasing, "{mind:?}: {row:#?}");
        assert!(site.path("a.fits.fz").exists(), "{mind:?}");
        mind.change_back(&site, &lfn).await;
        site.until_state(&lfn, State::Released).await;
        assert!(!site.path("a.fits.fz").exists(), "{mind:?}");
        daemon.stop().await;
    }
}
