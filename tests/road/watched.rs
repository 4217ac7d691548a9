//! The rules of datasets whose files have left are looked after, and what they do not hold is told.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use dl0_ingest::custody::State;
use dl0_ingest::names::Did;
use rucio_client::{Client, Grouping, LockState, NewRule, Rule, RuleState};
use rucio_miniature::{Answer, Daemon as RucioDaemon, Endpoint};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::road::rules::removed;
use crate::road::settling::{dataset, names, quiet_after, released, rucio, two_rules_hold, until_no_file_has_a_rule};
use crate::testkit::fixture;
use crate::testkit::in_process::InProcess;
use crate::testkit::site::{Site, lfn};

/// Two files in a settled dataset, its first-copy rule and its settled rule.
async fn settled(site: &Site) -> (InProcess, Vec<String>, [Rule; 2]) {
    let daemon = site.start();
    let names = names(2);
    released(site, &names).await;
    site.until_settlement(&dataset(), |known| known.settled_at.is_some()).await;
    until_no_file_has_a_rule(&rucio(site), &names).await;
    let mut rules = rucio(site).did_rules(&dataset()).await.unwrap();
    rules.sort_by_key(|rule| rule.rse_expression != "OFFSITE");
    (daemon, names, rules.try_into().unwrap())
}

/// The only place of a rule's locks.
async fn place_of(site: &Site, rule: &str) -> String {
    let locks = rucio(site).rule_locks(rule).await.unwrap();
    let places: BTreeSet<String> = locks.into_iter().map(|lock| lock.rse).collect();
    assert_eq!(places.len(), 1, "{places:?}");
    places.into_iter().next().unwrap()
}

/// Permanent rules hold each copy of each file, and there are two at two places.
async fn all_copies_are_held(site: &Site, names: &[String]) {
    let mut held = BTreeSet::new();
    for rule in rucio(site).did_rules(&dataset()).await.unwrap() {
        assert_eq!(rule.expires_at, None);
        let locks = rucio(site).rule_locks(&rule.id).await.unwrap();
        held.extend(locks.into_iter().filter(|lock| lock.state == LockState::Ok).map(|lock| (lock.did.name, lock.rse)));
    }
    let all = |name: &String| ["STORAGE-2", "STORAGE-3"].map(|rse| (lfn(name), rse.to_owned()));
    assert_eq!(held, names.iter().flat_map(all).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_a_settled_dataset_that_somebody_removed_are_placed_again() {
    for gone in [vec![0], vec![1], vec![0, 1]] {
        let site = Site::new(&quiet_after("400ms")).await;
        let (daemon, names, rules) = settled(&site).await;
        daemon.stop().await;
        let first = site.until_settlement(&dataset(), |_| true).await;
        for number in &gone {
            removed(&rucio(&site), &rules[*number].id).await;
        }
        // placing rules gives nothing up: no brake stops it
        fs::write(site.kill_switch(), "storage work").unwrap();
        let daemon = site.start();
        site.until_settlement(&dataset(), |known| known.settled_at > first.settled_at).await;
        all_copies_are_held(&site, &names).await;
        daemon.stop().await;
    }
}

/// Rucio was free to choose: both rules then hold the same copies, and the others are held again by a third one.
#[tokio::test(flavor = "multi_thread")]
async fn copies_that_a_new_rule_for_the_first_ones_leaves_alone_get_another_rule() {
    let site = Site::new(&quiet_after("400ms")).await;
    let (daemon, names, [a, s]) = settled(&site).await;
    daemon.stop().await;
    let (mut old, taken) = (a.id.clone(), place_of(&site, &s.id).await);
    let anew = NewRule {
        dids: vec![dataset()],
        copies: 1,
        rse_expression: "OFFSITE".to_owned(),
        source_replica_expression: None,
        grouping: Grouping::Dataset,
        lifetime: None,
        activity: None,
        comment: None,
        // as the daemon signs it
        meta: a.meta.clone(),
    };
    while place_of(&site, &old).await != taken {
        removed(&rucio(&site), &old).await;
        old = rucio(&site).add_rules(&anew).await.unwrap().remove(0);
    }
    let daemon = site.start();
    let known = site
        .until_settlement(&dataset(), |known| known.settled_at.is_some() && known.settled_rule.as_ref() != Some(&s.id))
        .await;
    all_copies_are_held(&site, &names).await;
    let rules = rucio(&site).did_rules(&dataset()).await.unwrap();
    assert_eq!(rules.len(), 3, "none was ended: {rules:#?}");
    assert_ne!(place_of(&site, known.settled_rule.as_ref().unwrap()).await, taken);
    // and with a late file it is settled by the one of the two that holds its further copy
    let late = ["late.fits.fz".to_owned()];
    released(&site, &late).await;
    let again = site.until_settlement(&dataset(), |again| again.settled_at > known.settled_at).await;
    assert_eq!(again.settled_rule, known.settled_rule);
    all_copies_are_held(&site, &[names, late.to_vec()].concat()).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_somebody_gave_the_rules_of_a_settled_dataset_is_taken_away() {
    let site = Site::new(&quiet_after("400ms")).await;
    let (daemon, names, rules) = settled(&site).await;
    for rule in &rules {
        site.rucio.delete_rule(&rule.id);
    }
    for rule in &rules {
        let begun = std::time::Instant::now();
        while rucio(&site).rule(&rule.id).await.unwrap().expires_at.is_some() {
            assert!(begun.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    two_rules_hold(&site, &names).await;
    daemon.stop().await;
}

/// A copy is lost together with the rule: as long as Rucio makes no new one, no rule holds two copies, and it is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_settled_dataset_whose_copies_no_rule_can_hold_is_told() {
    let site = Site::new(&quiet_after("400ms")).await;
    let (daemon, names, [_, s]) = settled(&site).await;
    daemon.stop().await;
    let place = place_of(&site, &s.id).await;
    removed(&rucio(&site), &s.id).await;
    site.rucio.lose_copy(&Did::new("acada", lfn(&names[0])), &place).unwrap();
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    let daemon = site.start();
    let known = site.until_settlement(&dataset(), |known| known.unsettled.is_some()).await;
    assert!(known.unsettled.unwrap().contains(&names[0]));
    assert_eq!(known.settled_at, None);
    // and the copies of the others are held again
    assert!(held_twice(&site, &rucio(&site), &names[1]).await);
    let ledger = site.operator().await;
    assert_eq!(ledger.unsettled_datasets().await.unwrap()[0].0, dataset());
    // by a rule that has Rucio make the lost one anew
    site.rucio.faults().resume(RucioDaemon::Conveyor);
    site.until_settlement(&dataset(), |known| known.settled_at.is_some() && known.unsettled.is_none()).await;
    two_rules_hold(&site, &names).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_of_rules_is_not_believed_of_a_settled_dataset() {
    let site = Site::new(&quiet_after("400ms")).await;
    let (daemon, names, rules) = settled(&site).await;
    let first = site.until_settlement(&dataset(), |_| true).await;
    site.rucio.faults().answer(Endpoint::DidRules, 4, &Answer::Empty);
    let begun = std::time::Instant::now();
    while site.rucio.faults().spoilt().get(&Endpoint::DidRules).is_none_or(|spoilt| *spoilt < 4) {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    daemon.stop().await;
    two_rules_hold(&site, &names).await;
    let same: Vec<String> = rucio(&site).did_rules(&dataset()).await.unwrap().into_iter().map(|rule| rule.id).collect();
    assert!(rules.iter().all(|rule| same.contains(&rule.id)), "{rules:#?} {same:?}");
    assert_eq!(site.until_settlement(&dataset(), |_| true).await, first);
}

/// The copies are there all the while: suspended, the rule is left to whoever did that; stuck, it is boosted.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_rule_of_a_settled_dataset_is_told_and_a_stuck_one_boosted() {
    // Rucio by itself would not try again in the time of this test
    let site = Site::with(&quiet_after("400ms"), |options| options.pace.repair = Duration::from_hours(1)).await;
    let (daemon, names, rules) = settled(&site).await;
    daemon.stop().await;
    let s = &rules[1].id;
    site.rucio.suspend_rule(s, true);
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let daemon = InProcess::start(site.config_with(|text| text.replace("listen: null", &format!("listen: {address}"))));
    until_measured(address, "dl0_ingest_rule_troubles_total{trouble=\"suspended\"} 1").await;
    assert_eq!(rucio(&site).rule(s).await.unwrap().state, RuleState::Suspended);
    site.rucio.suspend_rule(s, false);
    until_measured(address, "dl0_ingest_boosted_rules_total 1").await;
    let begun = std::time::Instant::now();
    while rucio(&site).rule(s).await.unwrap().state != RuleState::Ok {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    two_rules_hold(&site, &names).await;
    let known = site.until_settlement(&dataset(), |known| known.settled_at.is_some()).await;
    assert_eq!(known.settled_rule.as_ref(), Some(s));
    daemon.stop().await;
}

async fn metrics(address: std::net::SocketAddr) -> std::io::Result<String> {
    let mut connection = tokio::net::TcpStream::connect(address).await?;
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}

pub(crate) async fn until_measured(address: std::net::SocketAddr, line: &str) {
    let begun = std::time::Instant::now();
    loop {
        let metrics = metrics(address).await.unwrap_or_default();
        if metrics.lines().any(|found| found == line) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "no '{line}' in\n{metrics}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Until a dataset is settled its files have rules of their own, and nothing but those holds what has left the mountain.
#[tokio::test(flavor = "multi_thread")]
async fn the_rules_of_released_files_are_placed_again_also_while_their_dataset_is_not_settled() {
    for after in ["1h", "null"] {
        let site = Site::new(&quiet_after(after)).await;
        let daemon = site.start();
        let names = names(3);
        released(&site, &names).await;
        daemon.stop().await;
        let rucio = rucio(&site);
        let (first, second) = (site.row(&lfn(&names[0])).await.unwrap(), site.row(&lfn(&names[1])).await.unwrap());
        let a = rucio.did_rules(&dataset()).await.unwrap().remove(0).id;
        for rule in [&a, first.further_copies_rule.as_ref().unwrap()] {
            removed(&rucio, rule).await;
        }
        site.rucio.delete_rule(second.further_copies_rule.as_ref().unwrap());
        let daemon = site.start();
        for name in &names {
            until_held_twice(&site, &rucio, name).await;
        }
        let row = site.row(&first.lfn).await.unwrap();
        assert_eq!(row.state, State::Released);
        assert_ne!(row.further_copies_rule, first.further_copies_rule);
        daemon.stop().await;
    }
}

async fn until_held_twice(site: &Site, rucio: &Client, name: &str) {
    let begun = std::time::Instant::now();
    while !held_twice(site, rucio, name).await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{name} is not held at two places");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Permanent rules of the file or its dataset hold it at two places.
async fn held_twice(site: &Site, rucio: &Client, name: &str) -> bool {
    let did = Did::new("acada", lfn(name));
    let mut places = BTreeSet::new();
    for of in [&did, &dataset()] {
        for rule in rucio.did_rules(of).await.unwrap().into_iter().filter(|rule| rule.expires_at.is_none()) {
            let locks = rucio.rule_locks(&rule.id).await.unwrap();
            let held = locks.into_iter().filter(|lock| lock.did == did && lock.state == LockState::Ok);
            places.extend(held.map(|lock| lock.rse));
        }
    }
    let there: BTreeSet<String> = site.rucio.replicas(&did).into_keys().collect();
    places.len() == 2 && places == there
}

/// A dataset of another night, with files that have all left.
async fn released_on_another_night(site: &Site, day: &str, count: usize) -> Vec<String> {
    let directory = format!("ctao/acada/dl0/LST/events/2026/01/{day}");
    fs::create_dir_all(site.data().join(&directory)).unwrap();
    let names: Vec<String> = (0..count).map(|n| format!("{n}.fits.fz")).collect();
    for name in &names {
        fs::write(site.data().join(&directory).join(name), fixture("SUBARRAY")).unwrap();
        symlink(name, site.data().join(&directory).join(format!("{name}.trigger"))).unwrap();
    }
    let lfns: Vec<String> = names.iter().map(|name| format!("/{directory}/{name}")).collect();
    for lfn in &lfns {
        site.until_state(lfn, State::Released).await;
    }
    lfns
}

/// Newest first: the one that Rucio refuses comes before the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_released_file_that_rucio_forgot_keeps_no_other_dataset_from_being_watched_and_settled() {
    let site = Site::new(&quiet_after("1h")).await;
    let daemon = site.start();
    let names = names(1);
    released(&site, &names).await;
    let newer = released_on_another_night(&site, "02", 3).await;
    daemon.stop().await;
    let rucio = rucio(&site);
    let a = rucio.did_rules(&dataset()).await.unwrap().remove(0).id;
    removed(&rucio, &a).await;
    for rse in ["STORAGE-2", "STORAGE-3"] {
        site.rucio.lose_copy(&Did::new("acada", newer[1].as_str()), rse).unwrap();
    }
    let last = site.row(&newer[2]).await.unwrap().further_copies_rule.unwrap();
    removed(&rucio, &last).await;
    let daemon = site.start();
    until_held_twice(&site, &rucio, &names[0]).await;
    site.until_row(&newer[2], |row| row.further_copies_rule.as_ref().is_some_and(|new| *new != last)).await;
    let night = Did::new("acada", "/ctao/acada/dl0/LST/events/2026/01/02");
    let why = site.until_settlement(&night, |known| known.unsettled.is_some()).await.unsettled.unwrap();
    assert!(why.contains(&newer[1]), "{why}");
    daemon.stop().await;
    // and what is quiet is settled all the same
    site.end_with(&quiet_after("400ms"));
    let daemon = site.start();
    site.until_settlement(&dataset(), |known| known.settled_at.is_some()).await;
    daemon.stop().await;
}

/// Rucio removes such a dataset with its rules, which have no end of their own; until then its files' rules are what is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_that_rucio_will_remove_is_told_and_keeps_the_rules_of_its_files() {
    let site = Site::new(&quiet_after("1h")).await;
    let daemon = site.start();
    let names = names(2);
    released(&site, &names).await;
    daemon.stop().await;
    site.rucio.give_end(&dataset(), Some(86_400.0));
    site.end_with(&quiet_after("400ms"));
    let daemon = site.start();
    let known = site.until_settlement(&dataset(), |known| known.unsettled.is_some()).await;
    assert!(known.unsettled.unwrap().contains("Rucio removes the dataset"));
    for name in &names {
        assert_eq!(rucio(&site).did_rules(&Did::new("acada", lfn(name))).await.unwrap().len(), 1);
    }
    site.rucio.give_end(&dataset(), None);
    site.until_settlement(&dataset(), |known| known.settled_at.is_some() && known.unsettled.is_none()).await;
    two_rules_hold(&site, &names).await;
    // nor is it forgotten when it is settled
    site.rucio.give_end(&dataset(), Some(86_400.0));
    site.until_settlement(&dataset(), |known| known.unsettled.is_some() && known.settled_at.is_none()).await;
    // nor counted as settled by whoever settles
    let asked = || site.rucio.requests().get(&Endpoint::BulkMeta).copied().unwrap_or(0);
    let before = asked();
    while asked() < before + 10 {
        let known = site.until_settlement(&dataset(), |_| true).await;
        assert!(known.unsettled.is_some() && known.settled_at.is_none(), "{known:?}");
    }
    // and what somebody removes is placed again all the same
    daemon.stop().await;
    for rule in rucio(&site).did_rules(&dataset()).await.unwrap() {
        removed(&rucio(&site), &rule.id).await;
    }
    let daemon = site.start();
    for name in &names {
        until_held_twice(&site, &rucio(&site), name).await;
    }
    site.rucio.give_end(&dataset(), None);
    site.until_settlement(&dataset(), |known| known.settled_at.is_some() && known.unsettled.is_none()).await;
    daemon.stop().await;
}

/// As when somebody detached a file from its dataset: both rules stand, and look as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_rules_of_its_settled_dataset_do_not_hold_is_told() {
    let site = Site::new(&quiet_after("400ms")).await;
    let (daemon, _, _) = settled(&site).await;
    let other = released_on_another_night(&site, "02", 1).await;
    let night = Did::new("acada", "/ctao/acada/dl0/LST/events/2026/01/02");
    site.until_settlement(&night, |known| known.settled_at.is_some()).await;
    daemon.stop().await;
    let into_the_first = "UPDATE files SET dataset = (SELECT MIN(dataset) FROM files) WHERE dataset LIKE '%/02'";
    crate::road::reconcile::change_ledger(&site, into_the_first).await;
    let daemon = site.start();
    let known = site.until_settlement(&dataset(), |known| known.unsettled.is_some()).await;
    assert!(known.unsettled.unwrap().contains(&other[0]));
    assert_eq!(known.settled_at, None);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_file_that_rucio_forgot_does_not_hide_that_the_rule_of_its_settled_dataset_is_gone() {
    let site = Site::new(&quiet_after("400ms")).await;
    let (daemon, names, [_, s]) = settled(&site).await;
    daemon.stop().await;
    site.end_with(&quiet_after("1h"));
    let daemon = site.start();
    let late = ["late.fits.fz".to_owned()];
    released(&site, &late).await;
    daemon.stop().await;
    let rucio = rucio(&site);
    removed(&rucio, &site.row(&lfn(&late[0])).await.unwrap().further_copies_rule.unwrap()).await;
    for rse in ["STORAGE-2", "STORAGE-3"] {
        site.rucio.lose_copy(&Did::new("acada", lfn(&late[0])), rse).unwrap();
    }
    removed(&rucio, &s.id).await;
    let daemon = site.start();
    for name in &names {
        until_held_twice(&site, &rucio, name).await;
    }
    let why = site.until_settlement(&dataset(), |known| known.unsettled.is_some()).await.unsettled.unwrap();
    assert!(why.contains(&late[0]), "{why}");
    daemon.stop().await;
}
