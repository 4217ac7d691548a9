//! A steady stream of files, while everything around the daemon fails at random and the daemon itself is killed now and
//! then. Nothing may be lost, everything must end, and memory and open files must stay flat.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rucio_miniature::{Answer, Daemon as RucioDaemon, Endpoint, Outage};
use rustix::process::{Pid, Signal, kill_process};

use crate::crash::load::Load;
use crate::testkit::process::Daemon;
use crate::testkit::site::Site;

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
/// Of a soak that takes longer, the last life is the one that begins in its second half: what grows slowly has time to show.
const LONG: Duration = Duration::from_mins(10);
/// What the floor of that life may rise by in its last third, in kB and open files. Leaks raise the floor; busy moments do not.
/// The caches of five connections to the ledger and the arenas of the allocator fill for eight minutes and more.
const RISE: (u64, u64) = (8 << 10, 8);

/// What long lives were seen to need. Most of it is reached by the second minute, and the rest by the eighth.
const GROWN_KB: u64 = 96 << 10;

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
            // before its first steps nobody reloads it: a process that does not know the signal is ended by it
            if hears_hangups(daemon) {
                signal(daemon, Signal::HUP);
            }
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

/// Whether the daemon of the moment catches SIGHUP (proc(5), `SigCgt`).
fn hears_hangups(daemon: &AtomicI32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.load(Ordering::SeqCst)));
    let caught = status.ok().and_then(|status| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?.trim();
        u64::from_str_radix(mask, 16).ok()
    });
    caught.is_some_and(|caught| caught & 1 << (Signal::HUP.as_raw() - 1) != 0)
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
    // a wrong answer that was never asked for would meet whoever judges the end
    site.rucio.faults().no_more_answers();
    told
}

/// Resident memory in kB and open files.
fn size(daemon: &Daemon) -> (u64, u64) {
    (daemon.kilobytes("VmRSS"), daemon.open_files())
}

/// The value below which this part of all values lies, in percent.
fn percentile(mut values: Vec<u64>, percent: usize) -> u64 {
    values.sort_unstable();
    values[(values.len() - 1) * percent / 100]
}

type Figure = (&'static str, fn(&(u64, u64)) -> u64);

/// What is held flat.
const FIGURES: [Figure; 2] = [("kB of memory", |sample| sample.0), ("open files", |sample| sample.1)];

/// A long life in thirds: the floor of the last one is that of the second.
fn assert_no_leak(life: &[(u64, u64)]) {
    let third = life.len() / 3;
    for ((what, of), rise) in FIGURES.into_iter().zip([RISE.0, RISE.1]) {
        let floor = |part: &[(u64, u64)]| percentile(part.iter().map(of).collect(), 10);
        let (middle, last) = (floor(&life[third..2 * third]), floor(&life[2 * third..]));
        let seconds = (SAMPLE * u32::try_from(third).unwrap()).as_secs();
        eprintln!("the longest life, {what}: at least {middle}, and {last} in the last {seconds} s");
        assert!(last <= middle + rise, "{what} leak");
    }
}

/// A life in thirds: the first is for growing up, the last may not be above the second by more than noise, or by what a short
/// life with a quiet second third is still to grow.
fn assert_flat(life: &[(u64, u64)]) {
    let third = life.len() / 3;
    // the second figure of each: the connections of a busy moment
    for ((what, of), (noise, grown)) in FIGURES.into_iter().zip([(8 << 10, GROWN_KB), (24, 0)]) {
        let middle = percentile(life[third..2 * third].iter().map(of).collect(), 50);
        let last = percentile(life[2 * third..].iter().map(of).collect(), 50);
        assert!(
            last <= (middle + middle / 4 + noise).max(grown),
            "{what} grow: {middle}, then {last}, in a life of {third} looks times three"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_random_faults_and_kills_it_loses_nothing_and_stays_small() {
    let mut load = Load::start("SOAK", 120).await;
    let current = Arc::new(AtomicI32::new(0));
    let chance = StdRng::seed_from_u64(load.rng.random());
    let faults = tokio::spawn(trouble(Arc::clone(&load.site), Arc::clone(&current), chance, load.end));
    let (mut lives, mut most) = (0, (0, 0));
    let longest = LIVES.end.min(LIVES.start.max(load.lasts.as_secs() / 3) + 1);
    while !load.is_over() {
        let daemon = Daemon::start(&load.site, &[]);
        current.store(daemon.id().as_raw_nonzero().get(), Ordering::SeqCst);
        let lives_for = Duration::from_secs(load.rng.random_range(LIVES.start..longest));
        let second_half = load.lasts >= LONG && Instant::now() + load.lasts / 2 > load.end;
        let until = if second_half { load.end } else { load.end.min(Instant::now() + lives_for) };
        let mut life = Vec::new();
        while Instant::now() < until {
            tokio::time::sleep(SAMPLE).await;
            life.push(size(&daemon));
        }
        current.store(0, Ordering::SeqCst);
        daemon.kill().await;
        lives += 1;
        most = life.iter().fold(most, |most, sample| (most.0.max(sample.0), most.1.max(sample.1)));
        if SAMPLE * u32::try_from(life.len()).unwrap() > Duration::from_secs(LIVES.start / 2) {
            assert_flat(&life);
        }
        if second_half {
            assert_no_leak(&life);
        }
    }
    let told = faults.await.unwrap();
    eprintln!("{lives} lives, at most {} kB and {} open files; faults: {told:?}", most.0, most.1);
    load.ends_well().await;
    assert!(most.0 < MEMORY_KB && most.1 < OPEN_FILES, "{} kB of memory, {} open files", most.0, most.1);
    assert!(lives > 1 && !told.is_empty());
}
