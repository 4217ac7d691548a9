//! Rules of ours that somebody else ends, or gives an end: nothing leaves the site for it that may not, and files say why
//! they stay.

use std::fs;
use std::time::Duration;

use dl0_ingest::custody::State;
use dl0_ingest::ledger::FileRow;
use dl0_ingest::names::Did;
use rucio_miniature::{Answer, Daemon, Endpoint, Entry, Event, ReplicaState};
use serde_json::json;

use crate::road::DELETION_ON;
use crate::road::reconcile::sources;
use crate::testkit::fixture;
use crate::testkit::in_process::with_first_copy_only;
use crate::testkit::site::Site;

/// Rucio's administrator.
pub(crate) struct Somebody {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Somebody {
    pub(crate) async fn at(site: &Site) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default(); // already there in a second test
        let (http, url) =
            (reqwest::Client::builder().tls_certs_only([]).build().unwrap(), site.rucio.url().to_string());
        let login = http.get(format!("{url}auth/userpass")).header("X-Rucio-Account", "root");
        let login = login.header("X-Rucio-Username", "root").header("X-Rucio-Password", "secret").send().await.unwrap();
        let token = login.headers()["X-Rucio-Auth-Token"].to_str().unwrap().to_owned();
        Self { http, url, token }
    }

    /// Places a rule on a file.
    pub(crate) async fn wants(&self, did: &Did, rse: &str) -> String {
        let body = json!({
            "dids": [did], "account": "root", "copies": 1, "rse_expression": rse, "grouping": "NONE",
        });
        let request = self.http.post(format!("{}rules/", self.url)).header("X-Rucio-Auth-Token", &self.token);
        let ids: Vec<String> = request.json(&body).send().await.unwrap().json().await.unwrap();
        ids.into_iter().next().unwrap()
    }

    /// Gives a rule so many seconds.
    pub(crate) async fn limits(&self, rule: &str, lifetime: u64, purge: bool) {
        let body = json!({"options": {"lifetime": lifetime, "purge_replicas": purge}});
        let request = self.http.put(format!("{}rules/{rule}", self.url)).header("X-Rucio-Auth-Token", &self.token);
        assert_eq!(request.json(&body).send().await.unwrap().status(), 200);
    }
}

/// The rules for the first copies that were placed so far.
fn first_copy_rules(history: &[Entry]) -> Vec<String> {
    let placed = history.iter().filter_map(|entry| match &entry.event {
        Event::RulePlaced { id, rse_expression, .. } if rse_expression == "OFFSITE" => Some(id.clone()),
        _ => None,
    });
    placed.collect()
}

pub(crate) async fn until_removed(site: &Site, rule: &str) {
    let removed = |event: &Event| matches!(event, Event::RuleRemoved { id, .. } if id == rule);
    site.rucio.until(|history| history.iter().any(|entry| removed(&entry.event))).await;
}

/// A file whose first copy is ordered and does not come.
async fn registered(site: &Site) -> String {
    site.rucio.faults().pause(Daemon::Conveyor);
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    site.until_row(&lfn, |row| row.state == State::Registered && !row.trigger_pending).await;
    site.rucio.until(|history| first_copy_rules(history).len() == 1).await;
    lfn
}

/// A stop comes between placing the rule and remembering it, and somebody gives it an end meanwhile. That is no end of ours.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_somebody_gave_the_rule_of_a_file_before_it_was_registered_is_taken_away() {
    let site = Site::new(DELETION_ON).await;
    let faults = site.rucio.faults();
    faults.pause(Daemon::Conveyor);
    // that of the dataset; that of the file, of which the daemon does not learn; and time until it is asked for again
    let answers = [Answer::Delay(Duration::ZERO), Answer::Lost, Answer::Delay(Duration::from_secs(2))];
    for answer in &answers {
        faults.answer(Endpoint::AddRules, 1, answer);
    }
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    let on_site_rules = |history: &[Entry]| -> Vec<String> {
        let placed = history.iter().filter_map(|entry| match &entry.event {
            Event::RulePlaced { id, rse_expression, .. } if rse_expression == "STORAGE-1" => Some(id.clone()),
            _ => None,
        });
        placed.collect()
    };
    site.rucio.until(|history| !on_site_rules(history).is_empty()).await;
    let rule = on_site_rules(&site.rucio.history()).remove(0);
    site.rucio.delete_rule(&rule);
    let row = site.until_state(&lfn, State::Registered).await;
    assert_eq!(row.on_site_rule.as_ref(), Some(&rule));
    assert_eq!(sources(&site, None).rucio.rule(&rule).await.unwrap().expires_at, None);
    faults.resume(Daemon::Conveyor);
    site.until_state(&lfn, State::Released).await;
    daemon.stop().await;
}

/// The on-site copy is there, on disk and in Rucio.
fn assert_on_site(site: &Site, row: &FileRow) {
    assert!(site.path("a.fits.fz").exists(), "{row:#?}");
    assert_eq!(site.rucio.replicas(&Did::new("acada", &row.lfn)).get("STORAGE-1"), Some(&ReplicaState::Available));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_for_the_first_copies_that_somebody_ended_is_placed_anew() {
    let site = Site::new(DELETION_ON).await;
    let daemon = site.start();
    let lfn = registered(&site).await;
    let rule = first_copy_rules(&site.rucio.history()).remove(0);
    Somebody::at(&site).await.limits(&rule, 0, false).await;
    until_removed(&site, &rule).await;
    // a rule is doubted when its copies are overdue
    daemon.stop().await;
    site.age(&lfn, Duration::from_mins(6)).await;
    let daemon = site.start();
    site.rucio.faults().resume(Daemon::Conveyor);
    site.until_state(&lfn, State::Released).await;
    assert_eq!(first_copy_rules(&site.rucio.history()).len(), 2);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_for_the_further_copies_that_somebody_ended_before_its_copy_came_is_placed_anew() {
    let site = Site::with(DELETION_ON, |options| options.pace.conveyor = Duration::from_secs(1)).await;
    let (daemon, row) = with_first_copy_only(&site, "a.fits.fz").await;
    let rule = row.further_copies_rule.unwrap();
    Somebody::at(&site).await.limits(&rule, 0, false).await;
    until_removed(&site, &rule).await;
    // a rule is doubted when its copies are overdue
    daemon.stop().await;
    site.age(&row.lfn, Duration::from_mins(6)).await;
    let daemon = site.start();
    site.until_row(&row.lfn, |row| row.further_copies_rule.as_ref().is_some_and(|new| *new != rule)).await;
    site.rucio.faults().resume(Daemon::Conveyor);
    site.until_state(&row.lfn, State::Released).await;
    daemon.stop().await;
}

/// Without purge Rucio deletes the copy only when it needs the space.
#[tokio::test(flavor = "multi_thread")]
async fn an_on_site_copy_whose_rule_somebody_ended_without_purge_is_protected_again() {
    let site = Site::new(DELETION_ON).await;
    let daemon = site.start();
    let lfn = registered(&site).await;
    let rule = site.row(&lfn).await.unwrap().on_site_rule.unwrap();
    Somebody::at(&site).await.limits(&rule, 0, false).await;
    until_removed(&site, &rule).await;
    let row = site.until_row(&lfn, |row| row.on_site_rule.as_ref().is_some_and(|new| *new != rule)).await;
    assert_eq!(row.state, State::Registered);
    assert_on_site(&site, &row);
    site.rucio.faults().resume(Daemon::Conveyor);
    site.until_state(&lfn, State::Released).await;
    daemon.stop().await;
}

/// Between the two looks, which is when evidence must not regress. Rucio's own tools do so too: a rule that is moved (bb8, the
/// decommissioning of an RSE) is another rule.
#[tokio::test(flavor = "multi_thread")]
async fn a_proven_copy_whose_rule_somebody_ended_or_limited_is_no_evidence_until_a_rule_of_ours_holds_it_again() {
    for (first, lifetime) in [(true, 0), (true, 3600), (false, 0), (false, 3600)] {
        let site = Site::new(&DELETION_ON.replace("hold: 200ms", "hold: 2s")).await;
        fs::write(site.kill_switch(), "until the rule is back").unwrap();
        let daemon = site.start();
        let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
        let row = site.until_row(&lfn, |row| row.first_look.is_some()).await;
        let rule =
            if first { first_copy_rules(&site.rucio.history()).remove(0) } else { row.further_copies_rule.unwrap() };
        Somebody::at(&site).await.limits(&rule, lifetime, false).await;
        let unheld = "no permanent rule of ours holds an OK lock at STORAGE-";
        let row = site.until_row(&lfn, |row| row.waits_for.as_ref().is_some_and(|why| why.contains(unheld))).await;
        assert_on_site(&site, &row);
        // whatever became of the rule, a sound one holds the copy before the file goes
        fs::remove_file(site.kill_switch()).unwrap();
        site.until_state(&lfn, State::Released).await;
        assert!(site.operator().await.breaker().await.unwrap().is_none());
        daemon.stop().await;
    }
}

/// It is ended with purge at the release, whatever somebody gave it before.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_the_rule_of_the_on_site_copy_changes_nothing_for_a_file_that_is_faster() {
    let site = Site::new(DELETION_ON).await;
    let daemon = site.start();
    let lfn = registered(&site).await;
    let rule = site.row(&lfn).await.unwrap().on_site_rule.unwrap();
    Somebody::at(&site).await.limits(&rule, 3600, false).await;
    site.rucio.faults().resume(Daemon::Conveyor);
    site.until_state(&lfn, State::Released).await;
    assert!(!site.path("a.fits.fz").exists());
    daemon.stop().await;
}

/// Rucio does not protect the last copy, and nobody can protect it from Rucio's administrator. It is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_had_rucio_delete_before_it_had_copies_is_held_as_vanished() {
    let site = Site::new(DELETION_ON).await;
    let daemon = site.start();
    let lfn = registered(&site).await;
    let rule = site.row(&lfn).await.unwrap().on_site_rule.unwrap();
    Somebody::at(&site).await.limits(&rule, 0, true).await;
    let gone = |event: &Event| matches!(event, Event::FileDeleted { did, .. } if did.name == lfn);
    site.rucio.until(|history| history.iter().any(|entry| gone(&entry.event))).await;
    daemon.stop().await;
    site.age(&lfn, Duration::from_mins(6)).await;
    let daemon = site.start();
    let row = site.until_state(&lfn, State::Held).await;
    // whichever look comes first: that for the copy, or that for its rule
    assert!(matches!(row.reason_code.as_deref(), Some("vanished" | "unprotected")), "{row:#?}");
    assert!(
        site.operator().await.breaker().await.unwrap().is_some(),
        "nothing else is released until it is understood"
    );
    daemon.stop().await;
}

/// The rule of the on-site copy has no end, and protects it.
async fn until_protected(site: &Site, lfn: &str) -> FileRow {
    let rucio = sources(site, None).rucio;
    let begun = std::time::Instant::now();
    loop {
        let row = site.row(lfn).await.unwrap();
        if rucio.rule(row.on_site_rule.as_ref().unwrap()).await.is_ok_and(|rule| rule.expires_at.is_none()) {
            return row;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing protects it: {row:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What an operator is to look at must still be there then.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_file_whose_rule_somebody_ended_or_limited_is_protected_again_and_stays_held() {
    for (lifetime, purge) in [(3600, true), (0, false)] {
        let site = Site::new(&DELETION_ON.replace("hold: 200ms", "hold: 2s")).await;
        let daemon = site.start();
        let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
        let row = site.until_row(&lfn, |row| row.first_look.is_some()).await;
        let somebody = Somebody::at(&site).await;
        fs::write(site.storage(2).join(&lfn[1..]), "other bytes").unwrap();
        let held = site.until_state(&lfn, State::Held).await;
        let rule = row.on_site_rule.unwrap();
        somebody.limits(&rule, lifetime, purge).await;
        if lifetime == 0 {
            until_removed(&site, &rule).await;
        }
        let row = until_protected(&site, &lfn).await;
        assert_eq!((row.state, &row.reason), (State::Held, &held.reason));
        assert_on_site(&site, &row);
        daemon.stop().await;
    }
}

/// A release that is decided and was not begun, because its record cannot be written; then a brake comes.
pub(crate) async fn decided_and_braked(site: &Site) -> (crate::testkit::in_process::InProcess, FileRow) {
    let in_the_way = site.state().join("audit.jsonl");
    fs::create_dir(&in_the_way).unwrap();
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    let waits_for = |words: &'static str| {
        move |row: &FileRow| row.state == State::Releasing && row.waits_for.as_ref().is_some_and(|w| w.contains(words))
    };
    site.until_row(&lfn, waits_for("audit record")).await;
    fs::write(site.kill_switch(), "not before noon").unwrap();
    fs::remove_dir(&in_the_way).unwrap();
    let row = site.until_row(&lfn, waits_for("not before noon")).await;
    (daemon, row)
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_end_of_the_rule_is_no_release_that_was_begun_and_passes_no_brake() {
    for (lifetime, purge) in [(3600, true), (0, false)] {
        let site = Site::new(DELETION_ON).await;
        let (daemon, row) = decided_and_braked(&site).await;
        let rule = row.on_site_rule.unwrap();
        Somebody::at(&site).await.limits(&rule, lifetime, purge).await;
        if lifetime == 0 {
            until_removed(&site, &rule).await;
        }
        let row = until_protected(&site, &row.lfn).await;
        assert_eq!((row.state, row.release_ordered_at), (State::Releasing, None), "{row:#?}");
        assert_on_site(&site, &row);
        fs::remove_file(site.kill_switch()).unwrap();
        site.until_state(&row.lfn, State::Released).await;
        daemon.stop().await;
    }
}
