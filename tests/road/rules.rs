//! What others do to our rules behind our back.

use std::time::Duration;

use dl0_ingest::custody::{State, UnderItsName};
use dl0_ingest::ledger::{FileRow, Operator, Retried};
use dl0_ingest::names::Did;
use rucio_client::{Client, Kind, Rule};
use rucio_miniature::{Answer, Daemon as RucioDaemon, Endpoint, Event, Options, Outage};

use crate::road::DRY_RUN;
use crate::road::reconcile::{change_ledger, sources};
use crate::testkit::fixture;
use crate::testkit::in_process::{InProcess, with_first_copy_only_by};
use crate::testkit::site::{DAY, Site, lfn};

const NAME: &str = "a.fits.fz";

/// A file whose copies have all been asked for and have come, at which nobody has looked since, and no daemon.
async fn replicated() -> (Site, FileRow, Client) {
    replicated_with(|_| {}).await
}

async fn replicated_with(change: impl FnOnce(&mut Options)) -> (Site, FileRow, Client) {
    let site = Site::with(DRY_RUN, change).await;
    let patient =
        |text: String| text.replace("hold: 200ms, poll: 50ms, poll_max: 200ms", "hold: 200ms, poll: 1h, poll_max: 1h");
    // it looks for the further copy before that comes, and not again
    let (daemon, row) = with_first_copy_only_by(InProcess::start(site.config_with(patient)), &site, NAME).await;
    site.rucio.faults().resume(RucioDaemon::Conveyor);
    let (lfn, did) = (row.lfn.clone(), row.did());
    site.rucio
        .until(|_| site.rucio.replicas(&did).values().filter(|state| format!("{state:?}") == "Available").count() == 3)
        .await;
    daemon.stop().await;
    assert!(row.first_look.is_none(), "the copies came before anybody could look: {row:#?}");
    site.age(&lfn, Duration::from_mins(6)).await;
    let rucio = sources(&site, None).rucio;
    (site, row, rucio)
}

pub(crate) async fn removed(rucio: &Client, rule: &str) {
    rucio.retire_rule(rule, || true).await.unwrap();
    let begun = std::time::Instant::now();
    while rucio.rule(rule).await.map_or_else(|error| error.kind() != Kind::NotFound, |_| true) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{rule} stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn first_copy_rule(rucio: &Client) -> Rule {
    rucio.did_rules(&Did::new("acada", format!("/{DAY}"))).await.unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_the_further_copies_that_was_removed_is_placed_again() {
    let (site, row, rucio) = replicated().await;
    let old = row.further_copies_rule.unwrap();
    removed(&rucio, &old).await;
    let daemon = site.start();
    let row = site.until_state(&row.lfn, State::Confirmed).await;
    let new = row.further_copies_rule.clone().unwrap();
    assert_ne!(new, old);
    assert_eq!(rucio.rule(&new).await.unwrap().expires_at, None);
    assert!(site.events(&row).await.iter().any(|event| event.kind == "further-copies-rule-replaced"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_the_first_copies_that_was_removed_is_placed_again() {
    let (site, row, rucio) = replicated().await;
    let old = first_copy_rule(&rucio).await.id;
    removed(&rucio, &old).await;
    let daemon = site.start();
    site.until_state(&row.lfn, State::Confirmed).await;
    let new = first_copy_rule(&rucio).await;
    assert_ne!(new.id, old);
    daemon.stop().await;
}

/// The account is full, say, when it is to be placed again.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_the_first_copies_that_cannot_be_placed_again_at_once_is_placed_later() {
    let (site, row, rucio) = replicated().await;
    removed(&rucio, &first_copy_rule(&rucio).await.id).await;
    let full = Answer::Refuse { status: 409, class: "InsufficientAccountLimit", message: "there is no more quota" };
    site.rucio.faults().answer(Endpoint::AddRules, 2, &full);
    let daemon = site.start();
    site.until_state(&row.lfn, State::Confirmed).await;
    assert_eq!(first_copy_rule(&rucio).await.expires_at, None);
    daemon.stop().await;
}

/// The account is full.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_the_further_copies_that_cannot_be_placed_again_keeps_no_other_file_waiting() {
    let site = Site::new(&DRY_RUN.replace("hold: 200ms", "hold: 1h")).await;
    let daemon = site.start();
    let lfns = [NAME, "b.fits.fz"].map(|name| site.deliver(name, &fixture("SUBARRAY")));
    let mut rules = Vec::new();
    for lfn in &lfns {
        rules.extend(site.until_row(lfn, |row| row.first_look.is_some()).await.further_copies_rule);
    }
    daemon.stop().await;
    for lfn in &lfns {
        site.age(lfn, Duration::from_secs(1)).await;
    }
    removed(&sources(&site, None).rucio, &rules[0]).await;
    let full = Answer::Refuse { status: 409, class: "InsufficientAccountLimit", message: "there is no more quota" };
    site.rucio.faults().answer(Endpoint::AddRules, 10_000, &full);
    let daemon = InProcess::start(site.config_with(|text| text.replace("hold: 1h", "hold: 200ms")));
    site.until_state(&lfns[1], State::Confirmed).await;
    let unheld = "no permanent rule of ours holds an OK lock at STORAGE-";
    let waits = |row: &FileRow| row.waits_for.as_ref().is_some_and(|waits_for| waits_for.contains(unheld));
    assert_eq!(site.until_row(&lfns[0], waits).await.state, State::Replicated);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_the_first_copies_that_the_ledger_does_not_know_is_found() {
    let (site, row, rucio) = replicated().await;
    let rule = first_copy_rule(&rucio).await.id;
    change_ledger(&site, "UPDATE collections SET first_copy_rule = NULL WHERE first_copy_rule IS NOT NULL").await;
    let daemon = site.start();
    site.until_state(&row.lfn, State::Confirmed).await;
    assert_eq!(first_copy_rule(&rucio).await.id, rule);
    assert_eq!(site.operator().await.first_copy_rule(&row.dataset_did()).await.unwrap(), Some(rule));
    daemon.stop().await;
}

/// Where a rule holds a file.
async fn held_at(rucio: &Client, rule: &str, row: &FileRow) -> String {
    let locks = rucio.rule_locks(rule).await.unwrap();
    locks.into_iter().find(|lock| lock.did == row.did()).unwrap().rse
}

/// Rucio chooses anew, and knows nothing of what the other rule holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_the_first_copies_that_comes_back_where_the_further_copy_lies_changes_places_with_it() {
    let mut changed_places = 0;
    for seed in 0..4 {
        let (site, row, rucio) = replicated_with(|options| options.seed = seed).await;
        let (old_a, old_b) = (first_copy_rule(&rucio).await.id, row.further_copies_rule.clone().unwrap());
        let before = held_at(&rucio, &old_a, &row).await;
        removed(&rucio, &old_a).await;
        let daemon = site.start();
        let row = site.until_state(&row.lfn, State::Confirmed).await;
        let (a, b) = (first_copy_rule(&rucio).await.id, row.further_copies_rule.clone().unwrap());
        let (at_a, at_b) = (held_at(&rucio, &a, &row).await, held_at(&rucio, &b, &row).await);
        assert_ne!(at_a, at_b);
        if at_a != before {
            changed_places += 1;
            assert_ne!(b, old_b);
            assert_eq!(row.first_rse, Some(at_a));
        }
        daemon.stop().await;
    }
    assert!((1..4).contains(&changed_places), "both choices were to be seen: {changed_places}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_somebody_gave_a_rule_is_taken_away() {
    let (site, row, rucio) = replicated().await;
    let rules = [first_copy_rule(&rucio).await.id, row.further_copies_rule.unwrap()];
    for rule in &rules {
        site.rucio.delete_rule(rule);
        assert!(rucio.rule(rule).await.unwrap().expires_at.is_some());
    }
    let daemon = site.start();
    site.until_state(&row.lfn, State::Confirmed).await;
    for rule in &rules {
        assert_eq!(rucio.rule(rule).await.unwrap().expires_at, None);
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_a_suspended_rule_waits_and_is_not_held() {
    let (site, row, _) = replicated().await;
    let rule = row.further_copies_rule.unwrap();
    site.rucio.suspend_rule(&rule, true);
    let daemon = site.start();
    let waiting = site
        .until_row(&row.lfn, |row| {
            row.state != State::Replicated || row.waits_for.as_ref().is_some_and(|why| why.contains("SUSPENDED"))
        })
        .await;
    assert_eq!(waiting.state, State::Replicated);
    assert!(waiting.waits_for.unwrap().contains(&rule));
    site.rucio.suspend_rule(&rule, false);
    site.until_state(&row.lfn, State::Confirmed).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_on_site_copy_whose_rule_was_deleted_is_protected_again_before_the_reaper_comes() {
    let site = Site::new(DRY_RUN).await;
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    let daemon = site.start();
    let lfns = [site.deliver(NAME, &fixture("SUBARRAY")), site.deliver("b.fits.fz", &fixture("SUBARRAY"))];
    let mut rules = Vec::new();
    for lfn in &lfns {
        let row = site.until_row(lfn, |row| row.state == State::Registered && row.on_site_rule.is_some()).await;
        rules.push(row.on_site_rule.unwrap());
    }
    let rucio = sources(&site, None).rucio;
    // one ends in an hour, the other is gone, and its replica is the reaper's as soon as that looks
    site.rucio.faults().pause(RucioDaemon::Reaper);
    site.rucio.delete_rule(&rules[0]);
    rucio.end_rule(&rules[1], || true).await.unwrap();
    let row = site.until_row(&lfns[1], |row| row.on_site_rule.as_ref() != Some(&rules[1])).await;
    assert_eq!(row.state, State::Registered);
    let begun = std::time::Instant::now();
    while rucio.rule(&rules[0]).await.unwrap().expires_at.is_some() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    site.rucio.faults().resume(RucioDaemon::Reaper);
    site.rucio.faults().resume(RucioDaemon::Conveyor);
    for lfn in &lfns {
        site.until_state(lfn, State::Confirmed).await;
        assert!(site.data().join(&lfn[1..]).exists());
    }
    daemon.stop().await;
}

/// The account is full, say: what cannot be protected now must not keep what comes after it in danger.
#[tokio::test(flavor = "multi_thread")]
async fn an_on_site_copy_that_cannot_be_protected_again_leaves_no_other_unprotected() {
    let site = Site::new(DRY_RUN).await;
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    let daemon = site.start();
    let mut rules = Vec::new();
    for name in [NAME, "b.fits.fz"] {
        let lfn = site.deliver(name, &fixture("SUBARRAY"));
        let row = site.until_row(&lfn, |row| row.state == State::Registered && row.on_site_rule.is_some()).await;
        rules.push(row.on_site_rule.unwrap());
    }
    daemon.stop().await;
    let rucio = sources(&site, None).rucio;
    removed(&rucio, &rules[0]).await;
    site.rucio.delete_rule(&rules[1]);
    let full = Answer::Refuse { status: 409, class: "InsufficientAccountLimit", message: "there is no more quota" };
    site.rucio.faults().answer(Endpoint::AddRules, 10_000, &full);
    let daemon = site.start();
    let begun = std::time::Instant::now();
    while rucio.rule(&rules[1]).await.unwrap().expires_at.is_some() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it keeps the end that somebody gave it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    site.rucio.faults().clear();
    for name in [NAME, "b.fits.fz"] {
        site.until_state(&lfn(name), State::Confirmed).await;
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_on_site_copy_that_rucio_is_deleting_is_held() {
    let site = Site::with(DRY_RUN, |options| options.pace.reaper = Duration::from_mins(10)).await;
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    let daemon = site.start();
    let lfn = site.deliver(NAME, &fixture("SUBARRAY"));
    let row = site.until_row(&lfn, |row| row.state == State::Registered && row.on_site_rule.is_some()).await;
    daemon.stop().await;
    let rucio = sources(&site, None).rucio;
    removed(&rucio, &row.on_site_rule.unwrap()).await;
    site.rucio.condemn(&Did::new("acada", lfn.as_str()), "STORAGE-1");
    let daemon = site.start();
    let row = site.until_state(&lfn, State::Held).await;
    assert_eq!(row.reason_code.as_deref(), Some("unprotected"));
    daemon.stop().await;
}

/// As after Rucio's database was restored from an earlier day: the file is there, and Rucio does not know it.
#[tokio::test(flavor = "multi_thread")]
async fn an_on_site_copy_that_rucio_forgot_is_registered_anew_when_an_operator_says_so() {
    let site = Site::new(DRY_RUN).await;
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    let daemon = site.start();
    let lfn = site.deliver(NAME, &fixture("SUBARRAY"));
    let row = site.until_row(&lfn, |row| row.state == State::Registered && !row.trigger_pending).await;
    daemon.stop().await;
    let did = Did::new("acada", lfn.as_str());
    site.rucio.faults().leave_file(&did);
    let rucio = sources(&site, None).rucio;
    removed(&rucio, &row.on_site_rule.unwrap()).await;
    site.rucio.condemn(&did, "STORAGE-1");
    let gone = |event: &Event| matches!(event, Event::ReplicaGone { rse, .. } if rse == "STORAGE-1");
    site.rucio.until(|history| history.iter().any(|entry| gone(&entry.event))).await;
    let daemon = site.start();
    let row = site.until_state(&lfn, State::Held).await;
    assert_eq!(row.reason_code.as_deref(), Some("unprotected"));
    site.rucio.faults().resume(RucioDaemon::Conveyor);
    let operator = Operator { who: "ada (uid 1000)".to_owned(), reason: "the file is there".to_owned() };
    let retried = site.operator().await.retry(&row, &operator, UnderItsName::Itself).await.unwrap();
    assert_eq!(retried, Retried::BackTo(State::Verified));
    let row = site.until_row(&lfn, |row| matches!(row.state, State::Confirmed | State::Held)).await;
    assert_eq!(row.state, State::Confirmed, "{row:#?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_rule_is_boosted_and_its_files_go_on() {
    // Rucio by itself would not try again in the time of this test
    let site = Site::with(DRY_RUN, |options| options.pace.repair = Duration::from_hours(1)).await;
    site.rucio.faults().fail_transfers(4);
    let daemon = site.start();
    let lfn = site.deliver(NAME, &fixture("SUBARRAY"));
    let rucio = sources(&site, None).rucio;
    let begun = std::time::Instant::now();
    while site.row(&lfn).await.is_none_or(|row| row.state < State::Registered)
        || first_copy_rule(&rucio).await.stuck_at.is_none()
    {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    daemon.stop().await;
    let told = why(&site, &lfn).await;
    assert!(told.contains("the lock of its first copy is STUCK since") && told.contains("after 4 attempts"), "{told}");
    assert!(told.contains("rucio rule update --boost-rule"), "{told}");
    site.age(&lfn, Duration::from_mins(6)).await;
    let daemon = site.start();
    site.until_state(&lfn, State::Confirmed).await;
    daemon.stop().await;
}

/// What `dl0-ingest why` says.
async fn why(site: &Site, lfn: &str) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dl0-ingest"));
    command.arg("--config").arg(site.config_file()).args(["why", lfn]);
    let said = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(said.status.success(), "{said:?}");
    String::from_utf8(said.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn why_answers_when_rucio_does_not() {
    let (site, row, _) = replicated().await;
    site.rucio.faults().rucio_down(Outage::Refuse);
    let told = why(&site, &row.lfn).await;
    assert!(told.contains("waits for proof of 2") && told.contains("Rucio could not be asked"), "{told}");
}
