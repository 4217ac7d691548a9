//! A whole site in one process: interface directory, embedded Rucio with three storages, and the daemon on top.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dl0_ingest::config::Config;
use dl0_ingest::custody::State;
use dl0_ingest::daemon;
use dl0_ingest::embedded::{Daemon as RucioDaemon, Embedded, Event, Options};
use dl0_ingest::ledger::{EventRow, FileRow, Ledger, Settlement, WrongTrigger};
use dl0_ingest::names::Did;
use sqlx::Connection as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Directory that the tests deliver into, relative to the data root.
pub(crate) const DAY: &str = "ctao/acada/dl0/LST/events/2026/01/01";
/// No step of these tests takes anything like this long.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Site {
    pub(crate) root: tempfile::TempDir,
    pub(crate) rucio: Embedded,
    pub(crate) extra: String,
}

pub(crate) struct Daemon {
    stop: CancellationToken,
    task: Option<JoinHandle<Result<(), daemon::Error>>>,
}

impl Drop for Daemon {
    /// A test that fails must not wait for a daemon that nobody stops.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Site {
    /// A site whose configuration ends with `extra`, which may repeat no key.
    pub(crate) async fn new(extra: &str) -> Self {
        Self::with(extra, |_| {}).await
    }

    /// A site whose Rucio is set up differently.
    pub(crate) async fn with(extra: &str, change: impl FnOnce(&mut Options)) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut options = Options::new(root.path().join("rucio"));
        change(&mut options);
        let rucio = Embedded::start(options).await.unwrap();
        let site = Self { root, rucio, extra: extra.to_owned() };
        fs::create_dir_all(site.data().join(DAY)).unwrap();
        fs::write(site.root.path().join("password"), "ingestpw\n").unwrap();
        site
    }

    /// The interface directory, which is the storage of STORAGE-1.
    pub(crate) fn data(&self) -> PathBuf {
        Options::new(self.root.path().join("rucio")).rses[0].directory.clone()
    }

    pub(crate) fn storage(&self, number: usize) -> PathBuf {
        Options::new(self.root.path().join("rucio")).rses[number - 1].directory.clone()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.data().join(DAY).join(name)
    }

    pub(crate) fn config(&self) -> Config {
        self.config_with(|text| text)
    }

    /// The configuration after a change to its text.
    pub(crate) fn config_with(&self, change: impl FnOnce(String) -> String) -> Config {
        let text = format!(
            "data_path: {data}\nstate_dir: {state}\nonsite_rse: STORAGE-1\noffsite: {{expression: OFFSITE}}\n\
             rucio:\n  url: {url}\n  account: ingest\n  auth: {{userpass: {{password_file: {password}}}}}\n\
             http: {{listen: null}}\nintake: {{scan_interval: 500ms, early_after: 1s}}\n\
             replicate: {{poll: 50ms, poll_max: 200ms}}\nretry: {{initial: 50ms, max: 500ms}}\n{extra}",
            data = self.data().display(),
            state = self.root.path().join("state").display(),
            url = self.rucio.url(),
            password = self.root.path().join("password").display(),
            extra = self.extra,
        );
        let file = self.root.path().join("dl0-ingest.yaml");
        fs::write(&file, change(text)).unwrap();
        Config::load(&file).unwrap().config
    }

    pub(crate) fn start(&self) -> Daemon {
        Daemon::start(self.config())
    }

    /// A daemon without a limit of releases an hour.
    pub(crate) fn start_unlimited(&self) -> Daemon {
        Daemon::start(self.config_with(|text| text.replace("max_files_per_hour: 5", "max_files_per_hour: 5000")))
    }

    /// The daemon's own directory, made before its start.
    pub(crate) fn state(&self) -> PathBuf {
        let state = self.root.path().join("state");
        fs::create_dir_all(&state).unwrap();
        state
    }

    /// A daemon that reads the configuration again as it stands after SIGHUP.
    pub(crate) fn start_reloadable(&self) -> Daemon {
        let file = self.root.path().join("dl0-ingest.yaml");
        let reload = move || Config::load(&file).map(|loaded| loaded.config).map_err(|error| error.to_string());
        Daemon::start_with(self.config(), Some(Box::new(reload)))
    }

    /// The ledger as an operator's command opens it, beside the running daemon.
    pub(crate) async fn operate(&self) -> Ledger {
        Ledger::open_for_operator(&self.root.path().join("state/ledger.db")).await.unwrap()
    }

    /// Writes a file and its trigger, as ACADA does. Returns its LFN.
    pub(crate) fn deliver(&self, name: &str, content: &[u8]) -> String {
        fs::write(self.path(name), content).unwrap();
        self.trigger(name);
        lfn(name)
    }

    pub(crate) fn trigger(&self, name: &str) {
        symlink(name, self.path(&format!("{name}.trigger"))).unwrap();
    }

    pub(crate) fn has_trigger(&self, name: &str) -> bool {
        self.path(&format!("{name}.trigger")).symlink_metadata().is_ok()
    }

    /// The ledger, read beside the running daemon as an operator would.
    pub(crate) async fn row(&self, lfn: &str) -> Option<FileRow> {
        let path = self.root.path().join("state/ledger.db");
        let ledger = Ledger::open_read_only(&path).await.ok()?;
        let row = ledger.by_lfn(lfn).await.ok().flatten();
        ledger.close().await;
        row
    }

    /// Makes a file's state so much older. The daemon must not run.
    pub(crate) async fn age(&self, lfn: &str, by: Duration) {
        let path = self.root.path().join("state/ledger.db");
        let url = format!("sqlite://{}", path.display());
        let mut ledger = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let aged = sqlx::query("UPDATE files SET state_since = state_since - $1, next_attempt = 0 WHERE lfn = $2")
            .bind(i64::try_from(by.as_millis()).unwrap())
            .bind(lfn)
            .execute(&mut ledger)
            .await
            .unwrap();
        assert_eq!(aged.rows_affected(), 1);
        ledger.close().await.unwrap();
    }

    /// Makes the order of a file's release so much older. The daemon must not run.
    pub(crate) async fn age_order(&self, lfn: &str, by: Duration) {
        let url = format!("sqlite://{}", self.root.path().join("state/ledger.db").display());
        let mut ledger = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let aged = sqlx::query(
            "UPDATE files SET release_ordered_at = release_ordered_at - $1, next_attempt = 0
             WHERE lfn = $2 AND release_ordered_at IS NOT NULL",
        )
        .bind(i64::try_from(by.as_millis()).unwrap())
        .bind(lfn);
        assert_eq!(aged.execute(&mut ledger).await.unwrap().rows_affected(), 1);
        ledger.close().await.unwrap();
    }

    /// Takes the evidence of a file out of the ledger, or puts other evidence there. Without a daemon.
    pub(crate) async fn forge_evidence(&self, lfn: &str, evidence: Option<&str>) {
        let url = format!("sqlite://{}", self.root.path().join("state/ledger.db").display());
        let mut ledger = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let forge = sqlx::query("UPDATE files SET last_evidence = $2, next_attempt = 0 WHERE lfn = $1");
        let forge = forge.bind(lfn).bind(evidence);
        assert_eq!(forge.execute(&mut ledger).await.unwrap().rows_affected(), 1);
        ledger.close().await.unwrap();
    }

    /// Has the ledger know of a second delivery, which lies there now, that is not compared yet. Without a daemon.
    pub(crate) async fn remember_redelivery(&self, row: &FileRow, found: &Path) {
        let stat = rustix::fs::stat(found).unwrap();
        let path = format!("sqlite://{}", self.root.path().join("state/ledger.db").display());
        let mut ledger = sqlx::SqliteConnection::connect(&path).await.unwrap();
        let insert = "INSERT INTO redeliveries (file_id, bytes, mtime_ns, inode, seen_at, next_attempt)
                      VALUES ($1, $2, $3, $4, 0, 0)";
        let mtime_ns = stat.st_mtime * 1_000_000_000 + i64::try_from(stat.st_mtime_nsec).unwrap();
        let insert = sqlx::query(insert)
            .bind(row.id)
            .bind(stat.st_size)
            .bind(mtime_ns)
            .bind(i64::try_from(stat.st_ino).unwrap());
        insert.execute(&mut ledger).await.unwrap();
        ledger.close().await.unwrap();
    }

    /// The datasets' state of settling, waited for.
    pub(crate) async fn until_settlement(&self, dataset: &Did, condition: impl Fn(&Settlement) -> bool) -> Settlement {
        let started = Instant::now();
        loop {
            let ledger = Ledger::open_read_only(&self.root.path().join("state/ledger.db")).await.unwrap();
            let known = ledger.settlement(dataset).await.unwrap();
            ledger.close().await;
            if condition(&known) {
                return known;
            }
            assert!(started.elapsed() < PATIENCE, "{dataset} stays as it is: {known:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What happened to a file so far.
    pub(crate) async fn events(&self, row: &FileRow) -> Vec<EventRow> {
        let ledger = Ledger::open_read_only(&self.root.path().join("state/ledger.db")).await.unwrap();
        let events = ledger.events(row).await.unwrap();
        ledger.close().await;
        events
    }

    /// The wrong triggers on record, by path.
    pub(crate) async fn wrong_triggers(&self) -> Vec<WrongTrigger> {
        let path = self.root.path().join("state/ledger.db");
        let Ok(ledger) = Ledger::open_read_only(&path).await else { return Vec::new() };
        let wrong = ledger.wrong_triggers().await.unwrap_or_default();
        ledger.close().await;
        wrong
    }

    /// Waits until the wrong triggers on record are as expected.
    pub(crate) async fn until_wrong(&self, condition: impl Fn(&[WrongTrigger]) -> bool) {
        let started = Instant::now();
        loop {
            let wrong = self.wrong_triggers().await;
            if condition(&wrong) {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "the wrong triggers stay as they are: {wrong:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a file is in a state; tells where it is stuck otherwise.
    pub(crate) async fn until(&self, lfn: &str, state: State) -> FileRow {
        self.until_row(lfn, |row| row.state == state).await
    }

    pub(crate) async fn until_row(&self, lfn: &str, condition: impl Fn(&FileRow) -> bool) -> FileRow {
        self.until_row_within(PATIENCE, lfn, condition).await
    }

    pub(crate) async fn until_row_within(
        &self,
        patience: Duration,
        lfn: &str,
        condition: impl Fn(&FileRow) -> bool,
    ) -> FileRow {
        let started = Instant::now();
        loop {
            let row = self.row(lfn).await;
            if let Some(row) = row.clone().filter(&condition) {
                return row;
            }
            assert!(started.elapsed() < patience, "{lfn} is stuck: {row:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Daemon {
    pub(crate) fn start(config: Config) -> Self {
        Self::start_with(config, None)
    }

    fn start_with(config: Config, reload: Option<daemon::Reload>) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(daemon::run(config, reload, stop.clone()));
        Self { stop, task: Some(task) }
    }

    /// Stops it in good order.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        self.task.take().unwrap().await.unwrap().unwrap();
    }
}

/// A file whose first copy has come, and whose further one is ordered and does not come: Rucio's conveyor stands still. It
/// must be slow enough to be stopped between the two.
pub(crate) async fn with_first_copy_only(site: &Site, name: &str) -> (Daemon, FileRow) {
    with_first_copy_only_by(site.start(), site, name).await
}

/// The same with a daemon that is there already.
pub(crate) async fn with_first_copy_only_by(daemon: Daemon, site: &Site, name: &str) -> (Daemon, FileRow) {
    let lfn = site.deliver(name, &fixture("SUBARRAY"));
    let came = |event: &Event| matches!(event, Event::Available { did, rse } if did.name == lfn && rse != "STORAGE-1");
    site.rucio.until(|history| history.iter().any(|entry| came(&entry.event))).await;
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    let row = site.until_row(&lfn, |row| row.state == State::Replicated && row.waits_for.is_some()).await;
    (daemon, row)
}

pub(crate) fn lfn(name: &str) -> String {
    format!("/{DAY}/{name}")
}

/// A real DL0 file of ACADA's mock, by a part of its name.
pub(crate) fn fixture(part: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dl0");
    let found = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let path = found.into_iter().find(|path| path.to_string_lossy().contains(part)).unwrap();
    fs::read(path).unwrap()
}
