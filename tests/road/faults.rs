//! Faults of Rucio that are quick to have here and slow or impossible on a real one.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use dl0_ingest::custody::{NoWayBack, State, UnderItsName};
use dl0_ingest::ledger::{FileRow, Operator, Retried};
use dl0_ingest::names::Did;
use rand::RngExt as _;
use rucio_miniature::{Answer, Daemon, Endpoint, Event, ReplicaState};

use crate::road::DELETION_ON;
use crate::road::orders::confirmed;
use crate::testkit::fixture;
use crate::testkit::in_process::{InProcess, with_first_copy_only};
use crate::testkit::site::Site;

fn wished(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// A second is long for the embedded Rucio.
fn impatient(text: &str) -> String {
    text.replace("  account: ingest\n", "  account: ingest\n  timeout: 1s\n  connect_timeout: 1s\n")
}

/// The row is dropped, the file left: told as an error, and nothing is done without the operator's wish.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_reaper_left_on_disk_is_reported_until_somebody_removes_it() {
    let grace = DELETION_ON.replace("deletion: on", "deletion: on, leftover_grace: 300ms");
    let site = Site::new(&grace).await;
    site.rucio.faults().leave_files(true);
    let daemon = site.start();
    let content = fixture("SUBARRAY");
    let lfn = site.deliver("a.fits.fz", &content);
    let told = "Rucio says the on-site copy is deleted, it is still on disk; remove it or set release.leftover";
    let row = site.until_row(&lfn, |row| row.waits_for.as_deref() == Some(told)).await;
    assert_eq!(row.state, State::Releasing);
    assert_eq!(fs::read(site.path("a.fits.fz")).unwrap(), content);
    fs::remove_file(site.path("a.fits.fz")).unwrap();
    site.until_state(&lfn, State::Released).await;
    daemon.stop().await;
}

/// As XRootD does when it computes two digests at once. A copy that is really another file is held, as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_once_answers_with_another_file_is_asked_again_and_not_believed() {
    let site = Site::new(DELETION_ON).await;
    site.rucio.faults().misstate(1);
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    let row = site.until_row(&lfn, |row| matches!(row.state, State::Released | State::Held)).await;
    assert_eq!(row.state, State::Released, "{row:#?}");
    assert!(site.operator().await.breaker().await.unwrap().is_none());
    daemon.stop().await;
}

/// As in a federation of storages, where a door sends to whoever has the file.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_the_server_of_another_copy_proves_none() {
    for lends in ["STORAGE-3", "STORAGE-1"] {
        let site = Site::new(DELETION_ON).await;
        site.rucio.faults().lead("STORAGE-2", site.rucio.storage_url(lends).unwrap());
        let daemon = site.start();
        let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
        let told = format!("where {lends} has its copy");
        let row = site.until_row(&lfn, |row| row.waits_for.as_ref().is_some_and(|why| why.contains(&told))).await;
        assert_eq!((row.state, row.first_look), (State::Replicated, None), "{lends}");
        site.rucio.faults().clear();
        site.until_state(&lfn, State::Released).await;
        daemon.stop().await;
    }
}

/// Long after Rucio has deleted it, ACADA writes another over what was left, and has not made its trigger yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_leftover_that_is_being_delivered_again_waits_for_its_trigger() {
    let site = Site::new(&DELETION_ON.replace("deletion: on", "deletion: on, leftover_grace: 3s")).await;
    site.rucio.faults().leave_files(true);
    let daemon = site.start();
    let content = fixture("SUBARRAY");
    let lfn = site.deliver("a.fits.fz", &content);
    let left = |row: &FileRow| row.waits_for.as_ref().is_some_and(|why| why.contains("it is still on disk; remove it"));
    site.until_row(&lfn, left).await;
    site.rucio.faults().leave_files(false);
    fs::write(site.path("new"), &content).unwrap();
    fs::rename(site.path("new"), site.path("a.fits.fz")).unwrap();
    let waits = "another file lies under its name, and has no trigger yet";
    let row =
        site.until_row(&lfn, |row| row.state != State::Releasing || row.waits_for.as_deref() == Some(waits)).await;
    assert_eq!(row.state, State::Releasing, "{row:#?}");
    site.pull_trigger("a.fits.fz");
    site.until_row(&lfn, |row| row.state == State::Released && row.delivery > 1).await;
    assert!(!site.path("a.fits.fz").exists() && !site.has_trigger("a.fits.fz"));
    daemon.stop().await;
}

/// What has left by an order that was good, and whose copies came into doubt right after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_had_left_and_whose_copies_are_in_doubt_counts_as_released_only_after_a_road_anew() {
    let removed = DELETION_ON.replace("deletion: on", "deletion: on, leftover: remove, leftover_grace: 2s");
    let site = Site::new(&removed).await;
    site.rucio.faults().leave_files(true);
    let daemon = site.start();
    let content = fixture("SUBARRAY");
    let lfn = site.deliver("a.fits.fz", &content);
    site.until_row(&lfn, |row| row.replica_gone_at.is_some()).await;
    let copy = site.storage(3).join(&lfn[1..]);
    let good = fs::read(&copy).unwrap();
    let mut bad = good.clone();
    bad[20_000] ^= 1;
    fs::write(&copy, bad).unwrap();
    let row = site.until_state(&lfn, State::Held).await;
    assert_eq!(row.reason_code.as_deref(), Some("evidence"));
    fs::rename(site.path("a.fits.fz"), site.path("away")).unwrap();
    let operator = Operator { who: "ops".to_owned(), reason: "the copy was mended".to_owned() };
    let ledger = site.operator().await;
    let nothing_there = ledger.retry(&row, &operator, UnderItsName::Nothing).await.unwrap();
    assert_eq!(nothing_there, Retried::No(NoWayBack::InDoubt));
    fs::rename(site.path("away"), site.path("a.fits.fz")).unwrap();
    fs::write(&copy, good).unwrap();
    ledger.reset_breaker(&operator).await.unwrap();
    assert_eq!(ledger.retry(&row, &operator, UnderItsName::Itself).await.unwrap(), Retried::BackTo(State::Verified));
    site.rucio.faults().leave_files(false);
    site.until_state(&lfn, State::Released).await;
    assert!(!site.path("a.fits.fz").exists());
    daemon.stop().await;
}

/// As `tests/e2e` does it on a real Rucio, with more files in less time: `DL0_INGEST_FAULT_SECONDS` of deliveries.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_fifth_of_all_answers_goes_wrong_every_file_of_a_stream_takes_its_road() {
    let seed = wished("DL0_INGEST_FAULT_SEED").unwrap_or_else(|| rand::rng().random());
    let lasts = Duration::from_secs(wished("DL0_INGEST_FAULT_SECONDS").unwrap_or(10));
    println!("DL0_INGEST_FAULT_SEED={seed}, for {} s", lasts.as_secs());
    let site = Site::new(DELETION_ON).await;
    let ways = [
        Answer::Refuse { status: 500, class: "DatabaseException", message: "away" },
        Answer::Status(500),
        Answer::Status(503),
        Answer::Garbage,
        Answer::Truncated,
        Answer::Lost,
        Answer::HangUp,
        Answer::Delay(Duration::from_millis(300)),
        // longer than the daemon waits
        Answer::Delay(Duration::from_secs(2)),
    ];
    site.rucio.faults().answers_percent(20, seed, &ways);
    let daemon = InProcess::start(site.config_with(|text| impatient(&text)));
    let contents = ["CAL", "MUON", "SUBARRAY"].map(fixture);
    let (mut lfns, end) = (Vec::new(), Instant::now() + lasts);
    while Instant::now() < end {
        lfns.push(site.deliver(&format!("{}.fits.fz", lfns.len()), &contents[lfns.len() % 3]));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // while answers go on being wrong, a backlog takes longer than it took to come
    let patience = Duration::from_mins(1) + lasts * 2;
    for lfn in &lfns {
        site.until_row_within(patience, lfn, |row| row.state == State::Released).await;
    }
    daemon.stop().await;
    for (number, lfn) in lfns.iter().enumerate() {
        for storage in [2, 3] {
            assert_eq!(fs::read(site.storage(storage).join(&lfn[1..])).unwrap(), contents[number % 3], "{lfn}");
        }
    }
    assert_in_order(&site, &lfns);
    let spoilt: u64 = site.rucio.faults().spoilt().values().sum();
    println!("{} files, {spoilt} answers spoilt", lfns.len());
    assert!(spoilt > 10);
}

/// What takes Rucio too long at once is asked for in smaller parts: the same again would never pass.
#[tokio::test(flavor = "multi_thread")]
async fn a_rucio_that_is_too_slow_for_a_whole_batch_gets_smaller_ones() {
    let site = Site::new(DELETION_ON).await;
    site.rucio.faults().slow(Duration::from_millis(40));
    let content = fixture("SUBARRAY");
    // one takes a tenth of a second, all together more than two
    let lfns: Vec<String> = (0..24).map(|n| site.deliver(&format!("{n}.fits.fz"), &content)).collect();
    let daemon = InProcess::start(site.config_with(|text| impatient(&text)));
    for lfn in &lfns {
        site.until_state(lfn, State::Released).await;
    }
    daemon.stop().await;
}

/// Rules on site are ended one by one; where that goes wrong, only that file is looked at anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_answer_about_one_file_sets_back_that_file_alone() {
    const FILES: u64 = 20;
    let site = Site::new(DELETION_ON).await;
    let switch = site.kill_switch();
    fs::write(&switch, "until all are proven").unwrap();
    let content = fixture("SUBARRAY");
    let lfns: Vec<String> = (0..FILES).map(|n| site.deliver(&format!("{n}.fits.fz"), &content)).collect();
    let daemon = site.start_unlimited();
    for lfn in &lfns {
        site.until_state(lfn, State::Confirmed).await;
    }
    daemon.stop().await;
    let asked = || site.rucio.requests()[&Endpoint::RuleLocks];
    let before = asked();
    // such as is not tried again within the call
    let refusal = Answer::Refuse { status: 500, class: "Unheard", message: "of" };
    site.rucio.faults().answer(Endpoint::UpdateRule, 3, &refusal);
    fs::remove_file(&switch).unwrap();
    let daemon = site.start_unlimited();
    for lfn in &lfns {
        site.until_state(lfn, State::Released).await;
    }
    // those of each file, and of the first copies' rule for each batch: twice for the three
    let locks = asked() - before;
    assert!(locks <= FILES + 3 + 8, "{locks} questions for locks");
    daemon.stop().await;
}

/// By Rucio's own account: one further-copies rule and one on-site rule for each file, and no file deleted before it had two copies.
fn assert_in_order(site: &Site, lfns: &[String]) {
    let mut rules: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    for entry in site.rucio.history() {
        match entry.event {
            Event::RulePlaced { did, rse_expression, .. } => rules.entry(did.name).or_default().push(rse_expression),
            Event::Available { did, .. } => *copies.entry(did.name).or_default() += 1,
            Event::FileDeleted { did, rse } => {
                assert_eq!((rse.as_str(), copies.get(&did.name)), ("STORAGE-1", Some(&2)), "{did}");
            }
            _ => {}
        }
    }
    for lfn in lfns {
        let (on_site, off_site): (Vec<_>, Vec<_>) = rules[lfn].iter().partition(|rse| *rse == "STORAGE-1");
        assert_eq!((on_site.len(), off_site.len()), (1, 1), "{lfn}: {rules:?}", rules = rules[lfn]);
    }
}

/// One file is being released, one is between its two looks, one comes; then lists are empty, with status 200, so many times
/// that the second look falls into them. Or they lack their last line, or an RSE has no attributes.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_that_is_not_true_holds_and_releases_nothing() {
    for (endpoint, answer, times) in [
        (Endpoint::Replicas, Answer::Empty, 24),
        (Endpoint::RuleLocks, Answer::Empty, 6),
        (Endpoint::RuleLocks, Answer::Fewer, 6),
        (Endpoint::Rses, Answer::Empty, 24),
        (Endpoint::RseAttributes, Answer::EmptyObject, 24),
        (Endpoint::Rules, Answer::Empty, 2),
    ] {
        let site = Site::new(&DELETION_ON.replace("hold: 200ms", "hold: 1s")).await;
        site.rucio.faults().pause(Daemon::Reaper);
        let daemon = site.start();
        let leaving = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
        site.until_row(&leaving, |row| row.release_ordered_at.is_some()).await;
        let proven = site.deliver("b.fits.fz", &fixture("SUBARRAY"));
        site.until_row(&proven, |row| row.first_look.is_some()).await;
        site.rucio.faults().pause(Daemon::Conveyor);
        site.rucio.faults().answer(endpoint, 10_000, &answer);
        let new = site.deliver("c.fits.fz", &fixture("SUBARRAY"));
        let begun = Instant::now();
        while site.rucio.faults().spoilt().get(&endpoint).is_none_or(|spoilt| *spoilt < times) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{endpoint:?} is not asked");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for name in ["a.fits.fz", "b.fits.fz", "c.fits.fz"] {
            assert!(site.path(name).exists(), "{endpoint:?}: {name}");
        }
        site.rucio.faults().clear();
        for lfn in [&leaving, &proven, &new] {
            let row = site.until_row(lfn, |row| matches!(row.state, State::Released | State::Held)).await;
            assert_eq!(row.state, State::Released, "{endpoint:?}: {row:#?}");
        }
        assert!(site.operator().await.breaker().await.unwrap().is_none(), "{endpoint:?}");
        daemon.stop().await;
    }
}

/// Transfers are taken and neither end nor fail: for the first copy, and for the further one.
#[tokio::test(flavor = "multi_thread")]
async fn files_wait_for_transfers_that_neither_end_nor_fail_for_hours() {
    let site = Site::with(DELETION_ON, |options| options.pace.conveyor = Duration::from_secs(1)).await;
    let (daemon, first) = with_first_copy_only(&site, "a.fits.fz").await;
    let second = site.deliver("b.fits.fz", &fixture("SUBARRAY"));
    site.until_row(&second, |row| row.state == State::Registered && !row.trigger_pending).await;
    daemon.stop().await;
    for lfn in [&first.lfn, &second] {
        site.age(lfn, Duration::from_hours(6)).await;
    }
    let daemon = site.start();
    for (lfn, state) in [(&first.lfn, State::Replicated), (&second, State::Registered)] {
        let row = site.until_row(lfn, |row| row.next_attempt > 0 && row.waits_for.is_some()).await;
        assert_eq!((row.state, row.attempts), (state, 0), "{row:#?}");
    }
    site.rucio.faults().resume(Daemon::Conveyor);
    for lfn in [&first.lfn, &second] {
        site.until_state(lfn, State::Released).await;
    }
    daemon.stop().await;
    assert_in_order(&site, &[first.lfn, second]);
}

/// Proven twice, and lost before the look right before the release: with its row in Rucio, or behind Rucio's back.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_lost_after_the_proof_keeps_the_on_site_copy() {
    for (known_to_rucio, why) in [
        (true, "evidence that was complete is not any more: 1 of 2 sites hold a proven copy"),
        (false, "Rucio says AVAILABLE at STORAGE-3, the storage has no such file"),
    ] {
        let site = Site::new(DELETION_ON).await;
        let switch = site.kill_switch();
        fs::write(&switch, "until a copy is lost").unwrap();
        let daemon = site.start();
        let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
        site.until_row(&lfn, |row| row.waits_for.as_ref().is_some_and(|why| why.contains("until a copy is lost")))
            .await;
        let did = Did::new("acada", &lfn);
        if known_to_rucio {
            site.rucio.lose_copy(&did, "STORAGE-3").unwrap();
        } else {
            site.rucio.lose_file(&did, "STORAGE-3").unwrap();
        }
        fs::remove_file(&switch).unwrap();
        let row = site.until_state(&lfn, State::Held).await;
        let reason = row.reason.as_deref().unwrap();
        assert!(reason.contains(why), "{reason}");
        assert!(site.operator().await.breaker().await.unwrap().is_some());
        assert!(site.path("a.fits.fz").exists());
        assert_eq!(site.rucio.replicas(&did).get("STORAGE-1"), Some(&ReplicaState::Available));
        daemon.stop().await;
    }
}

/// A list whose last line was lost on the way, and which ends in good order.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_data_centres_that_is_short_once_holds_nothing() {
    let site = Site::new(DELETION_ON).await;
    let (daemon, row) = confirmed(&site).await;
    let asked = || site.rucio.requests()[&Endpoint::Rses];
    let before = asked();
    site.rucio.faults().answer(Endpoint::Rses, 1, &Answer::Fewer);
    fs::remove_file(site.kill_switch()).unwrap();
    site.until_state(&row.lfn, State::Released).await;
    // the short answer was asked again about, and then the file was looked at anew
    assert!(asked() >= before + 3);
    assert!(site.operator().await.breaker().await.unwrap().is_none());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_released_while_the_on_site_rse_does_not_say_its_site() {
    let site = Site::new(DELETION_ON).await;
    let (daemon, row) = confirmed(&site).await;
    site.rucio.set_attribute("STORAGE-1", "site", None);
    let asked = || site.rucio.requests()[&Endpoint::RseAttributes];
    let before = asked();
    fs::remove_file(site.kill_switch()).unwrap();
    // several looks
    site.until("the sites to be asked for", || async { asked() > before + 4 }).await;
    let row = site.row(&row.lfn).await.unwrap();
    assert_eq!(row.state, State::Confirmed, "{row:#?}");
    site.rucio.set_attribute("STORAGE-1", "site", Some("LAPALMA"));
    site.until_state(&row.lfn, State::Released).await;
    daemon.stop().await;
}

/// As when its disk is not mounted: it denies all it has. That is an outage, not a hundred lost copies.
#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_denies_every_file_is_away_and_holds_none() {
    for files in [5, 1] {
        denied_by_a_storage_that_is_not_mounted(files).await;
    }
}

async fn denied_by_a_storage_that_is_not_mounted(files: usize) {
    let site = Site::new(DELETION_ON).await;
    let patient =
        |text: String| text.replace("hold: 200ms, poll: 50ms, poll_max: 200ms", "hold: 1h, poll: 1h, poll_max: 1h");
    let daemon = InProcess::start(site.config_with(patient));
    let lfns: Vec<String> = (0..files).map(|n| site.deliver(&format!("{n}.fits.fz"), &fixture("SUBARRAY"))).collect();
    for lfn in &lfns {
        site.until_row(lfn, |row| row.state == State::Replicated && row.waits_for.is_some()).await;
        let did = Did::new("acada", lfn);
        let begun = Instant::now();
        while site.rucio.replicas(&did).values().filter(|state| **state == ReplicaState::Available).count() < 3 {
            assert!(begun.elapsed() < Duration::from_secs(30), "{lfn} is not copied");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    daemon.stop().await;
    for lfn in &lfns {
        site.age(lfn, Duration::from_mins(6)).await;
    }
    let (disk, unmounted) = (site.storage(3), site.root().join("unmounted"));
    fs::rename(&disk, &unmounted).unwrap();
    fs::create_dir(&disk).unwrap();
    let daemon = site.start();
    for lfn in &lfns {
        let denied = |row: &dl0_ingest::ledger::FileRow| {
            row.state != State::Replicated
                || row.waits_for.as_ref().is_some_and(|why| why.contains("is its disk mounted"))
        };
        let row = site.until_row(lfn, denied).await;
        assert_eq!(row.state, State::Replicated, "{row:#?}");
    }
    fs::remove_dir_all(&disk).unwrap();
    fs::rename(&unmounted, &disk).unwrap();
    for lfn in &lfns {
        site.until_state(lfn, State::Released).await;
    }
    assert!(site.operator().await.breaker().await.unwrap().is_none());
    daemon.stop().await;
}
