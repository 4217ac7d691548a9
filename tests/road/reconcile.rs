//! `audit` on whole sites: every finding by really making the damage, and none where there is none.

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes};
use std::sync::Arc;
use std::time::Duration;

use dl0_ingest::custody::{FileIdentity, State};
use dl0_ingest::daemon;
use dl0_ingest::datadir::DataDir;
use dl0_ingest::ledger::{Delivery, Ledger};
use dl0_ingest::names::{Did, Lfn};
use dl0_ingest::reconcile::{self, Code, Finding, Options, Progress, Repair, Repaired, Sources};
use dl0_ingest::telemetry::Metrics;
use rucio_client::{Attachment, Child, Client};
use rucio_miniature::{Answer, Daemon, Endpoint};
use sqlx::Connection as _;

use crate::road::{DELETION_ON, DRY_RUN};
use crate::testkit::fixture;
use crate::testkit::in_process::InProcess;
use crate::testkit::site::{DAY, Site, lfn};

/// Everything counts at once, and the second look comes soon: nothing moves in these tests.
const AT_ONCE: Options =
    Options { min_age: Duration::ZERO, settle: Duration::from_millis(50), read: false, copies: true };

pub(crate) fn sources(site: &Site, ledger: Option<Ledger>) -> Sources {
    let config = Arc::new(site.config());
    let (rucio, _) = daemon::clients(&config, &Arc::new(Metrics::new())).unwrap();
    let data = DataDir::new(&config.data_path, &config.vo);
    Sources { config, ledger, data, rucio }
}

async fn audit(sources: &Sources, options: Options) -> Vec<Finding> {
    let mut found = Vec::new();
    let audited = reconcile::audit(sources, options, |progress| {
        if let Progress::Found(finding) = progress {
            found.push(finding);
        }
    });
    assert_eq!(audited.await.unwrap().findings, found.len() as u64);
    found
}

/// The codes found, each with the last part of the file's name.
fn codes(found: &[Finding]) -> BTreeSet<(Code, &str)> {
    found.iter().map(|finding| (finding.code, finding.file.rsplit('/').next().unwrap())).collect()
}

/// A site with files that are confirmed and stay on site, and no daemon.
async fn settled(names: &[&str]) -> (Site, Sources) {
    at_rest(DRY_RUN, names, State::Confirmed).await
}

async fn at_rest(settings: &str, names: &[&str], state: State) -> (Site, Sources) {
    let site = Site::new(settings).await;
    let daemon = site.start();
    for name in names {
        site.deliver(name, &fixture("SUBARRAY"));
    }
    for name in names {
        site.until_row(&lfn(name), |row| row.state == state && !row.trigger_pending).await;
    }
    daemon.stop().await;
    let sources = sources(&site, Some(site.operator().await));
    (site, sources)
}

/// Somebody registers a file on site, with a replica there and no rule.
pub(crate) async fn register_by_hand(rucio: &Client, name: &str, content: &[u8]) {
    let mut sum = simd_adler32::Adler32::new();
    sum.write(content);
    let adler32 = Some(sum.finish().into());
    let (did, bytes) = (Did::new("acada", lfn(name)), Some(content.len() as u64));
    let children = vec![Child { did, bytes, adler32, meta: serde_json::Map::new() }];
    let parent = Did::new("acada", format!("/{DAY}"));
    rucio.attach(&[Attachment { parent, rse: Some("STORAGE-1".to_owned()), children }]).await.unwrap();
}

pub(crate) fn lose_ledger(site: &Site) {
    for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        let _ = fs::remove_file(site.state().join(file));
    }
}

pub(crate) async fn change_ledger(site: &Site, statement: &'static str) {
    let url = format!("sqlite://{}", site.ledger_file().display());
    let mut ledger = sqlx::SqliteConnection::connect(&url).await.unwrap();
    assert_eq!(sqlx::query(statement).execute(&mut ledger).await.unwrap().rows_affected(), 1);
    ledger.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_files_are_on_their_road_nothing_is_found() {
    let site = Site::new(DELETION_ON).await;
    let daemon = site.start();
    let lfns: Vec<String> = (0..20).map(|n| site.deliver(&format!("{n}.fits.fz"), &fixture("SUBARRAY"))).collect();
    let bad = site.deliver("bad.fits.fz", b"no FITS file");
    site.until_row(&lfns[0], |_| true).await;
    let sources = sources(&site, Some(site.operator().await));
    let options =
        Options { min_age: Duration::from_secs(30), settle: Duration::from_millis(500), read: true, copies: true };
    let mut on_the_road = true;
    while on_the_road {
        on_the_road = false;
        for lfn in &lfns {
            on_the_road |= site.row(lfn).await.is_none_or(|row| row.state != State::Released);
        }
        assert_eq!(audit(&sources, options).await, []);
    }
    site.until_state(&bad, State::Rejected).await;
    daemon.stop().await;
    assert_eq!(audit(&sources, Options { read: true, ..AT_ONCE }).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_on_disk_is_named() {
    let names = ["sound", "gone", "cut", "swapped", "rotten", "trigger"];
    let (site, sources) = settled(&names).await;
    assert_eq!(audit(&sources, Options { read: true, ..AT_ONCE }).await, []);
    fs::write(site.path("dark.fits.fz"), fixture("MUON")).unwrap();
    fs::write(site.path("no name!"), "x").unwrap();
    fs::remove_file(site.path("gone")).unwrap();
    fs::write(site.path("cut"), "cut").unwrap();
    let content = fs::read(site.path("swapped")).unwrap();
    fs::write(site.path("swapped"), content).unwrap();
    site.pull_trigger("trigger");
    let aside = site.data().join("ctao/acada/invalid/dl0");
    fs::create_dir_all(&aside).unwrap();
    fs::write(aside.join("stray"), "x").unwrap();
    // rot: other bytes, and nothing else changes
    let rotten = site.path("rotten");
    let written = rotten.metadata().unwrap().modified().unwrap();
    let mut bytes = fs::read(&rotten).unwrap();
    bytes[10_000] ^= 1;
    fs::write(&rotten, bytes).unwrap();
    File::options().write(true).open(&rotten).unwrap().set_times(FileTimes::new().set_modified(written)).unwrap();
    let found = audit(&sources, Options { read: true, ..AT_ONCE }).await;
    let expected = [
        (Code::Dark, "dark.fits.fz"),
        (Code::Dark, "no name!"),
        (Code::Missing, "gone"),
        (Code::WrongSize, "cut"),
        (Code::WrongContent, "rotten"),
        (Code::Changed, "swapped"),
        (Code::ForgottenTrigger, "trigger"),
        (Code::LeftoverInInvalid, "stray"),
    ];
    assert_eq!(codes(&found), expected.into(), "{found:#?}");
    // what is young may be on its road
    let young = Options { min_age: Duration::from_hours(1), ..AT_ONCE };
    let found = audit(&sources, young).await;
    assert!(codes(&found).iter().all(|(code, _)| !matches!(code, Code::Dark | Code::ForgottenTrigger)), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_rucio_or_in_the_ledger_is_named() {
    let names = ["sound", "lost", "ended", "checksum", "released"];
    let (site, sources) = settled(&names).await;
    site.rucio.lose_copy(&Did::new("acada", lfn("lost")), "STORAGE-1").unwrap();
    for daemon in [Daemon::Judge, Daemon::Reaper] {
        site.rucio.faults().pause(daemon);
    }
    let ended = site.row(&lfn("ended")).await.unwrap();
    sources.rucio.end_rule(&ended.on_site_rule.unwrap(), || true).await.unwrap();
    change_ledger(&site, "UPDATE files SET adler32 = '00000001' WHERE lfn LIKE '%/checksum'").await;
    change_ledger(&site, "UPDATE files SET state = 'released' WHERE lfn LIKE '%/released'").await;
    let unannounced = Lfn::try_from(lfn("unannounced").as_str()).unwrap();
    fs::write(site.path("unannounced"), "x").unwrap();
    let identity = FileIdentity { bytes: 1, mtime_ns: 0, inode: 1 };
    let ledger = sources.ledger.as_ref().unwrap();
    ledger.deliver(&[Delivery { lfn: unannounced, identity, seen_at: 0 }]).await.unwrap();
    for (name, content) in [("orphan", "o"), ("nowhere", "no")] {
        register_by_hand(&sources.rucio, name, content.as_bytes()).await;
    }
    fs::write(site.path("orphan"), "x").unwrap();
    let found = audit(&sources, AT_ONCE).await;
    let expected = [
        (Code::Missing, "lost"),
        (Code::Missing, "nowhere"),
        (Code::Orphan, "orphan"),
        (Code::Orphan, "released"),
        (Code::Unregistered, "lost"),
        (Code::Unprotected, "ended"),
        (Code::WrongChecksum, "checksum"),
        (Code::Unannounced, "unannounced"),
        (Code::LeftOnSite, "released"),
    ];
    assert_eq!(codes(&found), expected.into(), "{found:#?}");
    let orphan = found.iter().find(|finding| finding.file.ends_with("orphan")).unwrap();
    // its adler32 is not the one in the catalogue, which only reading it tells
    assert_eq!(orphan.repair, Some(Repair::Restore));
    assert!(matches!(reconcile::repair(&sources, AT_ONCE, orphan).await.unwrap(), Repaired::Not(_)));
    assert!(ledger.by_lfn(&orphan.file).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_on_site_that_rucio_has_in_another_state_is_named() {
    let (site, sources) = settled(&["sound", "condemned"]).await;
    site.rucio.faults().pause(Daemon::Reaper);
    site.rucio.condemn(&Did::new("acada", lfn("condemned")), "STORAGE-1");
    let found = audit(&sources, AT_ONCE).await;
    assert_eq!(codes(&found), [(Code::ReplicaState, "condemned")].into(), "{found:#?}");
    assert!(found[0].message.contains("BeingDeleted"), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_released_is_held_against_its_evidence_and_the_copies_that_are_left() {
    let names = ["sound", "unproven", "half-proven", "one-left", "none-left"];
    let (site, sources) = at_rest(DELETION_ON, &names, State::Released).await;
    let listings = || site.rucio.requests().get(&Endpoint::Replicas).copied().unwrap_or(0);
    let before = listings();
    assert_eq!(audit(&sources, AT_ONCE).await, []);
    assert_eq!(listings() - before, 1, "one question for the whole dataset");
    change_ledger(&site, "UPDATE files SET last_evidence = NULL WHERE lfn LIKE '%/unproven'").await;
    change_ledger(
        &site,
        "UPDATE files SET last_evidence = json_remove(last_evidence, '$.evidence.copies[1]') WHERE lfn LIKE '%/half-proven'",
    )
    .await;
    for daemon in [Daemon::Judge, Daemon::Conveyor] {
        site.rucio.faults().pause(daemon);
    }
    for (name, rse) in [("one-left", "STORAGE-2"), ("none-left", "STORAGE-2"), ("none-left", "STORAGE-3")] {
        site.rucio.lose_copy(&Did::new("acada", lfn(name)), rse).unwrap();
    }
    let on_record = BTreeSet::from([(Code::BrokenInvariant, "unproven"), (Code::TooFewCopies, "half-proven")]);
    let found = audit(&sources, Options { copies: false, ..AT_ONCE }).await;
    assert_eq!(codes(&found), on_record, "{found:#?}");
    let found = audit(&sources, AT_ONCE).await;
    let lost = BTreeSet::from([(Code::TooFewCopies, "one-left"), (Code::TooFewCopies, "none-left")]);
    assert_eq!(codes(&found), &on_record | &lost, "{found:#?}");
    for finding in &found {
        let expected = if finding.code == Code::TooFewCopies { "I2" } else { "I5" };
        assert_eq!((finding.invariant, finding.state, finding.repair), (Some(expected), Some(State::Released), None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_that_is_what_rucio_says_is_taken_into_custody_and_goes_its_whole_road() {
    let (site, sources) = settled(&["known"]).await;
    // one was registered by a ledger that is lost, the other by other hands and without a rule
    let contents = [("known", fixture("SUBARRAY")), ("strange", fixture("MUON"))];
    fs::write(site.path("strange"), &contents[1].1).unwrap();
    register_by_hand(&sources.rucio, "strange", &contents[1].1).await;
    sources.ledger.unwrap().close().await;
    lose_ledger(&site);
    // as a daemon leaves it that was started too early
    Ledger::open(&site.ledger_file()).await.unwrap().close().await;
    let sources = self::sources(&site, Some(site.operator().await));
    let found = audit(&sources, AT_ONCE).await;
    assert_eq!(codes(&found), [(Code::Orphan, "known"), (Code::Orphan, "strange")].into(), "{found:#?}");
    for finding in &found {
        assert_eq!(reconcile::repair(&sources, AT_ONCE, finding).await.unwrap(), Repaired::Done, "{finding:?}");
    }
    let states = [State::Replicated, State::Verified];
    for ((name, _), state) in contents.iter().zip(states) {
        assert_eq!(site.row(&lfn(name)).await.unwrap().state, state, "{name}");
    }
    let deletion_on = site.config_with(|text| text + "release: {deletion: on, poll: 50ms, poll_max: 200ms}\n");
    let daemon = InProcess::start(deletion_on);
    for (name, content) in &contents {
        let row = site.until_state(&lfn(name), State::Released).await;
        assert!(row.first_look.is_some() && row.attempts == 0, "{row:#?}");
        assert!(!site.path(name).exists() && !site.has_trigger(name));
        for number in [2, 3] {
            assert_eq!(fs::read(site.storage(number).join(&lfn(name)[1..])).unwrap(), *content, "{name} at {number}");
        }
        // the further-copies rule and nothing else
        let rules = sources.rucio.did_rules(&Did::new("acada", lfn(name))).await.unwrap();
        assert_eq!(rules.len(), 1, "{name}: {rules:#?}");
    }
    daemon.stop().await;
    assert_eq!(audit(&sources, AT_ONCE).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_proven_is_mended_and_nothing_else() {
    let (site, sources) = settled(&["a", "b"]).await;
    site.pull_trigger("a");
    fs::write(site.path("dark.fits.fz"), fixture("MUON")).unwrap();
    fs::write(site.path("bad.fits.fz"), "no FITS file").unwrap();
    let found = audit(&sources, AT_ONCE).await;
    assert_eq!(found.len(), 3);
    for finding in &found {
        let repaired = reconcile::repair(&sources, AT_ONCE, finding).await.unwrap();
        assert_eq!(repaired == Repaired::Done, !finding.file.ends_with("bad.fits.fz"), "{finding:?}: {repaired:?}");
        // a second time there is nothing to do
        assert_ne!(reconcile::repair(&sources, AT_ONCE, finding).await.unwrap(), Repaired::Done);
    }
    assert!(!site.has_trigger("a") && site.path("a").exists());
    assert!(site.has_trigger("dark.fits.fz") && !site.has_trigger("bad.fits.fz"));
    // a trigger of another file under the name is a delivery, and no business of ours
    fs::write(site.path("b"), "other content").unwrap();
    site.pull_trigger("b");
    assert!(audit(&sources, AT_ONCE).await.iter().all(|finding| finding.repair != Some(Repair::RemoveTrigger)));
    fs::remove_file(site.path("b.trigger")).unwrap();
    fs::remove_file(site.path("bad.fits.fz")).unwrap();
    let daemon = site.start();
    site.until_state(&lfn("dark.fits.fz"), State::Confirmed).await;
    daemon.stop().await;
}

/// A repair asks Rucio in between, and ACADA does not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_is_made_anew_while_a_forgotten_one_is_about_to_be_removed_stays() {
    let (site, sources) = at_rest(DELETION_ON, &["a"], State::Released).await;
    site.pull_trigger("a");
    let found = audit(&sources, AT_ONCE).await;
    assert_eq!(codes(&found), [(Code::ForgottenTrigger, "a")].into(), "{found:#?}");
    site.rucio.faults().answer(Endpoint::Replicas, 1, &Answer::Delay(Duration::from_millis(500)));
    let repair = tokio::spawn(async move { reconcile::repair(&sources, AT_ONCE, &found[0]).await.unwrap() });
    let begun = std::time::Instant::now();
    while !site.rucio.faults().spoilt().contains_key(&Endpoint::Replicas) {
        assert!(begun.elapsed() < Duration::from_secs(20), "Rucio is not asked");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fs::write(site.path("a"), fixture("SUBARRAY")).unwrap();
    assert!(matches!(repair.await.unwrap(), Repaired::Not(_)));
    assert!(site.has_trigger("a"));
}
