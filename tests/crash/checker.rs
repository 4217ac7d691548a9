//! Judges a run by what Rucio, the storages and the audit record say; the ledger is not asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use dl0_ingest::audit_log;
use dl0_ingest::embedded::{Entry, Event, ReplicaState};
use dl0_ingest::names::Did;
use serde_json::Value;

use crate::client::{Client, encode};
use crate::site::{Delivery, Site};
use crate::watcher::invalid;

const ON_SITE: &str = "STORAGE-1";

/// Fails unless everything delivered has ended as it must.
pub(crate) async fn check(site: &Site) {
    let deliveries = site.deliveries();
    let history = site.rucio.history();
    let records = audit_records(site);
    for delivery in &deliveries {
        if delivery.good {
            copied_and_gone(site, delivery);
            rules_of_file(&history, delivery);
            released_on_record(&history, &records, delivery);
        } else {
            set_aside(site, &records, delivery);
        }
    }
    nothing_else_on_site(site, &deliveries);
    nothing_else_deleted(&history, &deliveries);
    catalogued(site, &history, &deliveries).await;
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
fn set_aside(site: &Site, records: &[Value], delivery: &Delivery) {
    let place = invalid(site, delivery);
    assert_eq!(fs::read(&place).unwrap(), *delivery.content, "{}", place.display());
    let reason = fs::read(reason_of(&place)).unwrap();
    let reason: Value = serde_json::from_slice(&reason).unwrap();
    assert_eq!(reason["lfn"], *delivery.lfn());
    assert!(reason["reasons"][0]["code"].is_string(), "{reason:#}");
    assert!(site.rucio.replicas(&delivery.did()).is_empty(), "{}", delivery.lfn());
    let record = find(records, delivery, "set-aside", None).expect("a record of the move");
    let moved_to = record["verdict"]["moved_to"].as_str().unwrap();
    assert_eq!(site.storage(1).join(moved_to), place, "{record:#}");
    assert_eq!(record["identity"]["inode"], delivery.inodes[0], "{record:#}");
}

fn reason_of(place: &Path) -> PathBuf {
    place.with_file_name(format!("{}.reason.json", place.file_name().unwrap().display()))
}

/// No trigger, no part of a file, nothing that was not delivered: bad files and their reasons are all there is.
fn nothing_else_on_site(site: &Site, deliveries: &[Delivery]) {
    let mut expected = BTreeSet::new();
    for place in deliveries.iter().filter(|delivery| !delivery.good).map(|delivery| invalid(site, delivery)) {
        expected.insert(reason_of(&place));
        expected.insert(place);
    }
    let entries = walkdir::WalkDir::new(site.storage(1)).into_iter().map(Result::unwrap);
    let found: BTreeSet<PathBuf> =
        entries.filter(|entry| !entry.file_type().is_dir()).map(walkdir::DirEntry::into_path).collect();
    assert_eq!(found, expected);
}

/// Only on-site copies of good files were ever deleted.
fn nothing_else_deleted(history: &[Entry], deliveries: &[Delivery]) {
    let good: BTreeSet<Did> = deliveries.iter().filter(|delivery| delivery.good).map(Delivery::did).collect();
    for entry in history {
        match &entry.event {
            Event::FileDeleted { did, rse } | Event::ReplicaGone { did, rse } => {
                assert!(rse == ON_SITE && good.contains(did), "{entry:?}");
            }
            Event::DidGone { .. } => panic!("{entry:?}"),
            Event::RuleRemoved { rse_expression, .. } => assert_eq!(rse_expression, ON_SITE, "{entry:?}"),
            Event::Registered { rse, did } => assert!(rse == ON_SITE && good.contains(did), "{entry:?}"),
            _ => {}
        }
    }
}

/// Where the rules on a DID were for, and whether each was removed.
fn rules_on(history: &[Entry], on: &Did) -> Vec<(String, bool)> {
    let removed = |wanted: &str| {
        history.iter().any(|entry| matches!(&entry.event, Event::RuleRemoved { id, .. } if id == wanted))
    };
    let placed = history.iter().filter_map(|entry| match &entry.event {
        Event::RulePlaced { id, did, rse_expression } if did == on => Some((rse_expression.clone(), removed(id))),
        _ => None,
    });
    placed.collect()
}

/// One rule B that stands, and one rule C for each delivery that has ended.
fn rules_of_file(history: &[Entry], delivery: &Delivery) {
    let (c, b): (Vec<_>, Vec<_>) =
        rules_on(history, &delivery.did()).into_iter().partition(|(expression, _)| expression == ON_SITE);
    assert!(matches!(b.as_slice(), [(expression, false)] if expression.contains("OFFSITE")), "{b:?}");
    assert_eq!(c, vec![(ON_SITE.to_owned(), true); delivery.inodes.len()], "{}", delivery.lfn());
}

/// Datasets and containers as Rucio shows them: every good file attached, one rule A on each dataset.
async fn catalogued(site: &Site, history: &[Entry], deliveries: &[Delivery]) {
    let mut datasets: BTreeMap<Did, BTreeSet<String>> = BTreeMap::new();
    for delivery in deliveries.iter().filter(|delivery| delivery.good) {
        datasets.entry(delivery.dataset()).or_default().insert(delivery.lfn());
    }
    let rucio = Client::new(site.rucio.url().as_str(), None);
    let token = rucio.log_in("ingest", "ingestpw").await.expect(200);
    let rucio = rucio.with_token(Some(token.header("X-Rucio-Auth-Token")));
    for (dataset, files) in datasets {
        let rules = rules_on(history, &dataset);
        assert_eq!(rules, [("OFFSITE".to_owned(), false)], "{dataset}");
        let path = format!("/dids/{}/{}", dataset.scope, encode(&dataset.name));
        let content = rucio.get(&format!("{path}/dids")).await.expect(200).lines();
        let attached: BTreeSet<String> =
            content.iter().map(|child| child["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(attached, files, "{dataset}");
        let rules = rucio.get(&format!("{path}/rules")).await.expect(200).lines();
        assert_eq!(rules.len(), 1, "{rules:#?}");
        assert_eq!((&rules[0]["state"], &rules[0]["expires_at"]), (&"OK".into(), &Value::Null), "{rules:#?}");
        for lfn in &files {
            let path = format!("/dids/{}/{}/meta?plugin=JSON", dataset.scope, encode(lfn));
            let meta = rucio.get(&path).await.expect(200).json();
            assert!(meta["valid_fits_checksum"].is_boolean() || meta.as_object().unwrap().len() > 3, "{lfn}: {meta:#}");
        }
    }
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

/// The first record of an effect on a file, on this very inode if one is given.
fn find<'r>(records: &'r [Value], delivery: &Delivery, effect: &str, inode: Option<u64>) -> Option<&'r Value> {
    records.iter().find(|record| {
        record["effect"] == effect
            && record["lfn"] == *delivery.lfn()
            && inode.is_none_or(|inode| record["identity"]["inode"] == inode)
    })
}

/// Every departure was announced, with complete evidence, before its rule ended.
fn released_on_record(history: &[Entry], records: &[Value], delivery: &Delivery) {
    let mut endings: BTreeMap<&str, SystemTime> = BTreeMap::new();
    for entry in history {
        match &entry.event {
            Event::RuleEnding { id, did } if *did == delivery.did() => {
                endings.entry(id).or_insert(entry.at);
            }
            _ => {}
        }
    }
    let mut moments: Vec<SystemTime> = endings.into_values().collect();
    moments.sort();
    assert_eq!(moments.len(), delivery.inodes.len(), "{}", delivery.lfn());
    for (ended, inode) in moments.into_iter().zip(&delivery.inodes) {
        let record = find(records, delivery, "release", Some(*inode)).expect("a record of the release");
        complete(record, delivery);
        assert!(at(record) <= ended, "{record:#} came after {ended:?}");
        if delivery.leftover {
            complete(find(records, delivery, "remove-leftover", Some(*inode)).expect("a record of it"), delivery);
        }
    }
}

fn at(record: &Value) -> SystemTime {
    let at: jiff::Timestamp = record["at"].as_str().unwrap().parse().unwrap();
    at.into()
}

/// Two copies at distinct sites, each proven by a rule, the catalogue and the storage; two looks the hold apart.
fn complete(record: &Value, delivery: &Delivery) {
    let contents = &record["contents"];
    assert_eq!(contents["blake3"], blake3::hash(&delivery.content).to_hex().as_str(), "{record:#}");
    assert_eq!(contents["bytes"], delivery.content.len() as u64, "{record:#}");
    let order = &record["order"];
    let copies = order["evidence"]["copies"].as_array().unwrap();
    let sites: BTreeSet<&str> = copies.iter().map(|copy| copy["site"].as_str().unwrap()).collect();
    assert!(sites.len() >= 2 && !sites.contains("LAPALMA"), "{record:#}");
    for copy in copies {
        assert_eq!((&copy["bytes"], &copy["adler32"]), (&contents["bytes"], &contents["adler32"]), "{record:#}");
        assert_eq!(copy["storage_digest"][0], "crc32c", "{record:#}");
        assert!(copy["rule"].is_string(), "{record:#}");
    }
    let looks = (order["first_look"]["at"].as_i64().unwrap(), order["evidence"]["at"].as_i64().unwrap());
    assert!(looks.1 - looks.0 >= 100, "{record:#}");
    assert_eq!(order["on_site"], record["identity"], "{record:#}");
}
