//! What an audit of many files takes in memory and time: the built command, on a site that is made for it. How many:
//! `DL0_INGEST_AUDIT_FILES`, `DL0_INGEST_AUDIT_DIRECTORY` to a directory; `make audit-memory` sets them.
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::testkit::command::command;
use crate::testkit::site::Site;
use dl0_ingest::daemon;
use dl0_ingest::ledger::Ledger;
use dl0_ingest::names::Did;
use dl0_ingest::telemetry::Metrics;
use rucio_client::{Attachment, Child, Client, CollectionKind, Grouping, NewCollection, NewRule};
use rucio_miniature::Daemon;
use sqlx::{Connection as _, SqliteConnection};

/// Most children of one attachment, and rules of one call.
const CALL_MAX: usize = 1000;
/// Of a file without content.
const ADLER32: &str = "00000001";

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Everything that knows of the files.
struct Seed {
    rucio: Client,
    ledger: SqliteConnection,
    evidence: String,
}

impl Seed {
    async fn new(site: &Site) -> Self {
        let config = site.config();
        let (rucio, _) = daemon::clients(&config, &Arc::new(Metrics::new())).unwrap();
        Ledger::open(&config.ledger_path()).await.unwrap().close().await;
        let url = format!("sqlite://{}", config.ledger_path().display());
        let copy = |rse: &str, site: &str| {
            serde_json::json!({ "rse": rse, "site": site, "rule": "0".repeat(32), "bytes": 0, "adler32": ADLER32,
                "storage_digest": ["crc32c", "00000000"] })
        };
        let copies = [copy("STORAGE-2", "PIC"), copy("STORAGE-3", "CSCS")];
        let evidence = serde_json::json!({ "at": 0, "copies": copies, "undecided": false }).to_string();
        Self { rucio, ledger: SqliteConnection::connect(&url).await.unwrap(), evidence }
    }

    /// Files without content in one directory: confirmed, AVAILABLE on site and at both data centres, and protected.
    async fn directory(&mut self, data: &Path, directory: &str, files: usize) {
        fs::create_dir_all(data.join(directory)).unwrap();
        let dataset = Did::new("acada", format!("/{directory}"));
        let collection = NewCollection { did: dataset.clone(), kind: CollectionKind::Dataset };
        self.rucio.add_collections(&[collection]).await.unwrap();
        let names: Vec<String> = (0..files)
            .map(|n| format!("/{directory}/TEL001_SDH000_20260101T200000_SBID2_OBSID2_CHUNK{n:06}.fits.fz"))
            .collect();
        for names in names.chunks(CALL_MAX) {
            self.files(data, &dataset, names).await;
        }
    }

    async fn files(&mut self, data: &Path, dataset: &Did, names: &[String]) {
        let dids: Vec<Did> = names.iter().map(|name| Did::new("acada", name)).collect();
        let child = |did: &Did| Child {
            did: did.clone(),
            bytes: Some(0),
            adler32: ADLER32.parse().ok(),
            meta: serde_json::Map::new(),
        };
        for rse in ["STORAGE-1", "STORAGE-2", "STORAGE-3"] {
            let (parent, rse) = (dataset.clone(), Some(rse.to_owned()));
            let children = dids.iter().map(child).collect();
            self.rucio.attach(&[Attachment { parent, rse, children }]).await.unwrap();
        }
        let rule = NewRule {
            dids,
            copies: 1,
            rse_expression: "STORAGE-1".to_owned(),
            source_replica_expression: None,
            grouping: Grouping::None,
            lifetime: None,
            activity: None,
            comment: None,
            meta: None,
        };
        let rules = self.rucio.add_rules(&rule).await.unwrap();
        let mut rows = Vec::with_capacity(names.len());
        for (name, rule) in names.iter().zip(rules) {
            let path = data.join(&name[1..]);
            let found = fs::File::create(&path).unwrap().metadata().unwrap();
            let mtime = found.mtime() * 1_000_000_000 + found.mtime_nsec();
            rows.push(serde_json::json!({ "lfn": name, "mtime": mtime, "inode": found.ino(), "rule": rule }));
        }
        let insert =
            "INSERT INTO files (lfn, scope, dataset, state, state_since, discovered_at, trigger_pending, bytes,
                mtime_ns, inode, adler32, blake3, on_site_rule, next_attempt, last_evidence)
            SELECT value ->> 'lfn', 'acada', $2, 'confirmed', 0, 0, 0, 0, value ->> 'mtime', value ->> 'inode', $3, $4,
                value ->> 'rule', 0, $5 FROM json_each($1)";
        sqlx::query(insert)
            .bind(serde_json::json!(rows).to_string())
            .bind(&dataset.name)
            .bind(ADLER32)
            .bind("b".repeat(64))
            .bind(&self.evidence)
            .execute(&mut self.ledger)
            .await
            .unwrap();
    }
}

/// Runs an audit to its end: exit code, what it said, its peak resident memory in kB, and how long it took.
fn audit(config: &Path, copies: bool) -> (Option<i32>, String, u64, Duration) {
    let started = Instant::now();
    let mut arguments = vec!["audit", "--min-age", "0s", "--settle", "1ms", "--config", config.to_str().unwrap()];
    arguments.extend(copies.then_some("--copies"));
    let mut child = command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let code = loop {
        // a process that has ended has no memory any more: the look before that counts
        let told = fs::read_to_string(&status).unwrap_or_default();
        let now = told.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = now.map_or(peak, |kb| kb.trim().trim_end_matches(" kB").parse().unwrap());
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let said = std::io::read_to_string(child.stdout.take().unwrap()).unwrap();
    (code, said, peak, started.elapsed())
}

/// Peak memory in kB of an audit that finds nothing wrong with so many files.
async fn peak_of(site: &Site, files: usize, copies: bool) -> u64 {
    let config = site.config_file();
    let (code, said, peak, took) = tokio::task::spawn_blocking(move || audit(&config, copies)).await.unwrap();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with(&format!("{files} files in ")), "{said}");
    let with = if copies { ", copies asked for" } else { "" };
    println!("{files} files{with}: {took:.1?}, {peak} kB at the peak");
    peak
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_takes_little_memory_for_many_files() {
    let (files, in_one) = (number("DL0_INGEST_AUDIT_FILES", 20_000), number("DL0_INGEST_AUDIT_DIRECTORY", 500));
    let site = Site::with_defaults().await;
    site.change("account: ingest\n", "account: ingest\n  timeout: 30min\n");
    for daemon in [Daemon::Judge, Daemon::Conveyor, Daemon::Reaper] {
        site.rucio.faults().pause(daemon);
    }
    let data = site.data();
    let mut seed = Seed::new(&site).await;
    let empty = peak_of(&site, 0, false).await;
    let directories = files.div_ceil(in_one);
    for n in 0..directories {
        let directory = format!("ctao/acada/dl0/LST/events/2026/{:02}/{:03}", n / 100, n % 100);
        seed.directory(&data, &directory, in_one).await;
    }
    seed.ledger.close().await.unwrap();
    // a rule's number for each, all that is known of the files of one directory, and what answers come in
    let allowed = (directories * in_one * 24 + in_one * 6144) / 1024 + 12_288;
    for copies in [false, true] {
        let more = peak_of(&site, directories * in_one, copies).await.saturating_sub(empty);
        assert!(more < allowed as u64, "{more} kB more than without files, {allowed} kB allowed");
    }
}
