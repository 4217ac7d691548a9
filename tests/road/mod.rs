//! The road of a file, driven in one process on the embedded Rucio.
mod audit;
mod brakes;
mod carriers;
mod collections;
mod declared;
mod depth;
mod doors;
mod ended_rules;
mod faults;
mod orders;
mod other_ledgers;
mod own_rules;
mod rebuild;
mod reconcile;
mod redelivery;
mod requests;
mod required;
mod resumed;
mod rules;
mod settling;
mod start;
mod storages;
mod touched;
mod watched;

use std::fs;
use std::time::Duration;

use dl0_ingest::custody::{NoWayBack, State, UnderItsName};
use dl0_ingest::ledger::{Operator, Retried};
use dl0_ingest::names::Did;
use rucio_miniature::{Daemon, Outage, ReplicaState};

use crate::testkit::fixture;
use crate::testkit::in_process::InProcess;
use crate::testkit::site::{self, Site, lfn};
use reconcile::sources;
use rules::removed;

const DELETION_ON: &str =
    "release: {deletion: on, poll: 50ms, poll_max: 200ms}\nconfirm: {hold: 200ms, poll: 50ms, poll_max: 200ms}\n";
const DRY_RUN: &str = "confirm: {hold: 200ms, poll: 50ms, poll_max: 200ms}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_delivered_file_ends_as_two_copies_and_a_freed_buffer() {
    let site = Site::new(DELETION_ON).await;
    let daemon = site.start();
    let content = fixture("SUBARRAY");
    let lfn = site.deliver("a.fits.fz", &content);
    let row = site.until_state(&lfn, State::Released).await;
    assert!(!site.path("a.fits.fz").exists());
    assert!(!site.has_trigger("a.fits.fz"));
    for number in [2, 3] {
        assert_eq!(fs::read(site.storage(number).join(&lfn[1..])).unwrap(), content);
    }
    let replicas = site.rucio.replicas(&Did::new("acada", &lfn));
    let there: Vec<&str> = replicas.keys().map(String::as_str).collect();
    assert_eq!(there, ["STORAGE-2", "STORAGE-3"]);
    assert!(row.last_evidence.unwrap().contains("crc32c"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_confirms_and_deletes_nothing() {
    let site = Site::new(DRY_RUN).await;
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    let row = site.until_row(&lfn, |row| row.waits_for.as_ref().is_some_and(|w| w.contains("dry run"))).await;
    assert_eq!(row.state, State::Confirmed);
    assert!(site.path("a.fits.fz").exists());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_goes_to_invalid_with_its_reason_and_a_mended_one_takes_its_place() {
    let site = Site::new(DRY_RUN).await;
    let daemon = site.start();
    let good = fixture("SUBARRAY");
    let lfn = site.deliver("a.fits.fz", &good[..good.len() - 2880]);
    site.until_state(&lfn, State::Rejected).await;
    let aside = site.data().join("ctao/acada/invalid/dl0/LST/events/2026/01/01/a.fits.fz");
    assert_eq!(fs::read(&aside).unwrap(), good[..good.len() - 2880]);
    let reason = fs::read_to_string(aside.with_extension("fz.reason.json")).unwrap();
    assert!(reason.contains("\"truncated\""), "{reason}");
    assert!(!site.path("a.fits.fz").exists() && !site.has_trigger("a.fits.fz"));
    site.deliver("a.fits.fz", &good);
    site.until_state(&lfn, State::Confirmed).await;
    // and a third that is bad again overwrites nothing
    site.deliver("b.fits.fz", b"text");
    site.until_state(&site::lfn("b.fits.fz"), State::Rejected).await;
    site.deliver("b.fits.fz", b"other text");
    site.until_row(&site::lfn("b.fits.fz"), |row| row.state == State::Rejected && row.delivery == 2).await;
    let aside = aside.with_file_name("b.fits.fz");
    assert_eq!(fs::read(&aside).unwrap(), b"text");
    assert_eq!(fs::read(aside.with_file_name("b.fits.fz.2")).unwrap(), b"other text");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identical_second_delivery_loses_its_trigger_and_another_content_is_held() {
    let site = Site::new(DRY_RUN).await;
    let daemon = site.start();
    let content = fixture("SUBARRAY");
    let same = site.deliver("same.fits.fz", &content);
    let other = site.deliver("other.fits.fz", &content);
    for lfn in [&same, &other] {
        site.until_state(lfn, State::Confirmed).await;
    }
    fs::remove_file(site.path("same.fits.fz")).unwrap();
    site.deliver("same.fits.fz", &content);
    let row = site.until_row(&same, |row| row.delivery == 2 && !row.trigger_pending).await;
    assert_eq!(row.state, State::Confirmed);
    assert!(!site.has_trigger("same.fits.fz"));
    fs::remove_file(site.path("other.fits.fz")).unwrap();
    site.deliver("other.fits.fz", &fixture("MUON"));
    let row = site.until_state(&other, State::Held).await;
    assert_eq!(row.reason_code.as_deref(), Some("other-content"));
    assert!(site.has_trigger("other.fits.fz") && site.path("other.fits.fz").exists());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_file_that_comes_back_goes_the_road_again_without_a_second_rule() {
    let site = Site::new(DELETION_ON).await;
    let daemon = site.start();
    let content = fixture("SUBARRAY");
    let lfn = site.deliver("a.fits.fz", &content);
    let first = site.until_state(&lfn, State::Released).await;
    site.deliver("a.fits.fz", &content);
    let again = site.until_row(&lfn, |row| row.state == State::Released && row.delivery > 1).await;
    assert_eq!(again.further_copies_rule, first.further_copies_rule);
    assert!(!site.path("a.fits.fz").exists() && !site.has_trigger("a.fits.fz"));
    daemon.stop().await;
}

/// A file that Rucio has deleted on site, and another that somebody writes under its name before that was seen.
async fn left_and_written_anew(grace: &str) -> (Site, InProcess, String) {
    let site = Site::new(&DELETION_ON.replace("deletion: on", &format!("deletion: on, leftover_grace: {grace}"))).await;
    site.rucio.faults().pause(Daemon::Reaper);
    let daemon = site.start();
    let content = fixture("SUBARRAY");
    let lfn = site.deliver("a.fits.fz", &content);
    site.until_row(&lfn, |row| row.release_ordered_at.is_some()).await;
    daemon.stop().await;
    site.rucio.faults().resume(Daemon::Reaper);
    site.rucio.until(|_| !site.path("a.fits.fz").exists()).await;
    fs::write(site.path("a.fits.fz"), content).unwrap();
    let daemon = site.start();
    (site, daemon, lfn)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_being_delivered_again_when_its_old_copy_has_left_waits_for_its_trigger() {
    let (site, daemon, lfn) = left_and_written_anew("1h").await;
    let waits = "another file lies under its name, and has no trigger yet";
    let row = site.until_row(&lfn, |row| row.waits_for.as_deref() == Some(waits)).await;
    assert_eq!(row.state, State::Releasing);
    site.pull_trigger("a.fits.fz");
    site.until_row(&lfn, |row| row.state == State::Released && row.delivery > 1).await;
    assert!(!site.path("a.fits.fz").exists() && !site.has_trigger("a.fits.fz"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_had_left_and_was_held_for_another_in_its_place_counts_as_released_when_that_is_gone() {
    let (site, daemon, lfn) = left_and_written_anew("300ms").await;
    let row = site.until_state(&lfn, State::Held).await;
    assert_eq!(row.reason_code.as_deref(), Some("changed"));
    let operator = Operator { who: "ops".to_owned(), reason: "moved away".to_owned() };
    let ledger = site.operator().await;
    let too_early = ledger.retry(&row, &operator, UnderItsName::Another).await.unwrap();
    assert_eq!(too_early, Retried::No(NoWayBack::Released));
    // its copies are held as those of a released file
    let old = row.further_copies_rule.clone().unwrap();
    daemon.stop().await;
    removed(&sources(&site, None).rucio, &old).await;
    let daemon = site.start();
    site.until_row(&lfn, |row| row.further_copies_rule.as_ref().is_some_and(|new| *new != old)).await;
    fs::remove_file(site.path("a.fits.fz")).unwrap();
    let retried = ledger.retry(&row, &operator, UnderItsName::Nothing).await.unwrap();
    assert_eq!(retried, Retried::BackTo(State::Released));
    assert!(site.row(&lfn).await.unwrap().last_evidence.is_some(), "the evidence of its release stays");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_rucio_stops_nothing_but_time() {
    let site = Site::new(DELETION_ON).await;
    site.rucio.faults().rucio_down(Outage::Refuse);
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    let row = site.until_state(&lfn, State::Verified).await;
    assert_eq!(row.attempts, 0);
    assert!(site.has_trigger("a.fits.fz"));
    site.rucio.faults().rucio_up();
    site.until_state(&lfn, State::Released).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_stops_within_ten_seconds_though_rucio_hangs() {
    let site = Site::new(DELETION_ON).await;
    let daemon = site.start();
    let first = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    site.until_state(&first, State::Released).await;
    site.rucio.faults().rucio_down(Outage::Hang);
    let second = site.deliver("b.fits.fz", &fixture("SUBARRAY"));
    site.until_state(&second, State::Verified).await;
    // the registration is under way now, and gets no answer
    let asked = std::time::Instant::now();
    daemon.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_given_up_while_a_storage_is_silent() {
    let site = Site::new(
        "release: {deletion: on, poll: 50ms, poll_max: 200ms}\nconfirm: {hold: 2s, poll: 50ms, poll_max: 200ms}\n",
    )
    .await;
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    site.until_row(&lfn, |row| row.first_look.is_some()).await;
    let did = Did::new("acada", &lfn);
    site.rucio.faults().storage_down("STORAGE-3", Outage::Refuse);
    let row = site
        .until_row(&lfn, |row| {
            row.state == State::Released || row.waits_for.as_ref().is_some_and(|w| w.contains("does not answer"))
        })
        .await;
    assert_ne!(row.state, State::Released);
    assert_eq!(site.rucio.replicas(&did).get("STORAGE-1"), Some(&ReplicaState::Available));
    assert!(site.path("a.fits.fz").exists());
    site.rucio.faults().storage_up("STORAGE-3");
    site.until_state(&lfn, State::Released).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupted_copy_is_held_whatever_rucio_says() {
    let site = Site::new(DELETION_ON).await;
    site.rucio.faults().corrupt_copies(1);
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    let row = site.until_state(&lfn, State::Held).await;
    assert_eq!(row.reason_code.as_deref(), Some("evidence"));
    assert!(site.path("a.fits.fz").exists());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_the_sample_are_read_back_before_a_file_is_confirmed() {
    let hold = DELETION_ON.replace("hold: 200ms", "hold: 200ms, read_back: 1");
    let site = Site::new(&hold).await;
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    let row = site.until_state(&lfn, State::Released).await;
    let events = site.events(&row).await;
    let at = |kind: &str| events.iter().position(|event| event.kind == kind).unwrap();
    assert!(at("first-look") < at("read-back") && at("read-back") < at("confirmed"));
    let detail = events[at("read-back")].detail.as_deref().unwrap();
    assert!(detail.contains("STORAGE-2") && detail.contains("STORAGE-3"), "{detail}");
    daemon.stop().await;
    let audit = fs::read_to_string(site.state().join("audit.jsonl")).unwrap();
    let record: serde_json::Value = serde_json::from_str(audit.lines().next().unwrap()).unwrap();
    let read_back = &record["read_back"];
    assert_eq!(read_back["at"], events[at("read-back")].at, "{record:#}");
    assert_eq!(read_back["found"]["rses"], serde_json::json!(["STORAGE-2", "STORAGE-3"]), "{record:#}");
    assert_eq!(read_back["found"]["blake3"], record["contents"]["blake3"], "{record:#}");
}

/// A storage says what it has and delivers nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_copies_cannot_be_read_back_keeps_no_other_from_being_confirmed() {
    let contents = ["CAL", "MUON", "SUBARRAY"].map(fixture);
    let number = |content: &Vec<u8>| u64::from_str_radix(&blake3::hash(content).to_hex()[..16], 16).unwrap();
    let sampled = |every: u64| contents.iter().filter(move |content| number(content).is_multiple_of(every));
    let every = (2..100).find(|every| sampled(*every).count() == 1).unwrap();
    let the_sample = sampled(every).next().unwrap();
    let site = Site::new(&DRY_RUN.replace("hold: 200ms", "hold: 1h, read_back: 0")).await;
    let daemon = site.start();
    let first = site.deliver("a.fits.fz", the_sample);
    let others = contents.iter().filter(|content| *content != the_sample).enumerate();
    let others: Vec<String> = others.map(|(n, content)| site.deliver(&format!("b{n}.fits.fz"), content)).collect();
    for lfn in others.iter().chain([&first]) {
        site.until_row(lfn, |row| row.first_look.is_some()).await;
    }
    daemon.stop().await;
    for lfn in others.iter().chain([&first]) {
        site.age(lfn, Duration::from_secs(1)).await;
    }
    site.rucio.faults().stall_downloads(true);
    // longer than this test
    let patient = |text: String| text.replace("  account: ingest\n", "  account: ingest\n  timeout: 1h\n");
    let of_the_sample = |text: String| text.replace("hold: 1h, read_back: 0", &format!("hold: 1s, read_back: {every}"));
    let daemon = InProcess::start(site.config_with(|text| of_the_sample(patient(text))));
    for lfn in &others {
        site.until_state(lfn, State::Confirmed).await;
    }
    // nor one that comes while they are being read
    let late = site.deliver("late.fits.fz", contents.iter().find(|content| *content != the_sample).unwrap());
    site.until_state(&late, State::Confirmed).await;
    assert_eq!(site.row(&first).await.unwrap().state, State::Replicated);
    site.rucio.faults().stall_downloads(false);
    site.until_state(&first, State::Confirmed).await;
    daemon.stop().await;
}

/// Both are looked at together, and the first to be read is the one that cannot be.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_copies_may_not_be_read_keeps_no_other_of_the_sample_from_being_read() {
    let site = Site::new(&DRY_RUN.replace("hold: 200ms", "hold: 1h, read_back: 0")).await;
    let daemon = site.start();
    let names = ["a.fits.fz", "b.fits.fz"];
    let lfns = names.map(|name| site.deliver(name, &fixture("CAL")));
    for lfn in &lfns {
        site.until_row(lfn, |row| row.first_look.is_some()).await;
    }
    daemon.stop().await;
    for lfn in &lfns {
        site.age(lfn, Duration::from_secs(1)).await;
    }
    site.rucio.faults().refuse_download(names[0]);
    // who is put off is not looked at again in the time of this test
    let once = |text: String| {
        text.replace(
            "hold: 1h, read_back: 0, poll: 50ms, poll_max: 200ms",
            "hold: 200ms, read_back: 1, poll: 1h, poll_max: 1h",
        )
    };
    let daemon = InProcess::start(site.config_with(once));
    site.until_state(&lfns[1], State::Confirmed).await;
    let told = "cannot be read back";
    let row = site.until_row(&lfns[0], |row| row.waits_for.as_ref().is_some_and(|why| why.contains(told))).await;
    assert_eq!(row.state, State::Replicated);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_copy_that_no_storage_is_asked_about_is_found_by_reading_it_back() {
    let site = Site::new(&DRY_RUN.replace("hold: 200ms", "hold: 2s, read_back: 1")).await;
    let silent = |text: String| text.replace("expression: OFFSITE", "expression: OFFSITE\n  storage_check: off");
    let daemon = InProcess::start(site.config_with(silent));
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    site.until_row(&lfn, |row| row.first_look.is_some()).await;
    let copy = site.storage(3).join(&lfn[1..]);
    let mut bytes = fs::read(&copy).unwrap();
    bytes[20_000] ^= 1;
    fs::write(&copy, bytes).unwrap();
    let row = site.until_state(&lfn, State::Held).await;
    assert!(row.reason.as_deref().unwrap().contains("read back from STORAGE-"), "{row:?}");
    daemon.stop().await;
}

/// A storage tells crc32c from its cache, by the time stamp, once it was asked; of md5 it has no cache yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_rots_after_the_proof_is_found_by_its_md5_right_before_the_release_if_it_was_computed() {
    for (md5, ends) in [(true, State::Held), (false, State::Released)] {
        let site = Site::new(&format!("{DELETION_ON}verify: {{md5: {md5}}}\n")).await;
        let switch = site.kill_switch();
        fs::write(&switch, "until a copy has rotted").unwrap();
        let daemon = site.start();
        let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
        let row = site.until_state(&lfn, State::Confirmed).await;
        assert_eq!(row.md5.is_some(), md5);
        let copy = site.storage(3).join(&lfn[1..]);
        let written = fs::metadata(&copy).unwrap().modified().unwrap();
        let mut bytes = fs::read(&copy).unwrap();
        bytes[20_000] ^= 1;
        fs::write(&copy, bytes).unwrap();
        fs::File::options().write(true).open(&copy).unwrap().set_modified(written).unwrap();
        fs::remove_file(&switch).unwrap();
        let row = site.until_state(&lfn, ends).await;
        assert_eq!(row.reason.is_some_and(|reason| reason.contains("states md5")), md5);
        assert_eq!(site.path("a.fits.fz").exists(), md5);
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_before_its_first_copy_is_held_and_does_not_wait_for_ever() {
    let site = Site::new(DELETION_ON).await;
    site.rucio.faults().pause(Daemon::Conveyor);
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    site.until_row(&lfn, |row| row.state == State::Registered && !row.trigger_pending).await;
    daemon.stop().await;
    fs::write(site.path("a.fits.fz"), fixture("MUON")).unwrap();
    site.age(&lfn, Duration::from_mins(6)).await;
    let daemon = site.start();
    let row = site.until_state(&lfn, State::Held).await;
    assert_eq!(row.reason_code.as_deref(), Some("changed"));
    assert!(site.path("a.fits.fz").exists());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_that_cannot_be_registered_keeps_no_other_from_its_road() {
    let site = Site::new(DRY_RUN).await;
    // a scope that the account does not have
    let stray = "ctao/nobody/dl0/LST/a.fits.fz";
    fs::create_dir_all(site.data().join(stray).parent().unwrap()).unwrap();
    fs::write(site.data().join(stray), fixture("SUBARRAY")).unwrap();
    std::os::unix::fs::symlink("a.fits.fz", site.data().join(format!("{stray}.trigger"))).unwrap();
    let lfns: Vec<String> = (0..5).map(|n| site.deliver(&format!("{n}.fits.fz"), &fixture("SUBARRAY"))).collect();
    let daemon = site.start();
    for lfn in &lfns {
        site.until_state(lfn, State::Confirmed).await;
    }
    let row = site.until_row(&format!("/{stray}"), |row| row.waits_for.is_some()).await;
    assert_eq!(row.state, State::Verified);
    assert!(row.waits_for.unwrap().contains("nobody"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_stopped_and_started_takes_up_where_it_was() {
    let site = Site::new(DELETION_ON).await;
    let content = fixture("SUBARRAY");
    let names: Vec<String> = (0..12).map(|n| format!("{n}.fits.fz")).collect();
    let mut started = site.start();
    for name in &names {
        site.deliver(name, &content);
        tokio::time::sleep(Duration::from_millis(30)).await;
        started.stop().await;
        started = site.start();
    }
    for name in &names {
        site.until_state(&lfn(name), State::Released).await;
        assert!(!site.has_trigger(name) && !site.path(name).exists());
    }
    started.stop().await;
}
