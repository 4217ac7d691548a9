//! The daemon stands still, its clock is set, its configuration changes, its ledger is lost, and it is delivered to in
//! storms.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::e2e::acada::pull_trigger;
use crate::e2e::outcome::wait_for_state;
use crate::e2e::shift::Shift;
use crate::testkit::clock::Clock;
use crate::testkit::number;

/// Tokens, connections and claims grow old meanwhile. `DL0_INGEST_PAUSE_SECONDS` says for how long.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_suspended_in_the_middle_of_the_road_goes_on_where_it_was() {
    let shift = Shift::begin().await;
    shift.deliver_some(3, Duration::from_secs(2)).await;
    shift.daemon.signal(Signal::STOP);
    shift.deliver();
    tokio::time::sleep(Duration::from_secs(number("DL0_INGEST_PAUSE_SECONDS", 15))).await;
    shift.daemon.signal(Signal::CONT);
    shift.deliver();
    shift.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_forward_and_back_disturbs_nothing_on_the_real_stack() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::new(directory.path(), false);
    let environment = clock.environment(&[]).into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    let mut shift = Shift::with_environment(environment.collect()).await;
    shift.deliver_some(2, Duration::from_secs(1)).await;
    // no token and no certificate ends by that
    clock.set("+30m");
    shift.until("it is noticed", |shift| shift.daemon.log().contains("clock was set forward by")).await;
    shift.deliver_some(2, Duration::from_secs(1)).await;
    clock.set("+5m");
    shift.until("it is noticed", |shift| shift.daemon.log().contains("clock was set back by")).await;
    shift.deliver();
    shift.end().await;
}

/// Good ones, dry runs, refused ones; and a second daemon is started on the same ledger now and then.
#[tokio::test(flavor = "multi_thread")]
async fn reloads_and_second_daemons_in_the_middle_of_a_night_disturb_nothing() {
    let shift = Shift::begin().await;
    for number in 0..12 {
        shift.deliver();
        shift.daemon.reload(|text| match number % 3 {
            0 => text.replace("deletion: on", "deletion: dry-run"),
            1 => text.replace("deletion: dry-run", "deletion: on"),
            _ => format!("{text}releases: {{deletion: on}}\n"),
        });
        tokio::time::sleep(Duration::from_millis(700)).await;
        shift.daemon.configure(|text| text.replace("releases: {deletion: on}\n", ""));
        if number % 4 == 0 {
            let second = tokio::task::block_in_place(|| shift.daemon.command(&["run"]));
            let said = String::from_utf8([second.stdout, second.stderr].concat()).unwrap();
            assert!(second.status.code() == Some(3) && said.contains("is in use by another dl0-ingest"), "{said}");
        }
    }
    shift.daemon.reload(|text| text.replace("deletion: dry-run", "deletion: on"));
    let log = shift.end().await;
    assert!(log.contains("the new configuration is refused, the old one stays in force"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_matches_one_data_centre_of_the_real_stack_is_not_started_with() {
    let mut shift = Shift::begin().await;
    let one = shift.stack.offsite().next().unwrap().0.to_owned();
    let narrow = |text: String| text.replace("expression: OFFSITE", &format!("expression: {one}"));
    shift.daemon.reload(narrow);
    let said = "also changes settings that need a restart";
    shift.until("it is not taken over", |shift| shift.daemon.log().contains(said)).await;
    shift.deliver();
    shift.until_all("released").await;
    shift.daemon.stop();
    shift.deliver();
    shift.daemon.spawn(&[]);
    let end = shift.ended_before(|_| false).await;
    assert_eq!(end.and_then(|status| status.code()), Some(3), "{}", shift.daemon.last_words());
    assert!(shift.daemon.log().contains(&format!("'{one}' matches 1 site(s) besides the on-site RSE")));
    shift.daemon.configure(|text| text.replace(&format!("expression: {one}"), "expression: OFFSITE"));
    shift.daemon.run();
    shift.end().await;
}

/// All at once; `DL0_INGEST_REAL_STORM` says how many.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_triggers_on_the_real_stack_ends_with_every_file_released() {
    let shift = Shift::begin().await;
    for _ in 0..number("DL0_INGEST_REAL_STORM", 60) {
        tokio::task::block_in_place(|| shift.deliver());
    }
    shift.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_second_deliveries_on_the_real_stack_is_compared_and_changes_nothing() {
    let mut shift = Shift::begin().await;
    let switch = shift.daemon.kill_switch();
    fs::write(&switch, "until the storm is over").unwrap();
    shift.deliver_some(20, Duration::ZERO).await;
    shift.until_all("confirmed").await;
    let triggers = |shift: &Shift| {
        let there = shift.delivered().into_iter().map(|file| crate::e2e::acada::trigger_of(&file.path));
        there.filter(|trigger| trigger.is_symlink()).count()
    };
    shift.until("the first triggers are gone", |shift| triggers(shift) == 0).await;
    for _ in 0..3 {
        for file in shift.delivered() {
            pull_trigger(&file.path);
        }
        shift.until("the triggers are gone", |shift| triggers(shift) == 0).await;
    }
    fs::remove_file(&switch).unwrap();
    let log = shift.end().await;
    assert!(log.matches("delivered again with identical content").count() >= 20);
}

/// Files on all parts of the road, then the ledger is gone: custody is restored from Rucio and the disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_lost_in_the_middle_of_a_night_is_rebuilt_from_the_real_rucio() {
    let mut shift = Shift::begin().await;
    shift.clear_the_site().await;
    let switch = shift.daemon.kill_switch();
    fs::write(&switch, "until the ledger is lost").unwrap();
    shift.deliver_some(2, Duration::ZERO).await;
    shift.until_all("confirmed").await;
    let stack = shift.stack.clone();
    let submitter = tokio::task::block_in_place(|| stack.without("conveyor-submitter"));
    let registered = shift.deliver();
    wait_for_state(&shift.daemon, &registered.lfn, "registered").await;
    let outage = tokio::task::block_in_place(|| stack.without("rucio"));
    let verified = shift.deliver();
    wait_for_state(&shift.daemon, &verified.lfn, "verified").await;
    shift.daemon.kill();
    for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        drop(fs::remove_file(shift.daemon.state_dir().join(file)));
    }
    tokio::task::block_in_place(|| drop((submitter, outage)));
    let said = shift.operate(&["rebuild", "--json"]);
    for file in shift.delivered() {
        // the one that was not registered has its trigger still
        assert_eq!(said.contains(&file.lfn), file.lfn != verified.lfn, "{said}");
    }
    shift.daemon.run();
    fs::remove_file(&switch).unwrap();
    shift.until_all("confirmed").await;
    shift.operate(&["release-hold", "--all", "--reason", "custody was restored"]);
    shift.deliver();
    shift.end().await;
}

/// Disk, ledger and the real Rucio held against each other, when each has been tampered with.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_on_the_real_stack_names_what_was_tampered_with_and_nothing_else() {
    let mut shift = Shift::begin().await;
    fs::write(shift.daemon.kill_switch(), "until the audit").unwrap();
    shift.deliver_some(4, Duration::ZERO).await;
    shift.until_all("confirmed").await;
    shift.daemon.stop();
    assert_eq!(shift.findings(), []);
    let files = shift.delivered();
    let aside = shift.stack.onsite().1.directory.join("aside");
    fs::rename(&files[0].path, &aside).unwrap();
    let grown = [fs::read(&files[1].path).unwrap(), vec![0; 2880]].concat();
    fs::write(&files[1].path, grown).unwrap();
    let dark = shift.directory().join("TEL001_DARK.fits.fz");
    fs::copy(&files[2].path, &dark).unwrap();
    pull_trigger(&files[3].path);
    let expected = [
        ("dark", shift.stack.lfn(&dark)),
        ("forgotten-trigger", files[3].lfn.clone()),
        ("missing", files[0].lfn.clone()),
        ("wrong-size", files[1].lfn.clone()),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(code, file)| (code.to_owned(), file)).collect();
    assert_eq!(shift.findings(), expected);
    // what is put right is not named any more
    fs::rename(&aside, &files[0].path).unwrap();
    fs::remove_file(&dark).unwrap();
    fs::remove_file(crate::e2e::acada::trigger_of(&files[3].path)).unwrap();
    assert_eq!(shift.findings(), [("wrong-size".to_owned(), files[1].lfn.clone())]);
    shift.end_with_some_on_site().await;
}

/// Two rules are left of a night, and each file's own have ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_dataset_of_the_real_stack_is_settled_to_two_rules() {
    let shift = Shift::with_configuration(|text| format!("{text}settle: {{after: 5s}}\n")).await;
    shift.deliver_some(4, Duration::from_millis(500)).await;
    shift.end_settled().await;
}
