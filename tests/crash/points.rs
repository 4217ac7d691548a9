//! A crash at every point.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use dl0_ingest::embedded::Daemon as RucioDaemon;
use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::daemon_support::checker::check;
use crate::daemon_support::daemon::{Daemon, End};
use crate::daemon_support::site::{Fate, Site, fixture};
use crate::daemon_support::watcher::Watcher;

const LST: &str = "ctao/acada/dl0/LST/events/2026/01/01";
const MST: &str = "ctao/acada/dl0/MST/events/2026/01/01";

/// Runs at a time; each waits most of its time.
const AT_ONCE: usize = 8;
/// Passages of one point at which it is crashed: the first ones, since later ones are the same again.
const PASSAGES: usize = 3;

/// Effects that the list of points must hold, so that it cannot become empty unseen.
const EFFECTS: &[&str] = &[
    "audit.record",
    "disk.move-aside",
    "disk.name-new",
    "disk.remove-leftover",
    "disk.remove-trigger",
    "disk.write-new",
    "ledger.audited",
    "ledger.collections-known",
    "ledger.confirmed",
    "ledger.delivered-again-identical",
    "ledger.discovered",
    "ledger.first-look",
    "ledger.registered",
    "ledger.rejected+trigger-gone",
    "ledger.rejecting",
    "ledger.release-ordered",
    "ledger.released",
    "ledger.releasing",
    "ledger.removing-leftover",
    "ledger.replica-gone",
    "ledger.replicated",
    "ledger.rule-a",
    "ledger.rule-s",
    "ledger.rules-b-ended",
    "ledger.settled",
    "ledger.settling",
    "ledger.trigger-gone",
    "ledger.verified",
    "rucio.add_collections",
    "rucio.add_rules",
    "rucio.attach",
    "rucio.end_rule",
    "rucio.retire_rule",
];

/// Good files in two datasets, one delivered twice, one that Rucio leaves on disk, and a bad one.
async fn scenario(site: Arc<Site>) {
    // nothing leaves the site before the second delivery was compared
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    let good = [
        site.deliver(&format!("{LST}/cal.fits.fz"), fixture("CAL"), Fate::Released),
        site.deliver(&format!("{LST}/muon.fits.fz"), fixture("MUON"), Fate::Released),
        site.deliver_leftover(&format!("{MST}/left.fits.fz"), fixture("SUBARRAY")),
    ];
    let bad = fixture("SUBARRAY");
    site.deliver(&format!("{MST}/bad.fits.fz"), bad[..bad.len() - 2880].to_vec(), Fate::Rejected);
    for delivery in &good {
        site.until_trigger_gone(delivery).await;
    }
    site.trigger(&good[0]);
    site.until_trigger_gone(&good[0]).await;
    site.rucio.faults().resume(RucioDaemon::Conveyor);
}

/// One run with a crash at a point; tells whether it came to that.
async fn run(environment: &[(&str, &str)], site: &Arc<Site>) -> bool {
    let watcher = Watcher::start(site);
    let acts = tokio::spawn(scenario(Arc::clone(site)));
    let daemon = Daemon::start(site, environment);
    let settled = async {
        acts.await.unwrap();
        site.until_settled().await;
    }
    .shared();
    let end = tokio::select! {
        end = daemon.ended() => end,
        // the very last effects may be visible before it dies of them
        () = settled.clone() => daemon.stop(site).await,
    };
    let crashed = match end {
        End::Killed => true,
        End::Stopped => false,
        End::Other(_) => panic!("{end:?}: {}", fs::read_to_string(site.log()).unwrap()),
    };
    if crashed {
        let daemon = Daemon::start(site, &[]);
        settled.await;
        assert_eq!(daemon.stop(site).await, End::Stopped);
    }
    check(site).await;
    assert!(watcher.finish() > 0);
    crashed
}

/// The points of a run without a crash, with the number of passages of each.
async fn recorded() -> BTreeMap<String, usize> {
    let site = Arc::new(Site::new().await);
    let list = site.points();
    assert!(!run(&[("DL0_INGEST_CRASH_LIST", list.to_str().unwrap())], &site).await);
    let mut points = BTreeMap::new();
    for line in fs::read_to_string(&list).unwrap().lines() {
        *points.entry(line.to_owned()).or_default() += 1;
    }
    points
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_it_is_killed_it_ends_in_the_same_place() {
    let points = recorded().await;
    for effect in EFFECTS {
        for side in ["before", "after"] {
            assert!(points.contains_key(&format!("{effect}.{side}")), "no point {effect}.{side} in {points:#?}");
        }
    }
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let (mut runs, mut names) = (JoinSet::new(), BTreeMap::new());
    for (point, passages) in &points {
        for nth in 1..=(*passages).min(PASSAGES) {
            let (at, turns) = (format!("{point}:{nth}"), Arc::clone(&turns));
            let name = at.clone();
            let task = runs.spawn(async move {
                let _turn = turns.acquire_owned().await.unwrap();
                let site = Arc::new(Site::new().await);
                run(&[("DL0_INGEST_CRASH_AT", &at)], &site).await
            });
            names.insert(task.id(), name);
        }
    }
    let total = runs.len();
    let (mut crashed, mut missed) = (0, BTreeSet::new());
    let mut failed = Vec::new();
    while let Some(ended) = runs.join_next_with_id().await {
        match ended {
            Ok((_, true)) => crashed += 1,
            Ok((task, false)) => drop(missed.insert(names[&task].clone())),
            Err(error) => failed.push(format!("{}: {error}", names[&error.id()])),
        }
    }
    eprintln!("{} points, {total} runs, {crashed} crashes; no crash: {missed:?}", points.len());
    assert!(failed.is_empty(), "{failed:#?}");
    for effect in EFFECTS {
        for side in ["before", "after"] {
            let at = format!("{effect}.{side}:1");
            assert!(!missed.contains(&at), "{at} was not reached");
        }
    }
}
