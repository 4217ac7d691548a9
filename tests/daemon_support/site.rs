//! A site: interface directory, embedded Rucio with three storages, and what was delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dl0_ingest::custody::State;
use dl0_ingest::embedded::{Embedded, Options, Pace};
use dl0_ingest::ledger::{FileRow, Ledger};
use dl0_ingest::names::Did;

use sqlx::Connection as _;

use super::cli_support::{Said, say};

/// No run takes anything like this long, and this for each file.
const PATIENCE: Duration = Duration::from_mins(1);
const PATIENCE_PER_FILE: Duration = Duration::from_millis(50);
/// Between two looks at a directory or at the ledger.
const LOOK: Duration = Duration::from_millis(20);

/// Rest of a rule whose transfer failed.
const REPAIR: Duration = Duration::from_secs(1);

/// How a delivery must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// As two copies off site, and gone on site.
    Released,
    /// In `invalid/`.
    Rejected,
    /// On site, untouched, until an operator has decided.
    Kept,
}

/// A file as it was delivered, perhaps several times.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// Relative to the data root.
    pub(crate) path: PathBuf,
    pub(crate) content: Arc<Vec<u8>>,
    pub(crate) fate: Fate,
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
    /// By how much a test has set the daemon's clock forward, in seconds.
    ahead: AtomicU64,
    pub(super) deliveries: Mutex<BTreeMap<PathBuf, Delivery>>,
    /// Rules that somebody else has ended at once, by id: none of the daemon's any more.
    pub(super) ended_by_others: Mutex<BTreeSet<String>>,
    /// Files that had left, or were leaving, when the ledger was lost: it does not know them any more.
    pub(super) forgotten: Mutex<BTreeSet<PathBuf>>,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let quick = Duration::from_millis(20);
        let pace = Pace { judge: quick, conveyor: quick, reaper: quick, repair: REPAIR, ..Pace::default() };
        let rucio = Embedded::start(Options { pace, ..Options::new(root.path()) }).await.unwrap();
        let site = Self {
            root,
            rucio,
            ahead: AtomicU64::default(),
            deliveries: Mutex::default(),
            ended_by_others: Mutex::default(),
            forgotten: Mutex::default(),
        };
        fs::create_dir_all(site.state()).unwrap();
        site.make_tree();
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

    /// The observatory's directories below the interface directory.
    pub(crate) fn make_tree(&self) {
        fs::create_dir_all(self.storage(1).join("ctao/acada")).unwrap();
    }

    /// Changes the configuration's text, which the daemon takes over when it is told to, or started.
    pub(crate) fn change(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(self.config(), text.replace(from, to)).unwrap();
    }

    /// For very many files: the limit as shipped keeps all but 20,000 for an hour.
    pub(crate) fn lift_limits_of_an_hour(&self) {
        self.change("deletion: on,", "deletion: on, max_files_per_hour: 1000000,");
    }

    /// What a command says of this site.
    pub(crate) fn say(&self, words: &[&str]) -> Said {
        say(&[words, &["--config", self.config().to_str().unwrap()]].concat())
    }

    /// The operator decides, after a contradiction was looked at.
    pub(crate) fn go_on(&self, delivery: &Delivery) {
        for words in [["breaker", "reset"].as_slice(), &["retry", &delivery.lfn()]] {
            let said = self.say(&[words, &["--reason", "it was looked at"]].concat());
            assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        }
    }

    /// What the daemon records from now on is so much ahead of what Rucio does.
    pub(crate) fn set_clock_ahead(&self, by: Duration) {
        self.ahead.store(by.as_secs(), Ordering::Relaxed);
    }

    pub(crate) fn clock_ahead(&self) -> Duration {
        Duration::from_secs(self.ahead.load(Ordering::Relaxed))
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// The file that stops all releases while it is there.
    pub(crate) fn kill_switch(&self) -> PathBuf {
        self.state().join("stop-releases")
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
        self.deliveries.lock().unwrap().values().cloned().collect()
    }

    /// Delivers a file as ACADA does: the data first, then its trigger.
    pub(crate) fn deliver(&self, path: &str, content: Vec<u8>, fate: Fate) -> Delivery {
        let delivery =
            Delivery { path: path.into(), content: Arc::new(content), fate, leftover: false, inodes: Vec::new() };
        self.write(delivery)
    }

    /// Delivers a good file that Rucio will leave on disk.
    pub(crate) fn deliver_leftover(&self, path: &str, content: Vec<u8>) -> Delivery {
        let content = Arc::new(content);
        let delivery =
            Delivery { path: path.into(), content, fate: Fate::Released, leftover: true, inodes: Vec::new() };
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
        // on the same file system, and nowhere where the daemon looks
        let arriving = self.storage(1).join("arriving");
        fs::write(&arriving, &*delivery.content).unwrap();
        delivery.inodes.push(fs::metadata(&arriving).unwrap().ino());
        // known to the watcher from the moment it is there, not before
        let mut deliveries = self.deliveries.lock().unwrap();
        fs::rename(&arriving, &path).unwrap();
        deliveries.insert(delivery.path.clone(), delivery.clone());
        drop(deliveries);
        self.trigger(&delivery);
        delivery
    }

    /// What was delivered has become something else, or must end otherwise.
    pub(crate) fn expect(&self, delivery: &Delivery) {
        self.deliveries.lock().unwrap().insert(delivery.path.clone(), delivery.clone());
    }

    /// Whether this is still the delivery that is expected under its name. Whoever exchanges the file and the expectation
    /// holds the lock from before the one to after the other.
    pub(super) fn is_expected(&self, delivery: &Delivery) -> bool {
        let deliveries = self.deliveries.lock().unwrap();
        deliveries.get(&delivery.path).is_some_and(|now| {
            Arc::ptr_eq(&now.content, &delivery.content) && now.fate == delivery.fate && now.inodes == delivery.inodes
        })
    }

    pub(crate) fn trigger(&self, delivery: &Delivery) {
        symlink(delivery.path.file_name().unwrap(), self.trigger_path(delivery)).unwrap();
    }

    pub(crate) fn trigger_path(&self, delivery: &Delivery) -> PathBuf {
        self.storage(1).join(format!("{}.trigger", delivery.path.display()))
    }

    /// Waits until the daemon has removed a trigger.
    pub(crate) async fn until_trigger_gone(&self, delivery: &Delivery) {
        let path = self.trigger_path(delivery);
        let what = format!("the trigger of {}", delivery.lfn());
        self.until(&what, || std::future::ready(path.symlink_metadata().is_err())).await;
    }

    /// The datasets in which nothing is left to be done: none of their files is kept on site, or unknown to the ledger.
    pub(crate) fn quiet_datasets(&self) -> BTreeSet<Did> {
        let deliveries = self.deliveries();
        let of = |fate| deliveries.iter().filter(move |delivery| delivery.fate == fate).map(Delivery::dataset);
        let forgotten = deliveries.iter().filter(|delivery| self.is_forgotten(delivery)).map(Delivery::dataset);
        let open: BTreeSet<Did> = of(Fate::Kept).chain(forgotten).collect();
        of(Fate::Released).filter(|dataset| !open.contains(dataset)).collect()
    }

    /// Another file comes in the place of this one; from now on that is what is expected there.
    pub(crate) fn replace(&self, delivery: &Delivery, content: Vec<u8>) {
        fs::write(self.storage(1).join(&delivery.path), &content).unwrap();
        self.expect(&Delivery { content: Arc::new(content), ..delivery.clone() });
    }

    /// Waits until the ledger has no file on its road any more, and every quiet dataset is settled.
    pub(crate) async fn until_settled(&self) {
        let path = self.state().join("ledger.db");
        self.until("the end of all files' roads", || async {
            let Ok(ledger) = Ledger::open_read_only(&path).await else { return false };
            let summary = ledger.summary().await.unwrap_or_default();
            let mut expected = self.deliveries();
            expected.retain(|delivery| !self.is_forgotten(delivery));
            let mut settled = true;
            for dataset in self.quiet_datasets() {
                settled &= ledger.settlement(&dataset).await.is_ok_and(|known| known.settled_at.is_some());
                settled &= ledger
                    .resting(&dataset)
                    .await
                    .is_ok_and(|rows| rows.iter().all(|row| row.further_copies_rule.is_none()));
            }
            ledger.close().await;
            let ends =
                [(Fate::Released, State::Released), (Fate::Rejected, State::Rejected), (Fate::Kept, State::Held)];
            let ended = |(fate, state)| {
                let files = summary.iter().find(|row| row.state == state).map_or(0, |row| row.files);
                usize::try_from(files) == Ok(expected.iter().filter(|delivery| delivery.fate == fate).count())
            };
            // the trigger of a file that is held stays, as a sign to whoever delivered it
            let open = |delivery: &Delivery| {
                delivery.fate != Fate::Kept && self.trigger_path(delivery).symlink_metadata().is_ok()
            };
            settled && ends.into_iter().all(ended) && !expected.iter().any(open)
        })
        .await;
    }

    /// Files and datasets that are not where they should be in the end, and what is known of them.
    async fn open_ends(&self) -> Vec<String> {
        let mut open = Vec::new();
        for delivery in self.deliveries() {
            let row = self.row(&delivery).await;
            let state = row.as_ref().map(|row| row.state);
            let end = match delivery.fate {
                Fate::Released => State::Released,
                Fate::Rejected => State::Rejected,
                Fate::Kept => State::Held,
            };
            let trigger = self.trigger_path(&delivery).symlink_metadata().is_ok();
            if state != Some(end) || (trigger && delivery.fate != Fate::Kept) {
                let there = self.storage(1).join(&delivery.path).exists();
                let said = row.map(|row| (row.waits_for, row.reason, row.trigger_pending, row.delivery));
                open.push(format!("{}: {state:?}, on site {there}, trigger {trigger}, {said:?}", delivery.lfn()));
            }
        }
        if let Ok(ledger) = Ledger::open_read_only(&self.state().join("ledger.db")).await {
            for dataset in self.quiet_datasets() {
                match ledger.settlement(&dataset).await {
                    Ok(known) if known.settled_at.is_some() => {}
                    other => open.push(format!("{dataset}: {other:?}")),
                }
            }
            ledger.close().await;
        }
        open.truncate(30);
        open
    }

    /// What the ledger says of a file.
    pub(crate) async fn row(&self, delivery: &Delivery) -> Option<FileRow> {
        let ledger = Ledger::open_read_only(&self.state().join("ledger.db")).await.ok()?;
        let row = ledger.by_lfn(&delivery.lfn()).await.ok().flatten();
        ledger.close().await;
        row
    }

    /// Waits until the ledger says something of a file.
    pub(crate) async fn until_row(&self, delivery: &Delivery, what: &str, is_so: impl Fn(&FileRow) -> bool) -> FileRow {
        self.until(what, || async { self.row(delivery).await.is_some_and(|row| is_so(&row)) }).await;
        self.row(delivery).await.unwrap()
    }

    /// Waits until a file is in a state.
    pub(crate) async fn until_state(&self, delivery: &Delivery, state: State) -> FileRow {
        self.until_row(delivery, &format!("{} to be {state}", delivery.lfn()), |row| row.state == state).await
    }

    /// Makes a file's state so much older. The daemon must not run.
    pub(crate) async fn age(&self, delivery: &Delivery, by: Duration) {
        let url = format!("sqlite://{}", self.state().join("ledger.db").display());
        let mut ledger = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let aged = sqlx::query("UPDATE files SET state_since = state_since - $1, next_attempt = 0 WHERE lfn = $2")
            .bind(i64::try_from(by.as_millis()).unwrap())
            .bind(delivery.lfn())
            .execute(&mut ledger)
            .await
            .unwrap();
        assert_eq!(aged.rows_affected(), 1);
        ledger.close().await.unwrap();
    }

    pub(crate) async fn until<F: Future<Output = bool>>(&self, what: &str, condition: impl Fn() -> F) {
        let begun = Instant::now();
        loop {
            let look = Instant::now();
            if condition().await {
                return;
            }
            let files = u32::try_from(self.deliveries.lock().unwrap().len()).unwrap();
            if begun.elapsed() > PATIENCE + PATIENCE_PER_FILE * files {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(20).collect();
                let (open, last) = (self.open_ends().await.join("\n"), last.join("\n"));
                panic!(
                    "waiting in vain for {what}; not at their ends:\n{open}\nthe daemon's last words, latest first:\n{last}"
                );
            }
            // a look at many files takes a share of the time only
            tokio::time::sleep(LOOK.max(look.elapsed() * 3)).await;
        }
    }
}

/// A real DL0 file of ACADA's mock, by a part of its name.
pub(crate) fn fixture(part: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dl0");
    let mut found = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    fs::read(found.find(|path| path.to_string_lossy().contains(part)).unwrap()).unwrap()
}
