//! Quiet datasets end with two rules, and nothing else changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use dl0_ingest::audit_log;
use dl0_ingest::custody::State;
use dl0_ingest::custody::brakes::Target;
use dl0_ingest::ledger::Operator;
use dl0_ingest::names::Did;
use dl0_ingest::reconcile;
use rucio_client::{Client, LockState, RuleState};
use rucio_miniature::{ReplicaState, RseOptions};
use serde_json::Value;

use crate::road::DELETION_ON;
use crate::road::brakes::Metrics;
use crate::road::reconcile::{register_by_hand, sources};
use crate::road::rules::removed;
use crate::testkit::fixture;
use crate::testkit::site::{DAY, Site, lfn};

pub(crate) fn quiet_after(time: &str) -> String {
    format!("{DELETION_ON}settle: {{after: {time}}}\n")
}

pub(crate) fn dataset() -> Did {
    Did::new("acada", format!("/{DAY}"))
}

pub(crate) fn rucio(site: &Site) -> Client {
    sources(site, None).rucio
}

/// Delivers files and waits until all have left.
pub(crate) async fn released(site: &Site, names: &[String]) {
    for name in names {
        site.deliver(name, &fixture("SUBARRAY"));
    }
    for name in names {
        site.until_state(&lfn(name), State::Released).await;
    }
}

pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{n}.fits.fz")).collect()
}

/// The files of the dataset have no rule of their own any more.
pub(crate) async fn until_no_file_has_a_rule(rucio: &Client, names: &[String]) {
    for name in names {
        let did = Did::new("acada", lfn(name));
        let begun = std::time::Instant::now();
        while !rucio.did_rules(&did).await.unwrap().is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{did} keeps its rules");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Exactly two rules hold every file of the dataset, each at one of its two places.
pub(crate) async fn two_rules_hold(site: &Site, names: &[String]) {
    let rucio = rucio(site);
    until_no_file_has_a_rule(&rucio, names).await;
    let rules = rucio.did_rules(&dataset()).await.unwrap();
    assert_eq!(rules.len(), 2, "{rules:#?}");
    let mut held: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for rule in &rules {
        assert_eq!(
            (rule.state, &rule.expires_at, rule.locks_ok),
            (RuleState::Ok, &None, names.len() as u64),
            "{rule:#?}"
        );
        for lock in rucio.rule_locks(&rule.id).await.unwrap() {
            assert_eq!(lock.state, LockState::Ok);
            held.entry(lock.did.name).or_default().insert(lock.rse);
        }
    }
    for name in names {
        let replicas = site.rucio.replicas(&Did::new("acada", lfn(name)));
        assert!(replicas.values().all(|state| *state == ReplicaState::Available), "{replicas:?}");
        assert_eq!(held[&lfn(name)], replicas.into_keys().collect(), "{name}");
        assert_eq!(held[&lfn(name)].len(), 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_dataset_is_left_with_two_rules_and_again_after_a_late_file() {
    let site = Site::new(&quiet_after("400ms")).await;
    let daemon = site.start();
    let mut names = names(5);
    released(&site, &names).await;
    let first = site.until_settlement(&dataset(), |known| known.settled_at.is_some()).await;
    two_rules_hold(&site, &names).await;
    let row = site.row(&lfn(&names[0])).await.unwrap();
    assert_eq!((row.further_copies_rule.clone(), row.further_copies_rule_ending.clone()), (None, None));
    assert!(site.events(&row).await.iter().any(|event| event.kind == "settling"));

    let late = ["late.fits.fz".to_owned()];
    released(&site, &late).await;
    let row = site.row(&lfn(&late[0])).await.unwrap();
    assert!(row.last_evidence.unwrap().contains("crc32c"), "as much evidence as any other file");
    let again = site.until_settlement(&dataset(), |known| known.settled_at > first.settled_at).await;
    assert_eq!(again.settled_rule, first.settled_rule);
    names.extend(late);
    two_rules_hold(&site, &names).await;
    daemon.stop().await;

    let files = audit_log::files(&site.state()).unwrap();
    assert_eq!(audit_log::verify(&files, None).unwrap().broken, None);
    let text = fs::read_to_string(&files[0]).unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let settled: Vec<&Value> = records.iter().filter(|record| record["effect"] == "settle").collect();
    let counts: Vec<usize> = settled.iter().map(|record| record["files"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [5, 1]);
    assert_eq!(settled[0]["rules"]["s"], first.settled_rule.unwrap().as_str());
    // and all is well as an audit sees it
    let ledger = site.operator().await;
    let options =
        reconcile::Options { min_age: Duration::ZERO, settle: Duration::from_millis(50), read: false, copies: true };
    assert_eq!(reconcile::audit(&sources(&site, Some(ledger)), options, |_| {}).await.unwrap().findings, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_comes_back_to_a_settled_dataset_gets_its_rule_and_loses_it_again() {
    let site = Site::new(&quiet_after("400ms")).await;
    let daemon = site.start();
    let names = names(2);
    released(&site, &names).await;
    let first = site.until_settlement(&dataset(), |known| known.settled_at.is_some()).await;
    site.deliver(&names[0], &fixture("SUBARRAY"));
    site.until_row(&lfn(&names[0]), |row| row.state == State::Released && row.delivery == 2).await;
    site.until_settlement(&dataset(), |known| known.settled_at > first.settled_at).await;
    two_rules_hold(&site, &names).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn second_copies_at_several_data_centres_are_held_by_one_rule_where_they_lie() {
    let site = Site::with(&quiet_after("400ms"), |options| {
        for (number, place) in [(4, "LYON"), (5, "DESY")] {
            let attributes =
                [("OFFSITE", "True"), ("site", place)].map(|(key, value)| (key.to_owned(), value.to_owned()));
            options.rses.push(RseOptions {
                name: format!("STORAGE-{number}"),
                directory: options.root.join(format!("storage-{number}")),
                attributes: attributes.into(),
            });
        }
    })
    .await;
    let daemon = site.start();
    let names = names(16);
    released(&site, &names).await;
    site.until_settlement(&dataset(), |known| known.settled_at.is_some()).await;
    two_rules_hold(&site, &names).await;
    let rules = rucio(&site).did_rules(&dataset()).await.unwrap();
    assert!(rules.iter().any(|rule| rule.rse_expression.contains('|')), "{rules:#?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brakes_keep_all_rules_until_they_are_lifted() {
    let site = Site::new(&quiet_after("3s")).await;
    let daemon = site.start();
    let names = names(2);
    released(&site, &names).await;
    let switch = site.kill_switch();
    fs::write(&switch, "storage work").unwrap();
    let known = site.until_settlement(&dataset(), |known| known.unsettled.is_some()).await;
    assert!(known.unsettled.unwrap().contains("storage work"));
    for name in &names {
        assert_eq!(rucio(&site).did_rules(&Did::new("acada", lfn(name))).await.unwrap().len(), 1);
    }
    daemon.stop().await;
    let (ledger, ada) = (site.operator().await, Operator { who: "ada".to_owned(), reason: "a look".to_owned() });
    ledger.place_hold(&Target::File(lfn(&names[0])), &ada).await.unwrap();
    fs::remove_file(&switch).unwrap();
    forget_pause(&site).await;
    let daemon = site.start();
    let held = site
        .until_settlement(&dataset(), |known| known.unsettled.as_ref().is_some_and(|why| why.contains("ada")))
        .await;
    assert_eq!((held.settled_rule, held.settled_at), (None, None));
    daemon.stop().await;
    ledger.lift_hold(&Target::File(lfn(&names[0])), &ada).await.unwrap();
    forget_pause(&site).await;
    let daemon = site.start();
    site.until_settlement(&dataset(), |known| known.settled_at.is_some() && known.unsettled.is_none()).await;
    two_rules_hold(&site, &names).await;
    daemon.stop().await;
}

/// A dataset that waits for a brake is looked at once a minute; no test waits as long.
async fn forget_pause(site: &Site) {
    crate::road::reconcile::change_ledger(
        site,
        "UPDATE collections SET settle_after = 0 WHERE settle_after IS NOT NULL",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_with_a_held_file_is_not_quiet() {
    let site = Site::new(&quiet_after("400ms")).await;
    let daemon = site.start();
    let names = names(2);
    released(&site, &names).await;
    // other content under a registered name
    site.deliver(&names[0], &fixture("MUON"));
    site.until_state(&lfn(&names[0]), State::Held).await;
    // a dataset that came later is settled meanwhile
    let (day, name) = ("ctao/acada/dl0/LST/events/2026/01/02", "a.fits.fz");
    fs::create_dir_all(site.data().join(day)).unwrap();
    fs::write(site.data().join(day).join(name), fixture("SUBARRAY")).unwrap();
    symlink(name, site.data().join(day).join(format!("{name}.trigger"))).unwrap();
    site.until_settlement(&Did::new("acada", format!("/{day}")), |known| known.settled_at.is_some()).await;
    let known = site.until_settlement(&dataset(), |_| true).await;
    // settled before the second delivery came, or not at all
    let rules = rucio(&site).did_rules(&Did::new("acada", lfn(&names[1]))).await.unwrap();
    assert!(known.settled_at.is_some() || rules.len() == 1, "{known:?} {rules:#?}");
    daemon.stop().await;
}

/// What `dl0-ingest retry` says, and whether it is content.
async fn retry(site: &Site, lfn: &str) -> (bool, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dl0-ingest"));
    command.arg("--config").arg(site.config_file());
    command.args(["retry", "--reason", "the other content was moved away", lfn]);
    let said = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    (said.status.success(), String::from_utf8(said.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_file_that_is_held_keeps_its_rules_and_counts_as_released_again_when_its_name_is_free() {
    let site = Site::new(&quiet_after("5s")).await;
    let daemon = site.start();
    let names = names(2);
    released(&site, &names).await;
    let held = lfn(&names[0]);
    site.deliver(&names[0], &fixture("MUON"));
    let row = site.until_state(&held, State::Held).await;
    let old = row.further_copies_rule.clone().unwrap();
    daemon.stop().await;
    removed(&rucio(&site), &old).await;
    let daemon = site.start();
    site.until_row(&held, |row| row.further_copies_rule.as_ref().is_some_and(|new| *new != old)).await;
    let (good, said) = retry(&site, &held).await;
    assert!(!good && said.contains("what lies under its name now is another file"), "{said}");
    for name in [names[0].clone(), format!("{}.trigger", names[0])] {
        fs::remove_file(site.path(&name)).unwrap();
    }
    let (good, said) = retry(&site, &held).await;
    assert!(good && said.contains("counts as released again"), "{said}");
    let again = site.row(&held).await.unwrap();
    assert_eq!((again.state, &again.held_from, &again.reason), (State::Released, &None, &None));
    assert_eq!((again.last_evidence, again.replica_gone_at), (row.last_evidence, row.replica_gone_at));
    site.until_settlement(&dataset(), |known| known.settled_at.is_some()).await;
    two_rules_hold(&site, &names).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_with_a_file_that_the_ledger_does_not_know_stays_as_it_is() {
    let site = Site::new(&quiet_after("2s")).await;
    let daemon = site.start();
    let names = names(2);
    released(&site, &names).await;
    fs::write(site.path("strange.fits.fz"), "from elsewhere").unwrap();
    register_by_hand(&rucio(&site), "strange.fits.fz", b"from elsewhere").await;
    let known = site.until_settlement(&dataset(), |known| known.unsettled.is_some()).await;
    assert!(known.unsettled.unwrap().contains("strange.fits.fz"));
    assert_eq!((known.settled_rule, known.settled_at), (None, None));
    for name in &names {
        assert_eq!(rucio(&site).did_rules(&Did::new("acada", lfn(name))).await.unwrap().len(), 1);
    }
    daemon.stop().await;
}

/// It cannot happen, so it is made to: the ledger forgets on what evidence a file was released.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_a_released_file_stays_and_releases_stop_when_the_evidence_of_its_release_is_not_on_record() {
    let site = Site::new(&quiet_after("1h")).await;
    let daemon = site.start();
    let names = names(2);
    released(&site, &names).await;
    daemon.stop().await;
    site.forge_evidence(&lfn(&names[1]), None).await;
    site.end_with(&quiet_after("400ms"));
    let (daemon, metrics) = Metrics::start(&site);
    metrics.stopped(&site, "I2", "the evidence on record proves a copy at 0 sites of 2").await;
    for name in &names {
        let row = site.until_row(&lfn(name), |row| row.further_copies_rule.is_some()).await;
        assert_eq!((row.state, &row.further_copies_rule_ending), (State::Released, &None));
        let rules = rucio(&site).did_rules(&row.did()).await.unwrap();
        assert!(rules.len() == 1 && rules[0].expires_at.is_none(), "{rules:#?}");
    }
    daemon.stop().await;
}
