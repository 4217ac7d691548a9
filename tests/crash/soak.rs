//! A steady stream of files, while everything around the daemon fails at random and the daemon itself is killed now and
//! then. Nothing may be lost, everything must end, and memory and open files must stay flat.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use dl0_ingest::embedded::{Answer, Daemon as RucioDaemon, Endpoint, Outage};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};

use crate::daemon_support::checker::check;
use crate::daemon_support::daemon::{Daemon, End};
use crate::daemon_support::site::Site;
use crate::daemon_support::watcher::Watcher;
use crate::kills::{deliver, wished};

/// Between two faults, in milliseconds.
const RESTS: std::ops::Range<u64> = 200..1500;
/// How long a fault lasts, in milliseconds.
const FAULTS: std::ops::Range<u64> = 200..4000;
/// How long a daemon lives at least and at most, in seconds; long enough to show what grows.
const LIVES: std::ops::Range<u64> = 20..300;
/// Between two looks at the daemon's memory and files.
const SAMPLE: Duration = Duration::from_millis(250);
/// No daemon with such a load needs more than this.
const MEMORY_KB: u64 = 128 << 10;
const OPEN_FILES: u64 = 200;

/// What a road asks Rucio for.
const ENDPOINTS: [Endpoint; 12] = [
    Endpoint::AuthUserpass,
    Endpoint::Rses,
    Endpoint::RseAttributes,
    Endpoint::AddDids,
    Endpoint::DidRules,
    Endpoint::Attach,
    Endpoint::Replicas,
    Endpoint::AddRules,
    Endpoint::Rules,
    Endpoint::Rule,
    Endpoint::RuleLocks,
    Endpoint::UpdateRule,
];

fn pick<T: Clone>(rng: &mut StdRng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())].clone()
}

/// Lets one thing go wrong for a while, and returns what it was.
async fn one_fault(site: &Site, daemon: &AtomicI32, rng: &mut StdRng) -> &'static str {
    let faults = site.rucio.faults();
    let lasts = Duration::from_millis(rng.random_range(FAULTS));
    let outages = [Outage::Refuse, Outage::Hang, Outage::Unavailable];
    match rng.random_range(0..8) {
        0 => {
            faults.rucio_down(pick(rng, &outages));
            tokio::time::sleep(lasts).await;
            faults.rucio_up();
            "Rucio away"
        }
        1 => {
            let rse = pick(rng, &["STORAGE-2", "STORAGE-3"]);
            faults.storage_down(rse, pick(rng, &outages));
            tokio::time::sleep(lasts).await;
            faults.storage_up(rse);
            "a data centre away"
        }
        2 => {
            let outage = pick(rng, &outages);
            for rse in ["STORAGE-2", "STORAGE-3"] {
                faults.storage_down(rse, outage);
            }
            tokio::time::sleep(lasts).await;
            for rse in ["STORAGE-2", "STORAGE-3"] {
                faults.storage_up(rse);
            }
            "all data centres away"
        }
        3 => {
            let part = pick(rng, &[RucioDaemon::Judge, RucioDaemon::Conveyor, RucioDaemon::Reaper]);
            faults.pause(part);
            tokio::time::sleep(lasts).await;
            faults.resume(part);
            "a daemon of Rucio at rest"
        }
        4 => {
            faults.fail_transfers_percent(30, rng.random());
            tokio::time::sleep(lasts).await;
            faults.fail_transfers_percent(0, 0);
            "transfers failing"
        }
        5 => {
            let late = Answer::Delay(Duration::from_millis(rng.random_range(50..2000)));
            let answers = [Answer::Status(500), Answer::Garbage, Answer::Truncated, Answer::Lost, Answer::HangUp, late];
            faults.answer(pick(rng, &ENDPOINTS), rng.random_range(1..4), &pick(rng, &answers));
            "wrong answers"
        }
        6 => {
            signal(daemon, Signal::STOP);
            tokio::time::sleep(lasts).await;
            signal(daemon, Signal::CONT);
            "the daemon suspended"
        }
        _ => {
            signal(daemon, Signal::HUP);
            "a reload"
        }
    }
}

/// To the daemon of the moment, if it still lives.
fn signal(daemon: &AtomicI32, signal: Signal) {
    if let Some(id) = Pid::from_raw(daemon.load(Ordering::SeqCst)) {
        let _ = kill_process(id, signal);
    }
}

async fn trouble(
    site: Arc<Site>,
    daemon: Arc<AtomicI32>,
    mut rng: StdRng,
    end: Instant,
) -> BTreeMap<&'static str, u32> {
    let mut told = BTreeMap::new();
    while Instant::now() < end {
        *told.entry(one_fault(&site, &daemon, &mut rng).await).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(rng.random_range(RESTS))).await;
    }
    told
}

/// Resident memory in kB and open files of a process.
fn size(id: Pid) -> Option<(u64, u64)> {
    let process = format!("/proc/{}", id.as_raw_nonzero());
    let status = fs::read_to_string(format!("{process}/status")).ok()?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let open = fs::read_dir(format!("{process}/fd")).ok()?.count();
    Some((memory.trim().trim_end_matches(" kB").parse().ok()?, open as u64))
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// A life in thirds: the first is for growing up, the last may not be above the second by more than noise.
fn assert_flat(life: &[(u64, u64)]) {
    let third = life.len() / 3;
    for (what, noise, of) in [
        ("kB of memory", 8 << 10, (|sample: &(u64, u64)| sample.0) as fn(&_) -> u64),
        ("open files", 8, |sample| sample.1),
    ] {
        let middle = median(life[third..2 * third].iter().map(of).collect());
        let last = median(life[2 * third..].iter().map(of).collect());
        assert!(
            last <= middle + middle / 4 + noise,
            "{what} grow: {middle}, then {last}, in a life of {third} looks times three"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_random_faults_and_kills_it_loses_nothing_and_stays_small() {
    let seed = wished("DL0_INGEST_SOAK_SEED").unwrap_or_else(|| rand::rng().random());
    let lasts = Duration::from_secs(wished("DL0_INGEST_SOAK_SECONDS").unwrap_or(120));
    eprintln!("DL0_INGEST_SOAK_SEED={seed}, for {} s", lasts.as_secs());
    let site = Arc::new(Site::new().await);
    let watcher = Watcher::start(&site);
    let end = Instant::now() + lasts;
    let mut rng = StdRng::seed_from_u64(seed);
    let current = Arc::new(AtomicI32::new(0));
    let load = tokio::spawn(deliver(Arc::clone(&site), StdRng::seed_from_u64(rng.random()), end));
    let faults = trouble(Arc::clone(&site), Arc::clone(&current), StdRng::seed_from_u64(rng.random()), end);
    let faults = tokio::spawn(faults);
    let (mut lives, mut most) = (0, (0, 0));
    while Instant::now() < end {
        let daemon = Daemon::start(&site, &[]);
        current.store(daemon.id().as_raw_nonzero().get(), Ordering::SeqCst);
        let longest = LIVES.end.min(LIVES.start.max(lasts.as_secs() / 3) + 1);
        let until = end.min(Instant::now() + Duration::from_secs(rng.random_range(LIVES.start..longest)));
        let mut life = Vec::new();
        while Instant::now() < until {
            tokio::time::sleep(SAMPLE).await;
            life.push(size(daemon.id()).expect("the daemon lives until it is killed"));
        }
        current.store(0, Ordering::SeqCst);
        daemon.kill().await;
        lives += 1;
        most = life.iter().fold(most, |most, sample| (most.0.max(sample.0), most.1.max(sample.1)));
        if SAMPLE * u32::try_from(life.len()).unwrap() > Duration::from_secs(LIVES.start / 2) {
            assert_flat(&life);
        }
    }
    let told = faults.await.unwrap();
    load.await.unwrap();
    let daemon = Daemon::start(&site, &[]);
    site.until_settled().await;
    assert_eq!(daemon.stop(&site).await, End::Stopped);
    check(&site).await;
    let looks = watcher.finish();
    let times: usize = site.deliveries().iter().map(|delivery| delivery.inodes.len()).sum();
    eprintln!(
        "{lives} lives, {times} deliveries, {looks} looks at a file, at most {} kB and {} open files",
        most.0, most.1
    );
    eprintln!("faults: {told:?}");
    assert!(most.0 < MEMORY_KB && most.1 < OPEN_FILES, "{} kB of memory, {} open files", most.0, most.1);
    assert!(lives > 1 && times > 0 && !told.is_empty());
}
