//! The daemon killed in the middle of its work.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::e2e::shift::Shift;
use crate::testkit::number;

/// How long a daemon lives, in milliseconds: from its very start to well into the road of a file.
const LIVES: std::ops::Range<u64> = 100..6000;
/// Between two deliveries, in milliseconds.
const PACE: u64 = 700;

/// Points at which it dies in every test run; with `DL0_INGEST_CRASH_POINTS=all` it dies at each that a good night passes.
const CHOSEN: [&str; 6] = [
    "rucio.attach.after",
    "rucio.add_rules.after",
    "disk.remove-trigger.after",
    "audit.record.after",
    "ledger.releasing.after",
    "rucio.end_rule.after",
];

/// At random, while files come: nothing is lost, nothing is doubled. `DL0_INGEST_CRASH_SECONDS` says for how long,
/// `DL0_INGEST_CRASH_SEED` repeats the choices.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_on_the_real_stack_it_goes_on_where_it_was() {
    let seed = number("DL0_INGEST_CRASH_SEED", rand::rng().random());
    let lasts = Duration::from_secs(number("DL0_INGEST_CRASH_SECONDS", 15));
    println!("DL0_INGEST_CRASH_SEED={seed}, for {} s", lasts.as_secs());
    let (mut rng, begun) = (StdRng::seed_from_u64(seed), Instant::now());
    let mut shift = Shift::begin().await;
    shift.daemon.kill();
    let mut kills = 0;
    while begun.elapsed() < lasts {
        shift.daemon.spawn(&[]);
        let life = rng.random_range(LIVES);
        shift.deliver_some(usize::try_from(life / PACE + 1).unwrap(), Duration::from_millis(PACE)).await;
        shift.daemon.kill();
        kills += 1;
    }
    shift.daemon.run();
    println!("{kills} kills, {} files", shift.delivered().len());
    shift.end().await;
}

/// A file is delivered to each daemon, which dies at its point; what is left of it the next ones take over.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_points_of_the_road_on_the_real_stack_it_goes_on_where_it_was() {
    let list = tempfile::NamedTempFile::new().unwrap();
    let mut shift = Shift::with_configuration(|text| text.replace("hold: 4s", "hold: 1s")).await;
    shift.daemon.stop();
    shift.daemon.spawn(&[("DL0_INGEST_CRASH_LIST", list.path().to_str().unwrap())]);
    shift.deliver();
    shift.until_all("released").await;
    shift.daemon.kill();
    let passed = std::fs::read_to_string(list.path()).unwrap();
    let all = std::env::var("DL0_INGEST_CRASH_POINTS").is_ok_and(|which| which == "all");
    let points: BTreeSet<&str> = passed.lines().filter(|point| all || CHOSEN.contains(point)).collect();
    assert!(points.len() >= CHOSEN.len(), "a night passes {points:?} alone");
    let mut spared = Vec::new();
    for point in &points {
        shift.daemon.spawn(&[("DL0_INGEST_CRASH_AT", point)]);
        shift.deliver();
        let released = |shift: &Shift| {
            let states = shift.states();
            shift.delivered().iter().all(|file| states.get(&file.lfn).is_some_and(|state| state == "released"))
        };
        if let Some(status) = shift.ended_before(released).await {
            assert_eq!(status.signal(), Some(9), "{point}: {status}");
        } else {
            // what happens once a dataset, or further on than the last release
            shift.daemon.kill();
            spared.push(point);
        }
    }
    println!("{} points, {} deaths; not passed again: {spared:?}", points.len(), points.len() - spared.len());
    assert!(all || spared.is_empty(), "{spared:?}");
    shift.daemon.run();
    shift.end().await;
}
