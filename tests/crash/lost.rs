//! The ledger is lost while files of every kind are under way, its rebuild is killed too, and custody goes on.

use std::collections::BTreeMap;
use std::fs;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use dl0_ingest::custody::State;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rucio_miniature::{Daemon as RucioDaemon, Entry, Event, Outage};
use serde_json::Value;

use crate::testkit::checker::ends_well;
use crate::testkit::command::command;
use crate::testkit::deliveries::{Delivery, Fate};
use crate::testkit::fixture;
use crate::testkit::process::Daemon;
use crate::testkit::site::Site;
use crate::testkit::watcher::Watcher;

/// Passages of one point at which a rebuild is killed.
const PASSAGES: usize = 3;
/// Rebuilds killed at a random moment, and how long they live, in milliseconds.
const REBUILDS: usize = 6;
const SHORT: std::ops::Range<u64> = 5..150;
/// Daemons killed afterwards, and how long they live, in milliseconds.
const DAEMONS: usize = 12;
const LIVES: std::ops::Range<u64> = 5..2000;

/// What lies at the site when the ledger is lost, by how far it had come.
struct UnderWay {
    released: Vec<Delivery>,
    /// Rucio is deleting it.
    leaving: Delivery,
    /// Rucio may delete it and has not begun: it is protected again, and released once more.
    spared: Delivery,
    /// As they must be afterwards: proven anew from where Rucio protects them.
    restored: Vec<(Delivery, State)>,
}

/// Two files into a directory of their own.
fn two(site: &Site, night: &str) -> Vec<Delivery> {
    let deliver = |part: &str| {
        let path = format!("ctao/acada/dl0/LST/events/2026/01/{night}/{part}.fits.fz");
        site.deliver_for(&path, fixture(part), Fate::Released)
    };
    ["CAL", "MUON"].map(deliver).into()
}

fn bad(site: &Site, name: &str) -> Delivery {
    let content = fixture("SUBARRAY");
    let path = format!("ctao/acada/dl0/MST/events/2026/01/01/{name}.fits.fz");
    site.deliver_for(&path, content[..content.len() - 2880].to_vec(), Fate::Rejected)
}

async fn until(site: &Site, files: &[Delivery], state: State) {
    for file in files {
        site.until_state(file, state).await;
    }
}

/// Brings files as far as each can come, and kills the daemon.
async fn under_way(site: &Site) -> UnderWay {
    let daemon = Daemon::start(site, &[]);
    let faults = site.rucio.faults();
    let released = two(site, "01");
    until(site, &released, State::Released).await;
    let rejected = bad(site, "early");
    site.until_state(&rejected, State::Rejected).await;
    // Rucio has been told to let these go, and has not done so
    faults.pause(RucioDaemon::Reaper);
    let leaving = two(site, "02");
    for file in &leaving {
        let row = site.until_row(file, |row| row.release_ordered_at.is_some()).await;
        let rule = row.on_site_rule.unwrap();
        let removed = |entry: &Entry| matches!(&entry.event, Event::RuleRemoved { id, .. } if *id == rule);
        site.rucio.until(|history| history.iter().any(removed)).await;
    }
    let [taken, spared] = <[Delivery; 2]>::try_from(leaving).unwrap();
    site.rucio.condemn(&taken.did(), "STORAGE-1");
    faults.pause(RucioDaemon::Conveyor);
    let confirmed = two(site, "03");
    until(site, &confirmed, State::Registered).await;
    for file in &confirmed {
        site.operate(&[], &["hold", &file.lfn()]).await;
    }
    faults.resume(RucioDaemon::Conveyor);
    until(site, &confirmed, State::Confirmed).await;
    // one copy can come, the other cannot
    faults.pause(RucioDaemon::Conveyor);
    let replicated = two(site, "04");
    until(site, &replicated, State::Registered).await;
    let away = if site.first_copies(&replicated[0].dataset()).await == "STORAGE-2" { "STORAGE-3" } else { "STORAGE-2" };
    faults.storage_down(away, Outage::Refuse);
    faults.resume(RucioDaemon::Conveyor);
    until(site, &replicated, State::Replicated).await;
    faults.pause(RucioDaemon::Conveyor);
    faults.storage_up(away);
    let registered = two(site, "05");
    until(site, &registered, State::Registered).await;
    for file in confirmed.iter().chain(&replicated).chain(&registered) {
        site.until_trigger_gone(file).await;
    }
    faults.rucio_down(Outage::Unavailable);
    until(site, &two(site, "06"), State::Verified).await;
    daemon.kill().await;
    // seen by nobody yet
    two(site, "07");
    bad(site, "late");
    faults.rucio_up();
    let restored = [(confirmed, State::Replicated), (replicated, State::Replicated), (registered, State::Registered)];
    let restored = restored.into_iter().flat_map(|(files, state)| files.into_iter().map(move |file| (file, state)));
    let others = [(rejected, State::Rejected), (spared.clone(), State::Verified)];
    UnderWay { released, leaving: taken, spared, restored: restored.chain(others).collect() }
}

async fn rebuild(site: &Site, environment: &[(&str, &str)]) -> Output {
    let mut command = command(&["rebuild", "--json", "--config", site.config_file().to_str().unwrap()]);
    command.envs(environment.iter().copied());
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

/// A rebuild that nobody disturbs: what is left in Rucio's hands is said, and every other file is in custody as it must be.
async fn rebuilt(site: &Site, files: &UnderWay) {
    let done = rebuild(site, &[]).await;
    let text = String::from_utf8(done.stdout.clone()).unwrap();
    let told: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let left: Vec<&str> =
        told.iter().filter(|line| line["outcome"] == "left").map(|line| line["file"].as_str().unwrap()).collect();
    assert_eq!(left, [files.leaving.lfn()], "{done:?}");
    assert!(told.iter().all(|line| line["outcome"] != "left" || line["code"] == "departing"), "{done:?}");
    // files that are left out are worth a look
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let known: BTreeMap<String, State> = files.restored.iter().map(|(file, state)| (file.lfn(), *state)).collect();
    let mut found = BTreeMap::new();
    for delivery in site.deliveries() {
        if let Some(row) = site.row(&delivery).await {
            found.insert(delivery.lfn(), row.state);
        }
    }
    assert_eq!(found, known);
}

/// Every point that a rebuild passes, with the number of passages of each.
async fn points(site: &Site, files: &UnderWay) -> BTreeMap<String, usize> {
    site.lose_ledger();
    let list = site.points();
    rebuild(site, &[("DL0_INGEST_CRASH_LIST", list.to_str().unwrap())]).await;
    rebuilt(site, files).await;
    let mut points = BTreeMap::new();
    for line in fs::read_to_string(&list).unwrap().lines() {
        *points.entry(line.to_owned()).or_default() += 1;
    }
    points
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_ledger_is_lost_and_its_rebuild_is_killed_wherever_it_can_be_no_file_is_lost() {
    let seed =
        std::env::var("DL0_INGEST_LOST_SEED").ok().map_or_else(|| rand::rng().random(), |text| text.parse().unwrap());
    eprintln!("DL0_INGEST_LOST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let site = Arc::new(Site::in_haste().await);
    // what had left before the loss cannot be settled after it
    site.change("settle: {after: 500ms}", "settle: {after: 1h}");
    let watcher = Watcher::start(&site);
    let files = under_way(&site).await;
    let points = points(&site, &files).await;
    assert!(
        points.contains_key("ledger.first-copy-rule.after") && points.contains_key("ledger.no-event.before"),
        "{points:?}"
    );
    let mut kills = 0;
    for (point, passages) in &points {
        for nth in 1..=(*passages).min(PASSAGES) {
            site.lose_ledger();
            let killed = rebuild(&site, &[("DL0_INGEST_CRASH_AT", &format!("{point}:{nth}"))]).await;
            assert_eq!(killed.status.code(), None, "{point}:{nth}: {killed:?}");
            kills += 1;
            rebuilt(&site, &files).await;
        }
    }
    site.lose_ledger();
    for _ in 0..REBUILDS {
        let mut child = command(&["rebuild", "--config", site.config_file().to_str().unwrap()]).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(rng.random_range(SHORT))).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    rebuilt(&site, &files).await;
    eprintln!("{} points of a rebuild, {kills} kills there, {REBUILDS} at random", points.len());
    for gone in files.released.iter().chain([&files.leaving]) {
        site.forget(gone);
    }
    // two on-site rules, and two releases of the one file
    let inodes = files.spared.inodes.repeat(2);
    site.expect(&Delivery { inodes, ..files.spared.clone() });
    goes_on(&site, &files, &mut rng).await;
    assert!(watcher.finish() > 0);
}

/// Files come, also one that had left, and daemons die; in the end one has its peace.
async fn goes_on(site: &Site, files: &UnderWay, rng: &mut StdRng) {
    site.change("settle: {after: 1h}", "settle: {after: 500ms}");
    site.rucio.faults().resume(RucioDaemon::Conveyor);
    for number in 0..DAEMONS {
        match number {
            2 => site.rucio.faults().resume(RucioDaemon::Reaper),
            // the holds from before are lost, and one on everything stands in their place
            4 => drop(site.operate(&[], &["release-hold", "--all"]).await),
            6 => {
                site.remember(&files.released[0]);
                site.deliver_again(&files.released[0]);
            }
            8 => drop(bad(site, "new")),
            _ => drop(two(site, &format!("{}", number + 10))),
        }
        let daemon = Daemon::start(site, &[]);
        tokio::time::sleep(Duration::from_millis(rng.random_range(LIVES))).await;
        daemon.kill().await;
    }
    let gone = || std::future::ready(!site.rucio.replicas(&files.leaving.did()).contains_key("STORAGE-1"));
    site.until("Rucio to carry out what was ordered before the loss", gone).await;
    ends_well(site, Daemon::start(site, &[])).await;
}
