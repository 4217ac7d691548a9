//! The ledger is lost, and custody goes on.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use dl0_ingest::custody::State;
use dl0_ingest::custody::brakes::Target;
use dl0_ingest::ledger::{Ledger, Operator};
use dl0_ingest::names::Did;
use dl0_ingest::reconcile::{self, Error, Rebuilt};
use rucio_miniature::{Daemon, Event, ReplicaState};

use crate::road::ended_rules::Somebody;
use crate::road::reconcile::{lose_ledger, register_by_hand, sources};
use crate::road::{DELETION_ON, DRY_RUN};
use crate::testkit::fixture;
use crate::testkit::site::{Site, lfn};

const SLOW: &str = "release: {deletion: on, poll: 50ms, poll_max: 200ms, max_files_per_hour: 5}\n\
                    confirm: {hold: 200ms, poll: 50ms, poll_max: 200ms}\n";

fn operator() -> Operator {
    Operator { who: "ada".to_owned(), reason: "the ledger was lost".to_owned() }
}

/// Runs a rebuild and returns (file, state or code).
async fn rebuild(site: &Site) -> Result<BTreeSet<(String, String)>, Error> {
    let ledger = Ledger::open(&site.ledger_file()).await.unwrap();
    let sources = sources(site, Some(ledger.clone()));
    let mut told = BTreeSet::new();
    let done = reconcile::rebuild(&sources, &operator(), |step| match step {
        Rebuilt::Custody { lfn, state, .. } => drop(told.insert((lfn, state.to_string()))),
        Rebuilt::Left { lfn, code, .. } => drop(told.insert((lfn, code.to_owned()))),
        Rebuilt::Directories(_) | Rebuilt::Directory => {}
    })
    .await;
    ledger.close().await;
    done.map(|()| told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_whose_ledger_is_lost_ends_with_two_copies_of_every_file_and_no_rule_twice() {
    let site = Site::new(SLOW).await;
    let content = fixture("SUBARRAY");
    let daemon = site.start();
    // five are released, the others stay confirmed
    let mut names: Vec<String> = (0..8).map(|n| format!("early{n}.fits.fz")).collect();
    for name in &names {
        site.deliver(name, &content);
    }
    let mut released = BTreeSet::new();
    while released.len() < 5 {
        for name in &names {
            if site.row(&lfn(name)).await.is_some_and(|row| row.state == State::Released) {
                released.insert(lfn(name));
            }
        }
    }
    let bad = site.deliver("bad.fits.fz", b"no FITS file");
    site.until_state(&bad, State::Rejected).await;
    // these get no copies yet, and the last ones are not even registered
    site.rucio.faults().pause(Daemon::Conveyor);
    for n in 0..4 {
        names.push(format!("middle{n}.fits.fz"));
        site.deliver(&names[names.len() - 1], &content);
    }
    for n in 0..4 {
        site.until_row(&lfn(&format!("middle{n}.fits.fz")), |row| row.state == State::Registered).await;
    }
    daemon.stop().await;
    for n in 0..4 {
        names.push(format!("late{n}.fits.fz"));
        site.deliver(&names[names.len() - 1], &content);
    }
    lose_ledger(&site);
    let told = rebuild(&site).await.unwrap();
    assert_eq!(told.len(), 3 + 4 + 1, "{told:#?}");
    assert!(told.contains(&(bad.clone(), "rejected".to_owned())));
    assert!(
        told.iter().all(|(_, state)| ["registered", "replicated", "rejected"].contains(&state.as_str())),
        "{told:#?}"
    );
    assert!(told.iter().any(|(_, state)| state == "replicated"), "{told:#?}");
    // an interrupted one can be run again
    assert_eq!(rebuild(&site).await.unwrap(), BTreeSet::new());
    site.rucio.faults().resume(Daemon::Conveyor);
    let daemon = site.start_unlimited();
    let on_site: Vec<String> = names.iter().map(|name| lfn(name)).filter(|lfn| !released.contains(lfn)).collect();
    for lfn in &on_site {
        site.until_row(lfn, |row| row.waits_for.as_ref().is_some_and(|why| why.contains("release-hold"))).await;
    }
    let ledger = site.operator().await;
    assert!(ledger.lift_hold(&Target::All, &operator()).await.unwrap());
    for lfn in &on_site {
        let row = site.until_state(lfn, State::Released).await;
        assert_eq!(row.attempts, 0);
    }
    let client = sources(&site, None).rucio;
    for lfn in names.iter().map(|name| lfn(name)) {
        let did = Did::new("acada", &lfn);
        let replicas = site.rucio.replicas(&did);
        let there: Vec<&str> = replicas.keys().map(String::as_str).collect();
        assert_eq!(there, ["STORAGE-2", "STORAGE-3"], "{lfn}");
        for number in [2, 3] {
            assert_eq!(fs::read(site.storage(number).join(&lfn[1..])).unwrap(), content);
        }
        // the further-copies rule and nothing else: the on-site rule is gone
        assert_eq!(client.did_rules(&did).await.unwrap().len(), 1, "{lfn}");
    }
    let dataset = Did::new("acada", format!("/{}", crate::testkit::site::DAY));
    assert_eq!(client.did_rules(&dataset).await.unwrap().len(), 1);
    assert!(ledger.breaker().await.unwrap().is_none());
    daemon.stop().await;
    assert!(matches!(rebuild(&site).await, Err(Error::NotEmpty { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_contradicts_itself_is_held_and_what_goes_is_left_to_go() {
    let site = Site::new("confirm: {hold: 1h}\n").await;
    let daemon = site.start();
    let names = ["sound", "gone", "cut", "other", "departing"];
    for name in names {
        site.deliver(name, &fixture("SUBARRAY"));
    }
    let mut rules = Vec::new();
    for name in names {
        let row = site.until_row(&lfn(name), |row| row.first_look.is_some() && !row.trigger_pending).await;
        rules.push((name, row.on_site_rule.unwrap()));
    }
    daemon.stop().await;
    fs::remove_file(site.path("gone")).unwrap();
    fs::write(site.path("cut"), "cut").unwrap();
    let mut content = fixture("SUBARRAY");
    content[10_000] ^= 1;
    fs::write(site.path("other"), content).unwrap();
    fs::write(site.path("dark"), "dark").unwrap();
    for daemon in [Daemon::Judge, Daemon::Reaper] {
        site.rucio.faults().pause(daemon);
    }
    let client = sources(&site, None).rucio;
    let rule = |name| rules.iter().find(|(of, _)| *of == name).map(|(_, rule)| rule.clone()).unwrap();
    client.end_rule(&rule("departing"), || true).await.unwrap();
    lose_ledger(&site);
    let told = rebuild(&site).await.unwrap();
    let told: BTreeSet<(&str, &str)> =
        told.iter().map(|(lfn, what)| (lfn.rsplit('/').next().unwrap(), what.as_str())).collect();
    let expected = [
        ("cut", "held"),
        ("dark", "dark"),
        ("departing", "departing"),
        ("gone", "held"),
        ("other", "held"),
        ("sound", "replicated"),
    ];
    assert_eq!(told, expected.into());
    assert_eq!(site.row(&lfn("other")).await.unwrap().reason_code.as_deref(), Some("other-content"));
    assert_eq!(site.row(&lfn("gone")).await.unwrap().reason_code.as_deref(), Some("vanished"));
    assert!(site.row(&lfn("departing")).await.is_none());
    let row = site.row(&lfn("sound")).await.unwrap();
    assert_eq!(row.on_site_rule, Some(rule("sound")));
    assert!(row.blake3.is_some() && row.metadata.is_some() && row.first_look.is_none());
}

/// What the lost ledger had decided, only it knew: the copies must be there, or somebody must save the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_gave_up_before_it_had_its_copies_is_taken_back_or_named() {
    let site = Site::new(DRY_RUN).await;
    site.rucio.faults().pause(Daemon::Conveyor);
    let daemon = site.start();
    let mut rules = Vec::new();
    for name in ["given up", "removed"].map(|name| name.replace(' ', "-")) {
        let row = site.deliver(&name, &fixture("SUBARRAY"));
        let row = site.until_row(&row, |row| row.state == State::Registered && !row.trigger_pending).await;
        rules.push(row.on_site_rule.unwrap());
    }
    daemon.stop().await;
    for daemon in [Daemon::Judge, Daemon::Reaper] {
        site.rucio.faults().pause(daemon);
    }
    let somebody = Somebody::at(&site).await;
    somebody.limits(&rules[0], 0, true).await;
    somebody.limits(&rules[1], 0, false).await;
    lose_ledger(&site);
    let expected = [("given-up", "endangered"), ("removed", "registered")];
    assert_eq!(rebuild(&site).await.unwrap(), expected.map(|(name, what)| (lfn(name), what.to_owned())).into());
    // the daemon sees to it that the rule stands
    let daemon = site.start();
    let client = sources(&site, None).rucio;
    let begun = std::time::Instant::now();
    while client.rule(&rules[1]).await.unwrap().expires_at.is_some() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_no_rule_protects_any_more_is_protected_again_before_anything_else_or_told() {
    let site = Site::new(DRY_RUN).await;
    let daemon = site.start();
    let bare = site.deliver("bare", &fixture("SUBARRAY"));
    let before = site.until_row(&bare, |row| row.state == State::Confirmed && !row.trigger_pending).await;
    daemon.stop().await;
    let client = sources(&site, None).rucio;
    // nothing that a daemon would accept today
    fs::write(site.path("unsound"), "no FITS file").unwrap();
    register_by_hand(&client, "unsound", b"no FITS file").await;
    site.rucio.faults().pause(Daemon::Reaper);
    let old = before.on_site_rule.unwrap();
    client.end_rule(&old, || true).await.unwrap();
    let removed = |event: &Event| matches!(event, Event::RuleRemoved { id, .. } if *id == old);
    site.rucio.until(|history| history.iter().any(|entry| removed(&entry.event))).await;
    lose_ledger(&site);
    let unsound = lfn("unsound");
    let expected = [(bare.clone(), "verified".to_owned()), (unsound.clone(), "held".to_owned())];
    assert_eq!(rebuild(&site).await.unwrap(), expected.into());
    let row = site.row(&bare).await.unwrap();
    assert!(row.on_site_rule.is_none() && row.first_look.is_none(), "{row:#?}");
    let row = site.row(&unsound).await.unwrap();
    assert_eq!(row.reason_code.as_deref(), Some("unprotected"));
    assert!(row.reason.unwrap().contains("no rule of ours protects it, and it would be rejected today"));
    let daemon = site.start();
    // whatever state it is seen in next, a rule without an end stands
    let row = site.until_row(&bare, |row| row.state != State::Verified).await;
    let rule = client.rule(row.on_site_rule.as_ref().unwrap()).await.unwrap();
    assert!(rule.id != old && rule.expires_at.is_none() && rule.rse_expression == "STORAGE-1", "{rule:#?}");
    site.rucio.faults().resume(Daemon::Reaper);
    site.until_state(&bare, State::Confirmed).await;
    assert!(site.path("bare").exists() && site.path("unsound").exists());
    let replicas = site.rucio.replicas(&Did::new("acada", &bare));
    assert_eq!(replicas.get("STORAGE-1"), Some(&ReplicaState::Available));
    assert_eq!(site.row(&unsound).await.unwrap().state, State::Held);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_keeps_a_rebuild_out() {
    let site = Site::new(DELETION_ON).await;
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    site.until_row(&lfn, |_| true).await;
    let opened = Ledger::open(&site.ledger_file()).await;
    assert!(matches!(opened, Err(dl0_ingest::ledger::Error::InUse { .. })));
    daemon.stop().await;
    tokio::time::timeout(Duration::from_secs(20), async {
        assert!(matches!(rebuild(&site).await, Err(Error::NotEmpty { .. })));
    })
    .await
    .unwrap();
}

/// `rucio rule remove` gives a rule an hour.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_rule_somebody_gave_an_end_is_in_custody_again_and_keeps_its_rule() {
    let site = Site::new(DRY_RUN).await;
    site.rucio.faults().pause(Daemon::Conveyor);
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    let row = site.until_row(&lfn, |row| row.state == State::Registered && !row.trigger_pending).await;
    daemon.stop().await;
    let rule = row.on_site_rule.unwrap();
    site.rucio.delete_rule(&rule);
    lose_ledger(&site);
    assert_eq!(rebuild(&site).await.unwrap(), [(lfn.clone(), "registered".to_owned())].into());
    assert_eq!(site.row(&lfn).await.unwrap().on_site_rule, Some(rule.clone()));
    site.rucio.faults().resume(Daemon::Conveyor);
    let daemon = site.start();
    site.until_state(&lfn, State::Confirmed).await;
    let client = sources(&site, None).rucio;
    assert_eq!(client.rule(&rule).await.unwrap().expires_at, None);
    assert!(site.path("a.fits.fz").exists());
    daemon.stop().await;
}
