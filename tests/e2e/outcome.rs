//! How a night must end, in the file systems, in Rucio, and compared with the reference implementation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use dl0_ingest::custody::invariants::world::{FileFacts, OnSite, Protection, World};
use dl0_ingest::custody::{Copies, sites_on_record};
use serde_json::{Map, Value};

use crate::e2e::acada::{Deliveries, Delivery, digest, trigger_of};
use crate::e2e::daemon::Daemon;
use crate::e2e::stack::Stack;
use crate::testkit::rucio::Rucio;

/// Waits for something that must come, with the daemon alive all the while.
pub(crate) async fn wait_for(
    what: &str,
    limit: Duration,
    daemon: &mut Daemon,
    mut happened: impl AsyncFnMut() -> bool,
) {
    let started = Instant::now();
    while !happened().await {
        assert!(daemon.is_running(), "the daemon ended before this: {what}\n{}", daemon.last_words());
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("{:6.1} s  {what}", started.elapsed().as_secs_f64());
}

/// Waits until every delivered file has left the site, on disk and in Rucio.
pub(crate) async fn wait_for_release(stack: &Stack, rucio: &Rucio, daemon: &mut Daemon, deliveries: &Deliveries) {
    let all = deliveries.all();
    // of hundreds, the stack copies and deletes one or two a second beside other work
    let limit = Duration::from_mins(2) + Duration::from_millis(1500) * u32::try_from(all.len()).unwrap();
    wait_for("every on-site file is gone", limit, daemon, async || {
        all.iter().all(|delivery| delivery.path.symlink_metadata().is_err())
    })
    .await;
    let lfns: Vec<String> = all.iter().map(|delivery| delivery.lfn.clone()).collect();
    let onsite = stack.onsite().0;
    wait_for("every on-site replica is gone", limit, daemon, async || {
        rucio.replica_states(&lfns).await.is_ok_and(|files| files.values().all(|states| !states.contains_key(onsite)))
    })
    .await;
    wait_for_states(daemon, &lfns, "released").await;
}

/// Waits until the daemon itself says that a file is in a state.
pub(crate) async fn wait_for_state(daemon: &Daemon, lfn: &str, expected: &str) {
    wait_for_states(daemon, std::slice::from_ref(&lfn), expected).await;
}

/// The same for many, which are asked for at once.
async fn wait_for_states(daemon: &Daemon, lfns: &[impl AsRef<str>], expected: &str) {
    let started = Instant::now();
    loop {
        let found = daemon.states();
        let state = |lfn: &str| found.get(lfn).map(String::as_str);
        let Some(other) = lfns.iter().map(AsRef::as_ref).find(|lfn| state(lfn) != Some(expected)) else { return };
        assert!(
            started.elapsed() < Duration::from_mins(1),
            "{other} is {:?}, not {expected}\n{}",
            state(other),
            daemon.last_words()
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Everything that must be true of released files.
pub(crate) async fn assert_released(stack: &Stack, rucio: &Rucio, deliveries: &Deliveries) {
    let all = deliveries.all();
    assert_copies_are_identical(stack, &all);
    assert_catalogue_is_right(stack, rucio, &all).await;
    assert_collections_are_right(rucio, &all).await;
    assert_rules_are_a_and_b(stack, rucio, &all).await;
}

/// The constitution holds for every released file, by what the ledger says and by what lies where; and the daemon has found
/// none of its promises broken.
pub(crate) async fn assert_no_promise_was_broken(
    stack: &Stack,
    rucio: &Rucio,
    daemon: &Daemon,
    deliveries: &Deliveries,
) {
    let promises = (1..=8).map(|number| (format!("I{number}"), "0".to_owned()));
    assert_eq!(daemon.broken_promises(), promises.collect());
    let (rows, onsite) = (daemon.rows().await, stack.onsite().0);
    let mut files = Vec::new();
    for delivery in deliveries.all() {
        let row = &rows[&delivery.lfn];
        let protected = rucio.rules(&delivery.lfn).await.iter().any(|rule| rule["rse_expression"] == onsite);
        let copies = stack
            .offsite()
            .filter(|(_, storage)| digest(&storage.path(&delivery.lfn)).is_ok_and(|digest| digest == delivery.digest));
        files.push(FileFacts {
            lfn: delivery.lfn.clone(),
            state: Some(row.state),
            evidence_on_record: row.last_evidence.is_some(),
            sites_on_record: row.last_evidence.as_deref().map(sites_on_record),
            sentence_on_record: row.invalid_path.is_some(),
            on_site: Some(if delivery.path.exists() { OnSite::Delivered } else { OnSite::Absent }),
            set_aside: None,
            trigger: Some(trigger_of(&delivery.path).symlink_metadata().is_ok()),
            protection: Some(if protected { Protection::Holds } else { Protection::Ended }),
            good_sites: u32::try_from(copies.count()).ok(),
            destroyed_since: 0,
        });
    }
    assert_eq!(World { files, required: Copies::MIN }.violations(), []);
}

/// Both copies hold the delivered bytes, and nothing is left on site.
fn assert_copies_are_identical(stack: &Stack, all: &[Delivery]) {
    for delivery in all {
        for (rse, storage) in stack.offsite() {
            let copy = digest(&storage.path(&delivery.lfn)).unwrap();
            assert_eq!(copy, delivery.digest, "{} at {rse}", delivery.lfn);
        }
        assert!(delivery.path.symlink_metadata().is_err(), "{} is still on site", delivery.lfn);
        assert!(
            trigger_of(&delivery.path).symlink_metadata().is_err(),
            "the trigger of {} is still there",
            delivery.lfn
        );
    }
}

/// Rucio lists exactly two available replicas, at the two data centres, with the right size.
async fn assert_catalogue_is_right(stack: &Stack, rucio: &Rucio, all: &[Delivery]) {
    let lfns: Vec<String> = all.iter().map(|delivery| delivery.lfn.clone()).collect();
    let expected: BTreeMap<String, String> =
        stack.offsite().map(|(rse, _)| (rse.to_owned(), "AVAILABLE".to_owned())).collect();
    let states = rucio.replica_states(&lfns).await.unwrap();
    for delivery in all {
        assert_eq!(states.get(&delivery.lfn), Some(&expected), "{}", delivery.lfn);
        let did = rucio.did(&delivery.lfn).await.unwrap();
        assert_eq!(did["bytes"], delivery.bytes, "{}", delivery.lfn);
    }
}

/// Every file in its directory's dataset, every directory in its parent's container, and nothing else.
async fn assert_collections_are_right(rucio: &Rucio, all: &[Delivery]) {
    let mut children: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for delivery in all {
        let mut child = delivery.lfn.clone();
        // from the dataset up to the first directory below /<vo>/<scope>
        while child.matches('/').count() > 3 {
            let parent = child[..child.rfind('/').unwrap()].to_owned();
            children.entry(parent.clone()).or_default().insert(child);
            child = parent;
        }
    }
    let datasets: BTreeSet<&str> = all.iter().map(|delivery| dataset_of(&delivery.lfn)).collect();
    for (name, expected) in &children {
        let did = rucio.did(name).await.unwrap_or_else(|| panic!("{name} does not exist"));
        let content: BTreeSet<String> = rucio.content(name).await.into_iter().collect();
        if datasets.contains(name.as_str()) {
            assert_eq!(did["type"], "DATASET", "{name}");
            assert_eq!(&content, expected, "{name}");
        } else {
            assert_eq!(did["type"], "CONTAINER", "{name}");
            // other nights lie in the same containers
            assert!(content.is_superset(expected), "{name} holds {content:?}, not all of {expected:?}");
        }
    }
}

/// One permanent rule per dataset and one per file, each with its copy, at different places.
async fn assert_rules_are_a_and_b(stack: &Stack, rucio: &Rucio, all: &[Delivery]) {
    let mut by_dataset: BTreeMap<&str, Vec<&Delivery>> = BTreeMap::new();
    for delivery in all {
        by_dataset.entry(dataset_of(&delivery.lfn)).or_default().push(delivery);
    }
    let offsite: BTreeSet<&str> = stack.offsite().map(|(rse, _)| rse).collect();
    for (dataset, files) in by_dataset {
        let first_copy_rule = only_rule(rucio.rules(dataset).await, dataset);
        assert_eq!(
            (&first_copy_rule["rse_expression"], &first_copy_rule["grouping"]),
            (&"OFFSITE".into(), &"DATASET".into()),
            "{dataset}"
        );
        let locks_a: BTreeMap<String, String> = ok_locks(rucio, &first_copy_rule).await;
        assert_eq!(locks_a.len(), files.len(), "the first-copy rule of {dataset} covers each file once");
        for delivery in files {
            let further_copies_rule = only_rule(rucio.rules(&delivery.lfn).await, &delivery.lfn);
            let first = locks_a[&delivery.lfn].as_str();
            assert_eq!(
                further_copies_rule["source_replica_expression"], first,
                "{}: the further-copies rule copies from the first copy",
                delivery.lfn
            );
            let second = &ok_locks(rucio, &further_copies_rule).await[&delivery.lfn];
            assert_eq!(BTreeSet::from([first, second.as_str()]), offsite, "{}", delivery.lfn);
        }
    }
}

/// The one rule that may be there, permanent and satisfied.
fn only_rule(mut rules: Vec<Value>, name: &str) -> Value {
    assert_eq!(rules.len(), 1, "rules of {name}: {rules:#?}");
    let rule = rules.remove(0);
    assert_eq!(rule["state"], "OK", "{rule:#?}");
    assert_eq!(rule["copies"], 1, "{rule:#?}");
    assert_eq!(rule["account"], "ingest", "{rule:#?}");
    assert_eq!(rule["expires_at"], Value::Null, "{rule:#?}");
    rule
}

/// LFN and RSE of each lock of a rule, all of which must be good.
async fn ok_locks(rucio: &Rucio, rule: &Value) -> BTreeMap<String, String> {
    let locks = rucio.locks(rule["id"].as_str().unwrap()).await;
    locks
        .into_iter()
        .map(|(lfn, rse, state)| {
            assert_eq!(state, "OK", "the lock on {lfn} at {rse}");
            (lfn, rse)
        })
        .collect()
}

/// The audit record is whole, and has the release of every file with its content and two sites.
pub(crate) fn assert_on_record(daemon: &Daemon, released: &[Delivery]) {
    let proven = daemon.command(&["audit", "verify-log"]);
    assert!(proven.status.success(), "{}", String::from_utf8_lossy(&proven.stdout));
    let text = std::fs::read_to_string(daemon.state_dir().join("audit.jsonl")).unwrap_or_default();
    // a line that was cut off is none; the chain has told it from a forged one
    let records: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for delivery in released {
        let is_it = |record: &&Value| record["effect"] == "release" && record["lfn"] == *delivery.lfn;
        let mut releases = records.iter().filter(is_it).peekable();
        assert!(releases.peek().is_some(), "no record of the release of {}", delivery.lfn);
        for record in releases {
            assert_eq!(record["contents"]["blake3"], delivery.digest.to_hex().as_str(), "{record:#}");
            let copies = record["order"]["evidence"]["copies"].as_array().unwrap();
            let sites: BTreeSet<&str> = copies.iter().map(|copy| copy["site"].as_str().unwrap()).collect();
            assert!(sites.len() >= 2, "{record:#}");
        }
    }
}

/// Settled: two permanent rules on each dataset, which hold every file at both data centres between them, and none on a file.
pub(crate) async fn assert_settled(stack: &Stack, rucio: &Rucio, daemon: &mut Daemon, deliveries: &Deliveries) {
    let all = deliveries.all();
    let offsite: BTreeSet<String> = stack.offsite().map(|(rse, _)| rse.to_owned()).collect();
    wait_for("no rule on a file", Duration::from_mins(1), daemon, async || {
        for delivery in &all {
            if !rucio.rules(&delivery.lfn).await.is_empty() {
                return false;
            }
        }
        true
    })
    .await;
    let datasets: BTreeSet<&str> = all.iter().map(|delivery| dataset_of(&delivery.lfn)).collect();
    for dataset in datasets {
        let rules = rucio.rules(dataset).await;
        assert_eq!(rules.len(), 2, "{rules:#?}");
        let mut held: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for rule in rules {
            for (lfn, rse) in ok_locks(rucio, &only_rule(vec![rule], dataset)).await {
                held.entry(lfn).or_default().insert(rse);
            }
        }
        for delivery in all.iter().filter(|delivery| dataset_of(&delivery.lfn) == dataset) {
            assert_eq!(held[&delivery.lfn], offsite, "{}", delivery.lfn);
        }
    }
    assert_copies_are_identical(stack, &all);
    assert_catalogue_is_right(stack, rucio, &all).await;
    assert_collections_are_right(rucio, &all).await;
}

fn dataset_of(lfn: &str) -> &str {
    &lfn[..lfn.rfind('/').unwrap()]
}

/// The metadata in Rucio are those of the reference implementation, and ours besides.
pub(crate) async fn assert_metadata_is_right(stack: &Stack, rucio: &Rucio, deliveries: &Deliveries) {
    let Some(python) = &stack.python else {
        println!("no Python >= 3.12 on this machine: metadata are not compared with the reference implementation");
        return;
    };
    let all = deliveries.all();
    let lfns: Vec<String> = all.iter().map(|delivery| delivery.lfn.clone()).collect();
    let ours = rucio.metadata(&lfns).await;
    let (_, storage) = stack.offsite().next().unwrap();
    let expected = reference_metadata(python, &all, |delivery| storage.path(&delivery.lfn));
    for lfn in &lfns {
        let mut ours = ours[lfn].clone();
        assert_eq!(ours.remove("valid_fits_checksum"), Some(Value::Bool(true)), "{lfn}");
        ours.retain(|key, _| !key.starts_with("dl0_ingest__"));
        assert_eq!(ours, expected[lfn], "{lfn}");
    }
}

fn reference_metadata<P: AsRef<Path>>(
    python: &Path,
    all: &[Delivery],
    place: impl Fn(&Delivery) -> P,
) -> BTreeMap<String, Map<String, Value>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/expected_metadata.py");
    let paths = all.iter().map(|delivery| place(delivery).as_ref().to_owned());
    let output = Command::new(python).args(["-B", script]).args(paths).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // one line per file, in the order given
    all.iter()
        .zip(text.lines())
        .map(|(delivery, line)| {
            let mut judgement: Value = serde_json::from_str(line).unwrap();
            assert_eq!(judgement["valid"], true, "{}: the reference finds a bad checksum", delivery.lfn);
            let Value::Object(metadata) = judgement["metadata"].take() else { panic!("no metadata: {line}") };
            (delivery.lfn.clone(), metadata)
        })
        .collect()
}
