//! A site: interface directory, embedded Rucio with three storages, and what was delivered.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dl0_ingest::custody::State;
use dl0_ingest::embedded::{Embedded, Options, Pace};
use dl0_ingest::ledger::Ledger;
use dl0_ingest::names::Did;

/// No run takes anything like this long.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at a directory or at the ledger.
const LOOK: Duration = Duration::from_millis(20);

/// A file as it was delivered, perhaps several times.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// Relative to the data root.
    pub(crate) path: PathBuf,
    pub(crate) content: Arc<Vec<u8>>,
    pub(crate) good: bool,
    /// Rucio leaves it on disk.
    pub(crate) leftover: bool,
    /// The file on disk, at each delivery.
    pub(crate) inodes: Vec<u64>,
}

impl Delivery {
    pub(crate) fn lfn(&self) -> String {
        format!("/{}", self.path.display())
    }

    pub(crate) fn did(&self) -> Did {
        Did::new("acada", self.lfn())
    }

    pub(crate) fn dataset(&self) -> Did {
        Did::new("acada", format!("/{}", self.path.parent().unwrap().display()))
    }
}

pub(crate) struct Site {
    root: tempfile::TempDir,
    pub(crate) rucio: Embedded,
    deliveries: Mutex<Vec<Delivery>>,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let quick = Duration::from_millis(20);
        let pace = Pace { judge: quick, conveyor: quick, reaper: quick, ..Pace::default() };
        let rucio = Embedded::start(Options { pace, ..Options::new(root.path()) }).await.unwrap();
        let site = Self { root, rucio, deliveries: Mutex::default() };
        fs::create_dir_all(site.state()).unwrap();
        fs::create_dir_all(site.storage(1).join("ctao/acada")).unwrap();
        let password = site.root.path().join("password");
        fs::write(&password, "ingestpw\n").unwrap();
        let text = format!(
            "data_path: {data}\nstate_dir: {state}\nonsite_rse: STORAGE-1\noffsite: {{expression: OFFSITE}}\n\
             rucio:\n  url: {url}\n  account: ingest\n  auth: {{userpass: {{password_file: {password}}}}}\n\
             http: {{listen: null}}\nlog: {{format: json}}\nintake: {{scan_interval: 200ms, early_after: 10s}}\n\
             register: {{gather: 50ms}}\nreplicate: {{poll: 20ms, poll_max: 100ms}}\n\
             confirm: {{hold: 100ms, poll: 20ms, poll_max: 100ms}}\n\
             release: {{deletion: on, poll: 20ms, poll_max: 100ms, leftover: remove, leftover_grace: 100ms}}\n\
             retry: {{initial: 20ms, max: 200ms}}\nsettle: {{after: 500ms}}\n",
            data = site.storage(1).display(),
            state = site.state().display(),
            url = site.rucio.url(),
            password = password.display(),
        );
        fs::write(site.config(), text).unwrap();
        site
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.root.path().join("dl0-ingest.yaml")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.path().join("daemon.log")
    }

    pub(crate) fn points(&self) -> PathBuf {
        self.root.path().join("points")
    }

    /// The directory of STORAGE-`number`; that of the first is the interface directory.
    pub(crate) fn storage(&self, number: u32) -> PathBuf {
        self.root.path().join(format!("storage-{number}"))
    }

    /// Everything delivered so far.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.lock().unwrap().clone()
    }

    /// Delivers a file as ACADA does: the data first, then its trigger.
    pub(crate) fn deliver(&self, path: &str, content: Vec<u8>, good: bool) -> Delivery {
        let delivery =
            Delivery { path: path.into(), content: Arc::new(content), good, leftover: false, inodes: Vec::new() };
        self.write(delivery)
    }

    /// Delivers a good file that Rucio will leave on disk.
    pub(crate) fn deliver_leftover(&self, path: &str, content: Vec<u8>) -> Delivery {
        let content = Arc::new(content);
        let delivery = Delivery { path: path.into(), content, good: true, leftover: true, inodes: Vec::new() };
        self.rucio.faults().leave_file(&delivery.did());
        self.write(delivery)
    }

    /// Delivers a file once more that has left the site.
    pub(crate) fn deliver_again(&self, delivery: &Delivery) {
        self.write(delivery.clone());
    }

    fn write(&self, mut delivery: Delivery) -> Delivery {
        let path = self.storage(1).join(&delivery.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let arriving = self.root.path().join("arriving");
        fs::write(&arriving, &*delivery.content).unwrap();
        delivery.inodes.push(fs::metadata(&arriving).unwrap().ino());
        // known to the watcher from the moment it is there, not before
        let mut deliveries = self.deliveries.lock().unwrap();
        fs::rename(&arriving, &path).unwrap();
        match deliveries.iter_mut().find(|known| known.path == delivery.path) {
            Some(known) => *known = delivery.clone(),
            None => deliveries.push(delivery.clone()),
        }
        drop(deliveries);
        self.trigger(&delivery);
        delivery
    }

    pub(crate) fn trigger(&self, delivery: &Delivery) {
        symlink(delivery.path.file_name().unwrap(), self.trigger_path(delivery)).unwrap();
    }

    fn trigger_path(&self, delivery: &Delivery) -> PathBuf {
        self.storage(1).join(format!("{}.trigger", delivery.path.display()))
    }

    /// Waits until the daemon has removed a trigger.
    pub(crate) async fn until_trigger_gone(&self, delivery: &Delivery) {
        let path = self.trigger_path(delivery);
        let what = format!("the trigger of {}", delivery.lfn());
        self.until(&what, || std::future::ready(path.symlink_metadata().is_err())).await;
    }

    /// Waits until the ledger has it on record that a delivery's trigger is gone: a trigger that comes in the instant
    /// before is taken for the old one until the next full scan.
    pub(crate) async fn until_delivery_taken(&self, delivery: &Delivery) {
        let (path, lfn) = (self.state().join("ledger.db"), delivery.lfn());
        self.until("the record of a removed trigger", || async {
            let Ok(ledger) = Ledger::open_read_only(&path).await else { return false };
            let row = ledger.by_lfn(&lfn).await.ok().flatten();
            ledger.close().await;
            row.is_some_and(|row| !row.trigger_pending)
        })
        .await;
    }

    /// Waits until the ledger has no file on its road any more, and every dataset is settled.
    pub(crate) async fn until_settled(&self) {
        let path = self.state().join("ledger.db");
        self.until("the end of all files' roads", || async {
            let Ok(ledger) = Ledger::open_read_only(&path).await else { return false };
            let summary = ledger.summary().await.unwrap_or_default();
            let expected = self.deliveries();
            let mut settled = true;
            for dataset in
                expected.iter().filter(|delivery| delivery.good).map(Delivery::dataset).collect::<BTreeSet<_>>()
            {
                settled &= ledger.settlement(&dataset).await.is_ok_and(|known| known.settled_at.is_some());
                settled &= ledger.resting(&dataset).await.is_ok_and(|rows| rows.iter().all(|row| row.rule_b.is_none()));
            }
            ledger.close().await;
            let files = |state| summary.iter().find(|row| row.state == state).map_or(0, |row| row.files);
            let good = expected.iter().filter(|delivery| delivery.good).count();
            let triggers = expected.iter().any(|delivery| self.trigger_path(delivery).symlink_metadata().is_ok());
            let ended = (files(State::Released), files(State::Rejected));
            settled
                && !triggers
                && (usize::try_from(ended.0), usize::try_from(ended.1)) == (Ok(good), Ok(expected.len() - good))
        })
        .await;
    }

    pub(crate) async fn until<F: Future<Output = bool>>(&self, what: &str, condition: impl Fn() -> F) {
        let begun = Instant::now();
        while !condition().await {
            if begun.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(20).collect();
                panic!("waiting in vain for {what}; the daemon's last words, latest first:\n{}", last.join("\n"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A real DL0 file of ACADA's mock, by a part of its name.
pub(crate) fn fixture(part: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dl0");
    let mut found = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    fs::read(found.find(|path| path.to_string_lossy().contains(part)).unwrap()).unwrap()
}
