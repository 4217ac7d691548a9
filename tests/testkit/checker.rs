//! Judges a run by what Rucio, the storages and the audit record say; the ledger is not asked. Then what the ledger says is
//! held beside that, against the invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use dl0_ingest::audit_log;
use dl0_ingest::custody::invariants::world::{FileFacts, OnSite, Protection, World};
use dl0_ingest::custody::{Copies, sites_on_record};
use dl0_ingest::ledger::{FileRow, Ledger};
use dl0_ingest::names::Did;
use rucio_miniature::{Entry, Event, ReplicaState};
use serde_json::{Value, json};
use sqlx::Connection as _;

use super::deliveries::{Delivery, Fate};
use super::process::{Daemon, End};
use super::rucio::Rucio;
use super::site::Site;
use super::watcher::invalid;

const ON_SITE: &str = "STORAGE-1";

/// What Rucio did and what the daemon announced, by file.
struct Account {
    history: Vec<Entry>,
    by_did: BTreeMap<Did, Vec<Entry>>,
    /// Rules that were given their end, by id.
    ended: BTreeMap<String, SystemTime>,
    removed: BTreeSet<String>,
    records: BTreeMap<String, Vec<Value>>,
    /// When the end of a file's own rule was announced, by the rule's id.
    settled: BTreeMap<String, SystemTime>,
}

/// A rule as its history tells it.
#[derive(Clone, Debug)]
struct Placed {
    id: String,
    expression: String,
    removed: bool,
}

impl Account {
    fn of(site: &Site) -> Self {
        let history = site.rucio.history();
        let mut account = Self {
            history,
            by_did: BTreeMap::new(),
            ended: BTreeMap::new(),
            removed: BTreeSet::new(),
            records: BTreeMap::new(),
            settled: BTreeMap::new(),
        };
        for entry in &account.history {
            match &entry.event {
                // what somebody else has ended is none of ours, and another was placed for it
                Event::RulePlaced { id, .. } if site.is_ended_by_others(id) => {}
                Event::RulePlaced { did, .. } => {
                    account.by_did.entry(did.clone()).or_default().push(entry.clone());
                }
                Event::RuleEnding { id, .. } => drop(account.ended.entry(id.clone()).or_insert(entry.at)),
                Event::RuleRemoved { id, .. } => drop(account.removed.insert(id.clone())),
                _ => {}
            }
        }
        for record in audit_records(site) {
            if record["effect"] == "settle" {
                for file in record["files"].as_array().unwrap() {
                    account.settled.entry(file["rule"].as_str().unwrap().to_owned()).or_insert_with(|| at(&record));
                }
                continue;
            }
            let lfn = record["lfn"].as_str().unwrap().to_owned();
            account.records.entry(lfn).or_default().push(record);
        }
        account
    }

    /// The rules that were ever placed on a DID itself.
    fn rules_on(&self, did: &Did) -> Vec<Placed> {
        let placed = self.by_did.get(did).into_iter().flatten().filter_map(|entry| match &entry.event {
            Event::RulePlaced { id, rse_expression, .. } => {
                Some(Placed { id: id.clone(), expression: rse_expression.clone(), removed: self.removed.contains(id) })
            }
            _ => None,
        });
        placed.collect()
    }

    /// The rules that a copy of a file can have been held by: its own and its dataset's.
    fn rules_off_site(&self, delivery: &Delivery) -> BTreeSet<String> {
        let placed = [delivery.did(), delivery.dataset()].map(|did| self.rules_on(&did)).into_iter().flatten();
        placed.filter(|rule| rule.expression != ON_SITE).map(|rule| rule.id).collect()
    }

    /// When each rule that had protected a file on site was ended first, oldest first.
    fn endings_on_site(&self, did: &Did) -> Vec<SystemTime> {
        let on_site = self.rules_on(did).into_iter().filter(|rule| rule.expression == ON_SITE);
        let mut ended: Vec<SystemTime> = on_site.filter_map(|rule| self.ended.get(&rule.id).copied()).collect();
        ended.sort();
        ended
    }

    /// The first record of an effect on a file that lay on disk as this inode.
    fn record(&self, delivery: &Delivery, effect: &str, inode: u64) -> &Value {
        self.record_after(delivery, effect, inode, None)
    }

    /// The first one after a moment.
    fn record_after(&self, delivery: &Delivery, effect: &str, inode: u64, after: Option<SystemTime>) -> &Value {
        let records = self.records.get(&delivery.lfn()).map(Vec::as_slice).unwrap_or_default();
        let is_it = |record: &&Value| {
            let is_after = after.is_none_or(|after| at(record) > after);
            record["effect"] == effect && record["identity"]["inode"] == inode && is_after
        };
        records.iter().find(is_it).unwrap_or_else(|| panic!("no record of the {effect} of {}", delivery.lfn()))
    }
}

/// All files come to their ends, the daemon stops in good order, and the account is right.
pub(crate) async fn ends_well(site: &Site, daemon: Daemon) {
    site.until_settled().await;
    assert_eq!(daemon.stop(site).await, End::Stopped);
    check(site).await;
}

/// Fails unless everything delivered has ended as it must.
pub(crate) async fn check(site: &Site) {
    let deliveries = site.deliveries();
    let account = Account::of(site);
    let quiet = site.quiet_datasets();
    for delivery in &deliveries {
        match delivery.fate {
            Fate::Released => {
                copied_and_gone(site, delivery);
                rules_of_file(site, &account, delivery, quiet.contains(&delivery.dataset()));
                released_on_record(site, &account, delivery);
            }
            Fate::Rejected => set_aside(site, &account, delivery),
            Fate::Kept => kept(site, &account, delivery),
        }
    }
    nothing_else_on_site(site, &deliveries);
    nothing_else_deleted(site, &account, &deliveries);
    catalogued(site, &account, &deliveries).await;
    constitutional(site, &account, &deliveries).await;
}

/// No invariant is broken now, and none was found broken before an effect.
async fn constitutional(site: &Site, account: &Account, deliveries: &[Delivery]) {
    let mut files = Vec::with_capacity(deliveries.len());
    let ledger = Ledger::open_read_only(&site.ledger_file()).await.unwrap();
    for delivery in deliveries.iter().filter(|delivery| !site.is_forgotten(delivery)) {
        let row = ledger.by_lfn(&delivery.lfn()).await.unwrap();
        files.push(facts(site, account, delivery, row.as_ref()));
    }
    ledger.close().await;
    assert_eq!(World { files, required: Copies::MIN }.violations(), []);
    let url = format!("sqlite://{}?mode=ro", site.ledger_file().display());
    let mut ledger = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let trips = sqlx::query_scalar::<_, String>("SELECT reason FROM breaker WHERE code = 'invariant'");
    assert_eq!(trips.fetch_all(&mut ledger).await.unwrap(), [""; 0]);
    ledger.close().await.unwrap();
}

/// A file's whole situation.
fn facts(site: &Site, account: &Account, delivery: &Delivery, row: Option<&FileRow>) -> FileFacts {
    let is_it = |path: PathBuf| fs::read(path).is_ok_and(|content| content == *delivery.content);
    let on_site = site.storage(1).join(&delivery.path);
    let there = site.rucio.replicas(&delivery.did());
    let good = |number: &u32| {
        there.get(&format!("STORAGE-{number}")) == Some(&ReplicaState::Available)
            && is_it(site.storage(*number).join(&delivery.path))
    };
    let evidence = row.and_then(|row| row.last_evidence.as_deref());
    let ended = |rule: &String| if account.ended.contains_key(rule) { Protection::Ended } else { Protection::Holds };
    FileFacts {
        lfn: delivery.lfn(),
        state: row.map(|row| row.state),
        evidence_on_record: evidence.is_some(),
        sites_on_record: evidence.map(sites_on_record),
        sentence_on_record: row.is_some_and(|row| row.invalid_path.is_some()),
        on_site: Some(match on_site.exists() {
            false => OnSite::Absent,
            true if is_it(on_site) => OnSite::Delivered,
            true => OnSite::Other,
        }),
        set_aside: Some(is_it(invalid(site, delivery))),
        trigger: Some(site.trigger_path(delivery).symlink_metadata().is_ok()),
        protection: row.and_then(|row| row.on_site_rule.as_ref()).map(ended),
        good_sites: Some([2, 3].iter().map(|number| u32::from(good(number))).sum()),
        destroyed_since: 0,
    }
}

/// Two identical copies at distinct sites, and none on site.
fn copied_and_gone(site: &Site, delivery: &Delivery) {
    let delivered = blake3::hash(&delivery.content);
    for number in [2, 3] {
        let copy = fs::read(site.storage(number).join(&delivery.path)).unwrap();
        assert_eq!(blake3::hash(&copy), delivered, "{} at STORAGE-{number}", delivery.lfn());
    }
    let both = ["STORAGE-2", "STORAGE-3"].map(|rse| (rse.to_owned(), ReplicaState::Available));
    assert_eq!(site.rucio.replicas(&delivery.did()), BTreeMap::from(both), "{}", delivery.lfn());
}

/// In `invalid/` byte for byte, with its reason, and nowhere else.
fn set_aside(site: &Site, account: &Account, delivery: &Delivery) {
    let place = invalid(site, delivery);
    assert_eq!(fs::read(&place).unwrap(), *delivery.content, "{}", place.display());
    let reason = fs::read(reason_of(&place)).unwrap();
    let reason: Value = serde_json::from_slice(&reason).unwrap();
    assert_eq!(reason["lfn"], *delivery.lfn());
    assert!(reason["reasons"][0]["code"].is_string(), "{reason:#}");
    assert!(site.rucio.replicas(&delivery.did()).is_empty(), "{}", delivery.lfn());
    let record = account.record(delivery, "set-aside", delivery.inodes[0]);
    let moved_to = record["verdict"]["moved_to"].as_str().unwrap();
    assert_eq!(site.storage(1).join(moved_to), place, "{record:#}");
}

/// On site as it was left there, and protected by its rule if it has come so far.
fn kept(site: &Site, account: &Account, delivery: &Delivery) {
    assert_eq!(fs::read(site.storage(1).join(&delivery.path)).unwrap(), *delivery.content, "{}", delivery.lfn());
    let did = delivery.did();
    assert_eq!(account.endings_on_site(&did), [SystemTime::UNIX_EPOCH; 0], "{did}");
    let ended = account.rules_on(&did).into_iter().filter(|rule| rule.removed).count();
    assert_eq!(ended, 0, "{did}");
}

fn reason_of(place: &Path) -> PathBuf {
    place.with_file_name(format!("{}.reason.json", place.file_name().unwrap().display()))
}

/// No trigger, no part of a file, nothing that was not delivered: bad files with their reasons, and what is kept, are all
/// there is.
fn nothing_else_on_site(site: &Site, deliveries: &[Delivery]) {
    let mut expected = BTreeSet::new();
    for delivery in deliveries {
        match delivery.fate {
            Fate::Released => {}
            Fate::Rejected => {
                let place = invalid(site, delivery);
                expected.insert(reason_of(&place));
                expected.insert(place);
            }
            Fate::Kept => {
                expected.insert(site.storage(1).join(&delivery.path));
                // there or gone, as it was when the file was held
                let trigger = site.trigger_path(delivery);
                expected.extend(trigger.symlink_metadata().is_ok().then_some(trigger));
            }
        }
    }
    let entries = walkdir::WalkDir::new(site.storage(1)).into_iter().map(Result::unwrap);
    let found: BTreeSet<PathBuf> =
        entries.filter(|entry| !entry.file_type().is_dir()).map(walkdir::DirEntry::into_path).collect();
    assert_eq!(found, expected);
}

/// Only on-site copies of good files were ever deleted.
fn nothing_else_deleted(site: &Site, account: &Account, deliveries: &[Delivery]) {
    let of = |fates: &[Fate]| -> BTreeSet<Did> {
        deliveries.iter().filter(|delivery| fates.contains(&delivery.fate)).map(Delivery::did).collect()
    };
    let (good, sound) = (of(&[Fate::Released]), of(&[Fate::Released, Fate::Kept]));
    let mut arrived = BTreeSet::new();
    for entry in &account.history {
        match &entry.event {
            Event::Available { did, rse } => drop(arrived.insert((did, rse))),
            // the row of a copy that never came, of a rule that somebody has ended
            Event::ReplicaGone { did, rse } if rse != ON_SITE && !arrived.contains(&(did, rse)) => {}
            Event::FileDeleted { did, rse } | Event::ReplicaGone { did, rse } => {
                assert!(rse == ON_SITE && good.contains(did), "{entry:?}");
            }
            Event::DidGone { .. } => panic!("{entry:?}"),
            // a file's own rules, never one of a dataset
            Event::RuleRemoved { id, .. } if site.is_ended_by_others(id) => {}
            Event::RuleRemoved { did, .. } => assert!(good.contains(did), "{entry:?}"),
            Event::Registered { rse, did } => assert!(rse == ON_SITE && sound.contains(did), "{entry:?}"),
            _ => {}
        }
    }
}

/// One on-site rule for each delivery, ended. Of a settled dataset further-copies rules, each ended after that was
/// announced, because the dataset holds the copies; of another one further-copies rule that stands.
fn rules_of_file(site: &Site, account: &Account, delivery: &Delivery, settled: bool) {
    let (c, b): (Vec<_>, Vec<_>) =
        account.rules_on(&delivery.did()).into_iter().partition(|rule| rule.expression == ON_SITE);
    assert!(!b.is_empty() && b.iter().all(|rule| rule.expression.contains("OFFSITE")), "{b:?}");
    if !settled {
        assert!(b.len() == 1 && !b[0].removed, "{b:?}");
    }
    for rule in b.iter().filter(|_| settled) {
        let ended = account.ended.get(&rule.id).unwrap_or_else(|| panic!("{rule:?} stands beside that of the dataset"));
        let announced = account.settled.get(&rule.id).unwrap_or_else(|| panic!("no record of the end of {rule:?}"));
        assert!(
            *announced <= *ended + site.clock_ahead(),
            "{rule:?} was ended at {ended:?}, announced at {announced:?}"
        );
    }
    assert!(c.len() == delivery.inodes.len() && c.iter().all(|rule| rule.removed), "{}: {c:?}", delivery.lfn());
}

/// Datasets and containers as Rucio shows them: every good file attached, and two rules on each dataset, which
/// hold every file at two places between them.
async fn catalogued(site: &Site, account: &Account, deliveries: &[Delivery]) {
    let mut datasets: BTreeMap<Did, BTreeSet<String>> = BTreeMap::new();
    for delivery in deliveries.iter().filter(|delivery| delivery.fate == Fate::Released) {
        datasets.entry(delivery.dataset()).or_default().insert(delivery.lfn());
    }
    let rucio = site.at_rucio().await;
    for (dataset, files) in datasets {
        let placed = account.rules_on(&dataset);
        let quiet = site.quiet_datasets().contains(&dataset);
        assert!(
            placed.len() == if quiet { 2 } else { 1 } && placed.iter().all(|rule| !rule.removed),
            "{dataset}: {placed:?}"
        );
        let attached: BTreeSet<String> = rucio.content(&dataset.name).await.into_iter().collect();
        // files that are kept have come as far as they have
        let kept = deliveries.iter().filter(|delivery| delivery.fate == Fate::Kept).map(Delivery::lfn).collect();
        assert!(
            attached.is_superset(&files) && attached.is_subset(&files.union(&kept).cloned().collect()),
            "{dataset}"
        );
        let rules = rucio.rules(&dataset.name).await;
        assert_eq!(rules.len(), if quiet { 2 } else { 1 }, "{rules:#?}");
        assert!(rules.iter().all(|rule| rule["expires_at"] == Value::Null), "{rules:#?}");
        if quiet {
            held_twice(&rucio, &rules, &files).await;
        }
        for delivery in deliveries.iter().filter(|delivery| files.contains(&delivery.lfn())) {
            let meta = rucio.metadata_of(&delivery.lfn()).await;
            assert_eq!(meta["valid_fits_checksum"], true, "{}: {meta:#?}", delivery.lfn());
            assert_eq!(meta["dl0_ingest__crc32c"], *crc32c(delivery), "{}: {meta:#?}", delivery.lfn());
            assert_eq!(meta["data__level"], "DL0", "{}: {meta:#?}", delivery.lfn());
        }
    }
}

/// Each file is locked at two places by these rules, which are OK.
async fn held_twice(rucio: &Rucio, rules: &[Value], files: &BTreeSet<String>) {
    let mut held: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for rule in rules {
        assert_eq!(rule["state"], "OK", "{rules:#?}");
        for (lfn, rse, state) in rucio.locks(rule["id"].as_str().unwrap()).await {
            assert_eq!(state, "OK", "{lfn} at {rse}");
            held.entry(lfn).or_default().insert(rse);
        }
    }
    assert!(held.keys().eq(files) && held.values().all(|places| places.len() == 2), "{held:#?}");
}

/// The records, after the chain is proven.
fn audit_records(site: &Site) -> Vec<Value> {
    let files = audit_log::files(&site.state()).unwrap();
    let verified = audit_log::verify(&files, None).unwrap();
    assert_eq!((verified.broken, verified.open_bytes), (None, 0));
    let lines = files.iter().flat_map(|file| {
        let text = fs::read_to_string(file).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    // a line that a crash cut off is no JSON; the chain has told it from a forged one
    let records: Vec<Value> = lines.filter_map(|line| serde_json::from_str(&line).ok()).collect();
    assert_eq!(records.len() as u64, verified.records);
    records
}

/// Every departure was announced, with complete evidence, before its rule ended.
fn released_on_record(site: &Site, account: &Account, delivery: &Delivery) {
    let endings = account.endings_on_site(&delivery.did());
    assert_eq!(endings.len(), delivery.inodes.len(), "{}", delivery.lfn());
    let rules = account.rules_off_site(delivery);
    let mut earlier = BTreeMap::new();
    for (ended, inode) in endings.into_iter().zip(&delivery.inodes) {
        // the same file may be released again after it was protected anew, on a record of its own
        let record = account.record_after(delivery, "release", *inode, earlier.insert(inode, ended));
        complete(record, delivery, &rules);
        assert!(at(record) <= ended + site.clock_ahead(), "{record:#} came after {ended:?}");
        if delivery.leftover {
            complete(account.record(delivery, "remove-leftover", *inode), delivery, &rules);
        }
    }
}

/// CRC-32C of what was delivered, 8 hexadecimal digits.
fn crc32c(delivery: &Delivery) -> String {
    format!("{:08x}", crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &delivery.content))
}

fn at(record: &Value) -> SystemTime {
    let at: jiff::Timestamp = record["at"].as_str().unwrap().parse().unwrap();
    at.into()
}

/// Two copies at distinct sites, each proven by a rule, the catalogue and the storage; two looks the hold apart.
fn complete(record: &Value, delivery: &Delivery, rules: &BTreeSet<String>) {
    let contents = &record["contents"];
    assert_eq!(contents["blake3"], blake3::hash(&delivery.content).to_hex().as_str(), "{record:#}");
    assert_eq!(contents["bytes"], delivery.content.len() as u64, "{record:#}");
    let order = &record["order"];
    for look in ["first_look", "evidence"] {
        let copies = order[look]["copies"].as_array().unwrap();
        let sites: BTreeSet<&str> = copies.iter().map(|copy| copy["site"].as_str().unwrap()).collect();
        assert!(sites.len() >= 2 && !sites.contains("LAPALMA"), "{record:#}");
        for copy in copies {
            assert_eq!((&copy["bytes"], &copy["adler32"]), (&contents["bytes"], &contents["adler32"]), "{record:#}");
            assert_eq!(copy["storage_digest"], json!(["crc32c", crc32c(delivery)]), "{record:#}");
            let rule = copy["rule"].as_str().unwrap();
            assert!(rules.contains(rule), "the proof rests on {rule}, which is none of {rules:?}: {record:#}");
        }
    }
    let looks = (order["first_look"]["at"].as_i64().unwrap(), order["evidence"]["at"].as_i64().unwrap());
    assert!(looks.1 - looks.0 >= 100, "{record:#}");
    assert_eq!(order["on_site"], record["identity"], "{record:#}");
}
