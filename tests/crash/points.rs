//! A crash at every point.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::crash::scenario::Scenario;
use crate::crash::source::Source;
use crate::testkit::checker::check;
use crate::testkit::process::{Daemon, End};
use crate::testkit::site::Site;
use crate::testkit::watcher::Watcher;

/// Runs at a time; each waits most of its time.
const AT_ONCE: usize = 8;
/// Passages of one point at which it is crashed: the first ones, since later ones are the same again.
const PASSAGES: usize = 3;

/// A transaction in which nothing happened to a file, as `src/crash/points.rs` calls it.
const NO_EVENT: &str = "ledger.no-event";

/// Effects that no scenario passes, and why.
const EXCLUDED: &[(&str, &str)] = &[
    ("ledger.delivered-again-held", "a file that becomes held between a second delivery and its comparison: by chance"),
    ("ledger.delivered-again-moot", "a file that is read anew between a second delivery and its comparison: by chance"),
    ("ledger.delivered-again-vanished", "a second delivery that goes away before it is compared: by chance"),
    ("ledger.first-look-void", "another boot of the machine; tests/onsite_faults/clocks.rs"),
    ("ledger.release-order-void", "an order that Rucio has not carried out after five minutes; tests/road/orders.rs"),
    ("ledger.held-again", "the end of what ledger.unheld notes"),
    ("ledger.rebuilt", "a command of its own, killed at each of its points by lost.rs"),
    ("ledger.unheld", "copies of released files that were lost at a data centre; a note for operators"),
    ("rucio.replica_is_available", "somebody declared a replica bad, and is asked for again; tests/road/declared.rs"),
    ("ledger.vanished", "a bad file that somebody removes in the instant between its sentence and its end: by chance"),
];

/// Effects that only a daemon has which follows one that was killed, and where that one must die.
const AFTER_A_STOP: &[(&str, &str)] = &[("ledger.further-copies-rule-stands", "rucio.retire_rule.before")];

/// Functions that change the disk or the ledger and pass no point, and why.
const WITHOUT_A_POINT: &[(&str, &str)] = &[
    ("audit_log.rs: restart", "after a record that others have broken; its first record passes a point"),
    ("audit_log.rs: rotate", "a rename of the full record, once in many months; the next record passes a point"),
    ("cli/rebuild.rs: run", "makes the state directory, if there is none"),
    ("daemon.rs: run", "makes the state directory, if there is none"),
    ("datadir.rs: make_trigger", "one link that a repair of 'audit' makes"),
    ("datadir.rs: probe", "tries whether the data directory can be written, at the start only"),
    ("datadir.rs: rename_new", "the points stand beside its calls"),
    ("ledger/claims.rs: claim", "who works on what now: void with the process"),
    ("ledger/claims.rs: drop_claims", "who works on what now: void with the process"),
    ("ledger/claims.rs: give_back", "who works on what now: void with the process"),
    ("ledger/claims.rs: hasten", "when a file is looked at next"),
    ("ledger/claims.rs: hasten_interrupted", "when a file is looked at next"),
    ("ledger/claims.rs: unfinished", "a question that the writer is asked"),
    ("ledger/deliveries.rs: redelivery_changed", "what is compared next; the scan finds it too"),
    ("ledger/deliveries.rs: redelivery_later", "when a second delivery is compared next"),
    ("ledger/deliveries.rs: trigger_mended", "a note for operators"),
    ("ledger/deliveries.rs: wrong_trigger", "a note for operators"),
    ("ledger/store.rs: private", "makes the ledger's file and its lock, if there are none"),
    ("telemetry/logs.rs: init_file", "the log of the demo"),
];

/// `room.effect` of each part of a point: one transaction may hold several events.
fn parts(point: &str) -> Vec<String> {
    let (effects, side) = point.rsplit_once('.').unwrap();
    let (room, effects) = effects.split_once('.').unwrap();
    effects.split('+').map(|effect| format!("{room}.{effect}.{side}")).collect()
}

fn without_side(point: &str) -> &str {
    point.rsplit_once('.').unwrap().0
}

/// One life of a daemon; tells whether it was killed.
async fn live(environment: &[(&str, &str)], site: &Site, settled: impl Future<Output = bool>) -> bool {
    let daemon = Daemon::start(site, environment);
    let end = tokio::select! {
        end = daemon.ended() => end,
        // the very last effects may be visible before it dies of them
        _ = settled => daemon.stop(site).await,
    };
    match end {
        End::Killed => true,
        End::Stopped => false,
        End::Other(_) => panic!("{end:?}: {}", fs::read_to_string(site.log()).unwrap()),
    }
}

/// One run in which each daemon but the last dies at its point; tells how many did. The first point is also that of an
/// operator's commands.
async fn run(scenario: Scenario, lives: &[&[(&str, &str)]], site: &Arc<Site>) -> usize {
    let watcher = Watcher::start(site);
    let owned = lives[0].iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let acts = tokio::spawn(scenario.play(Arc::clone(site), owned));
    let settled = async {
        let killed = acts.await.unwrap();
        site.until_settled().await;
        killed
    }
    .shared();
    let mut deaths = 0;
    for environment in lives.iter().chain([&[].as_slice()]) {
        if !live(environment, site, settled.clone()).await {
            break;
        }
        deaths += 1;
    }
    check(site).await;
    assert!(watcher.finish() > 0);
    deaths + usize::from(settled.await)
}

/// The points of a run without a crash, with the number of passages of each.
async fn recorded(scenario: Scenario) -> BTreeMap<String, usize> {
    let site = scenario.site().await;
    let list = site.points();
    assert_eq!(run(scenario, &[&[("DL0_INGEST_CRASH_LIST", list.to_str().unwrap())]], &site).await, 0);
    let mut points = BTreeMap::new();
    for line in fs::read_to_string(&list).unwrap().lines() {
        *points.entry(line.to_owned()).or_default() += 1;
    }
    points
}

#[tokio::test(flavor = "multi_thread")]
async fn every_effect_in_the_source_is_passed_or_excluded_for_a_reason() {
    let source = Source::read();
    assert_eq!(source.unclear, [""; 0], "how do these points get their names?");
    let mut recordings = JoinSet::new();
    for scenario in Scenario::ALL {
        recordings.spawn(recorded(scenario));
    }
    let recordings = recordings.join_all().await;
    let passed: BTreeSet<String> = recordings.iter().flat_map(BTreeMap::keys).flat_map(|point| parts(point)).collect();
    let known: BTreeSet<String> = source.points.keys().cloned().collect();
    let strange: Vec<&String> = passed.difference(&known).filter(|point| without_side(point) != NO_EVENT).collect();
    assert!(strange.is_empty(), "passed, but not found in the source: {strange:#?}");
    let excluded: BTreeSet<&str> = EXCLUDED.iter().chain(AFTER_A_STOP).map(|(effect, _)| *effect).collect();
    let open: BTreeMap<&String, &BTreeSet<String>> = source
        .points
        .iter()
        .filter(|(point, _)| !passed.contains(*point) && !excluded.contains(without_side(point)))
        .collect();
    assert!(open.is_empty(), "no scenario passes these, and nothing says why: {open:#?}");
    let passed: BTreeSet<&str> = passed.iter().map(|point| without_side(point)).collect();
    let known: BTreeSet<&str> = known.iter().map(|point| without_side(point)).collect();
    let void: Vec<&&str> =
        excluded.iter().filter(|effect| passed.contains(*effect) || !known.contains(*effect)).collect();
    assert!(void.is_empty(), "excluded, but passed or not in the source: {void:#?}");
    let passed = passed.intersection(&known).count();
    eprintln!("{} effects in the source, {passed} passed, {} excluded", known.len(), excluded.len());
}

#[test]
fn whatever_changes_disk_or_ledger_passes_a_point_or_is_excluded_for_a_reason() {
    let unseen = Source::read().unseen;
    let excluded: BTreeSet<String> = WITHOUT_A_POINT.iter().map(|(function, _)| (*function).to_owned()).collect();
    let new: Vec<&String> = unseen.difference(&excluded).collect();
    assert!(new.is_empty(), "no point stands beside the changes in {new:#?}, and nothing says why");
    let void: Vec<&String> = excluded.difference(&unseen).collect();
    assert!(void.is_empty(), "excluded, but gone or with a point now: {void:#?}");
}

/// Dies at each point that a scenario passes and no earlier one does.
async fn dies_everywhere(scenario: Scenario, earlier: &[Scenario]) {
    let mut points = recorded(scenario).await;
    for earlier in earlier {
        let known = recorded(*earlier).await;
        points.retain(|point, _| !known.contains_key(point));
    }
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let (mut runs, mut names) = (JoinSet::new(), BTreeMap::new());
    for (point, passages) in &points {
        for nth in 1..=(*passages).min(PASSAGES) {
            let (at, turns) = (format!("{point}:{nth}"), Arc::clone(&turns));
            let name = (point.clone(), nth);
            let task = runs.spawn(async move {
                let _turn = turns.acquire_owned().await.unwrap();
                let site = scenario.site().await;
                run(scenario, &[&[("DL0_INGEST_CRASH_AT", &at)]], &site).await > 0
            });
            names.insert(task.id(), name);
        }
    }
    let total = runs.len();
    let (mut reached, mut missed) = (BTreeSet::new(), BTreeSet::new());
    let (mut crashes, mut failed) = (0, Vec::new());
    while let Some(ended) = runs.join_next_with_id().await {
        match ended {
            Ok((task, true)) => {
                crashes += 1;
                reached.extend(parts(&names[&task].0));
            }
            Ok((task, false)) => drop(missed.insert(names[&task].clone())),
            Err(error) => failed.push(format!("{:?}: {error}", names[&error.id()])),
        }
    }
    eprintln!("{scenario:?}: {} points, {total} runs, {crashes} crashes; no crash: {missed:?}", points.len());
    assert!(failed.is_empty(), "{failed:#?}");
    // which events share a transaction is left to chance, but each was died at in one of them
    let spared: Vec<String> =
        points.keys().flat_map(|point| parts(point)).filter(|part| !reached.contains(part)).collect();
    assert!(spared.is_empty(), "it never died at {spared:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_it_is_killed_it_ends_in_the_same_place() {
    dies_everywhere(Scenario::Everyday, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_it_is_killed_while_files_come_again_it_ends_in_the_same_place() {
    dies_everywhere(Scenario::Again, &[Scenario::Everyday]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_it_is_killed_while_others_end_its_rules_it_ends_in_the_same_place() {
    dies_everywhere(Scenario::Meddled, &[Scenario::Everyday]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_it_is_killed_while_it_takes_up_what_a_stop_left_it_ends_in_the_same_place() {
    for (effect, first) in AFTER_A_STOP {
        for side in ["before", "after"] {
            let site = Scenario::Everyday.site().await;
            let then = format!("{effect}.{side}");
            let lives = [[("DL0_INGEST_CRASH_AT", *first)], [("DL0_INGEST_CRASH_AT", then.as_str())]];
            let lives: Vec<&[(&str, &str)]> = lives.iter().map(<[_; 1]>::as_slice).collect();
            assert_eq!(run(Scenario::Everyday, &lives, &site).await, 2, "first {first}, then {then}");
        }
    }
}
