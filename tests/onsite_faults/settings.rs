//! The configuration changes under the daemon, and what Rucio says of the data centres.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use dl0_ingest::custody::State;
use dl0_ingest::ledger::{FileRow, Ledger};
use rucio_miniature::{Answer, Endpoint};
use rustix::process::Signal;

use crate::onsite_faults::{named, site, with_a_confirmed_file};
use crate::testkit::checker::ends_well;
use crate::testkit::deliveries::{Delivery, Fate};
use crate::testkit::fixture;
use crate::testkit::process::{Daemon, End};
use crate::testkit::site::Site;
use crate::testkit::watcher::Watcher;

/// Between two reloads.
const PACE: Duration = Duration::from_millis(30);

#[tokio::test(flavor = "multi_thread")]
async fn reloads_in_the_middle_of_everything_also_of_a_broken_file_disturb_nothing() {
    let site = site().await;
    let watcher = Watcher::start(&site);
    let daemon = Daemon::start(&site, &[]);
    daemon.ready(&site).await;
    let good = fs::read_to_string(site.config_file()).unwrap();
    for number in 0..60 {
        let content = fixture(["CAL", "MUON", "SUBARRAY"][number % 3]);
        match number % 6 {
            5 => {
                site.deliver_for(&named(&number.to_string()), content[..content.len() - 2880].to_vec(), Fate::Rejected)
            }
            _ => site.deliver_for(&named(&number.to_string()), content, Fate::Released),
        };
        let text = match number % 4 {
            0 => good.clone(),
            1 => good.replace("deletion: on", "deletion: dry-run"),
            2 => format!("{good}releases: {{deletion: on}}\n"),
            // cut off where what is left is a whole configuration: with defaults, so that nothing is deleted
            _ => good[..good.find("intake:").unwrap()].to_owned(),
        };
        fs::write(site.config_file(), text).unwrap();
        daemon.signal(Signal::HUP);
        tokio::time::sleep(PACE).await;
    }
    // a slow machine may have read none of the broken ones before the next took its place
    fs::write(site.config_file(), format!("{good}releases: {{deletion: on}}\n")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.until_said(&site, "the new configuration is refused, the old one stays in force").await;
    fs::write(site.config_file(), good).unwrap();
    daemon.signal(Signal::HUP);
    ends_well(&site, daemon).await;
    assert!(watcher.finish() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_datasets_are_settled_is_taken_over_by_a_reload() {
    let site = site().await;
    let quick = "settle: {after: 500ms}";
    site.change(quick, "settle: {after: null}");
    let daemon = Daemon::start(&site, &[]);
    let file = site.deliver_for(&named("a"), fixture("CAL"), Fate::Released);
    site.until_state(&file, State::Released).await;
    site.change("settle: {after: null}", quick);
    daemon.signal(Signal::HUP);
    daemon.until_said(&site, "configuration read again").await;
    assert!(!daemon.said(&site).iter().any(|line| line["message"].as_str().unwrap().contains("need a restart")));
    ends_well(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_while_a_file_is_being_released_leaves_it_to_who_releases_it() {
    let (site, daemon, file) = with_a_confirmed_file().await;
    site.rucio.faults().answer(Endpoint::UpdateRule, 1, &Answer::Delay(Duration::from_secs(2)));
    fs::remove_file(site.kill_switch()).unwrap();
    site.until_row(&file, |row| row.release_announced_at.is_some()).await;
    daemon.signal(Signal::HUP);
    daemon.until_said(&site, "configuration read again").await;
    ends_well(&site, daemon).await;
    let audit = fs::read_to_string(site.state().join("audit.jsonl")).unwrap();
    assert_eq!(audit.matches(r#""effect":"release""#).count(), 1, "two have carried it out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_lifted_or_a_retry_while_a_file_is_being_released_leaves_it_to_who_releases_it() {
    let (site, daemon, file) = with_a_confirmed_file().await;
    site.rucio.faults().answer(Endpoint::UpdateRule, 1, &Answer::Delay(Duration::from_secs(8)));
    fs::remove_file(site.kill_switch()).unwrap();
    site.until_row(&file, |row| row.release_announced_at.is_some()).await;
    // the hold comes too late, perhaps
    for (command, code) in [("hold", 1), ("release-hold", 0), ("retry", 0)] {
        let said = site.say(&[command, &file.lfn(), "--reason", "for a test"]);
        assert_eq!(said.code, code, "{}{}", said.out, said.err);
    }
    ends_well(&site, daemon).await;
    let audit = fs::read_to_string(site.state().join("audit.jsonl")).unwrap();
    assert_eq!(audit.matches(r#""effect":"release""#).count(), 1, "two have carried it out");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_off_site_expression_for_one_site_is_not_taken_over_and_not_started_with() {
    let (site, daemon, before) = with_a_confirmed_file().await;
    site.change("expression: OFFSITE", "expression: STORAGE-2");
    daemon.signal(Signal::HUP);
    daemon.until_said(&site, "also changes settings that need a restart").await;
    fs::remove_file(site.kill_switch()).unwrap();
    site.until_state(&before, State::Released).await;
    let after = site.deliver_for(&named("after"), fixture("CAL"), Fate::Released);
    site.until_state(&after, State::Released).await;
    assert_eq!(daemon.stop(&site).await, End::Stopped);
    site.deliver_for(&named("meanwhile"), fixture("CAL"), Fate::Released);
    let daemon = Daemon::start(&site, &[]);
    daemon.until_said(&site, "'STORAGE-2' matches 1 site(s) besides the on-site RSE").await;
    assert_eq!(daemon.ended().await, End::Other(ExitStatus::from_raw(3 << 8)));
    site.change("expression: STORAGE-2", "expression: OFFSITE");
    let daemon = Daemon::start(&site, &[]);
    ends_well(&site, daemon).await;
}

/// A list that is too long to arrive in time, say. Nothing else would tell that nobody looks after the rules on site.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_rules_that_never_comes_is_told_of_while_rucio_answers_everything_else() {
    let site = site().await;
    site.change("  account: ingest\n", "  account: ingest\n  retry_budget: 100ms\n");
    fs::write(site.kill_switch(), "so that there is a rule to look after").unwrap();
    let daemon = Daemon::start(&site, &[]);
    let file = site.deliver_for(&named("a"), fixture("CAL"), Fate::Released);
    site.until_state(&file, State::Confirmed).await;
    site.rucio.faults().answer(Endpoint::Rules, 100_000, &Answer::Status(500));
    let told = daemon.until_said(&site, "list our rules on STORAGE-1").await;
    assert_eq!((&told["level"], &told["stage"]), (&"ERROR".into(), &"protection".into()), "{told:#}");
    site.rucio.faults().clear();
    let over = |line: &serde_json::Value| line["message"] == "works again" && line["stage"] == "protection";
    daemon.until_line(&site, "the list to come", over).await;
    fs::remove_file(site.kill_switch()).unwrap();
    ends_well(&site, daemon).await;
}

/// A confirmed file waits for what somebody's decision has made missing; it is not held for it, and nothing else stops.
async fn waits_for(site: &Site, file: &Delivery, why: &str) {
    let waits = |row: &FileRow| row.waits_for.as_deref().is_some_and(|waits| waits.contains(why));
    let row = site.until_row(file, waits).await;
    assert_eq!(row.state, State::Confirmed, "{row:#?}");
    assert!(site.storage(1).join(&file.path).exists());
    let ledger = Ledger::open_read_only(&site.ledger_file()).await.unwrap();
    assert!(ledger.breaker().await.unwrap().is_none());
    ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_centres_that_become_one_site_in_rucio_are_no_two_copies() {
    let (site, daemon, file) = with_a_confirmed_file().await;
    site.rucio.set_attribute("STORAGE-3", "site", Some("PIC"));
    fs::remove_file(site.kill_switch()).unwrap();
    waits_for(&site, &file, "1 of 2 sites hold a proven copy").await;
    site.rucio.set_attribute("STORAGE-3", "site", Some("CSCS"));
    ends_well(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_turns_out_to_lie_on_the_mountain_is_no_copy() {
    let (site, daemon, file) = with_a_confirmed_file().await;
    site.rucio.set_attribute("STORAGE-3", "site", Some("LAPALMA"));
    fs::remove_file(site.kill_switch()).unwrap();
    waits_for(&site, &file, "STORAGE-3 is at the site of the on-site RSE").await;
    site.rucio.set_attribute("STORAGE-3", "site", Some("CSCS"));
    ends_well(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_site_of_the_on_site_rse_is_unknown_no_copy_is_known_to_be_elsewhere() {
    let (site, daemon, file) = with_a_confirmed_file().await;
    site.rucio.set_attribute("STORAGE-1", "site", None);
    fs::remove_file(site.kill_switch()).unwrap();
    daemon.until_said(&site, "the on-site RSE STORAGE-1 has no attribute 'site'").await;
    assert_eq!(site.row(&file).await.unwrap().state, State::Confirmed);
    assert!(site.storage(1).join(&file.path).exists());
    site.rucio.set_attribute("STORAGE-1", "site", Some("LAPALMA"));
    ends_well(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_on_site_rse_that_joins_the_expression_in_rucio_is_told_of_and_files_wait() {
    let (site, daemon, file) = with_a_confirmed_file().await;
    site.rucio.set_attribute("STORAGE-1", "OFFSITE", Some("True"));
    fs::remove_file(site.kill_switch()).unwrap();
    daemon.until_said(&site, "offsite.expression 'OFFSITE' also matches the on-site RSE STORAGE-1").await;
    assert_eq!(site.row(&file).await.unwrap().state, State::Confirmed);
    assert!(site.storage(1).join(&file.path).exists());
    site.rucio.set_attribute("STORAGE-1", "OFFSITE", None);
    ends_well(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_centre_that_leaves_the_expression_in_rucio_is_no_copy() {
    let (site, daemon, file) = with_a_confirmed_file().await;
    site.rucio.set_attribute("STORAGE-3", "OFFSITE", None);
    fs::remove_file(site.kill_switch()).unwrap();
    waits_for(&site, &file, "1 of 2 sites hold a proven copy").await;
    site.rucio.set_attribute("STORAGE-3", "OFFSITE", Some("True"));
    ends_well(&site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_leads_to_another_copy_once_more_is_told_of_once_more() {
    let site = site().await;
    let daemon = Daemon::start(&site, &[]);
    for lends in ["STORAGE-3", "STORAGE-1"] {
        site.rucio.faults().lead("STORAGE-2", site.rucio.storage_url(lends).unwrap());
        let file = site.deliver_for(&named(lends), fixture("CAL"), Fate::Released);
        daemon.until_said(&site, &format!("where {lends} has its copy")).await;
        site.rucio.faults().clear();
        site.until_state(&file, State::Released).await;
    }
    ends_well(&site, daemon).await;
}
