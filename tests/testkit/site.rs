//! A site: interface directory, a Rucio in miniature with three storages, configuration, and what was delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dl0_ingest::config::Config;
use rucio_miniature::{Miniature, Options, Pace};

use super::command::{Said, configuration, say, try_to_ask};
use super::deliveries::Delivery;

/// Directory that the tests deliver into, relative to the data root.
pub(crate) const DAY: &str = "ctao/acada/dl0/LST/events/2026/01/01";

/// No step takes anything like this long, and this for each file.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
const PATIENCE_PER_FILE: Duration = Duration::from_millis(50);
/// Between two looks at a directory or at the ledger.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// Rest of a rule whose transfer failed, at a site in haste.
const REPAIR: Duration = Duration::from_secs(1);

/// Short waits, and nothing is deleted unless the test says so.
const CALM: &str = "http: {listen: null}\nintake: {scan_interval: 500ms, early_after: 1s}\n\
                    replicate: {poll: 50ms, poll_max: 200ms}\nretry: {initial: 50ms, max: 500ms}\n";
/// The shortest waits that are still waits; files are released as soon as they may be.
const HASTE: &str = "http: {listen: null}\nlog: {format: json}\nintake: {scan_interval: 200ms, early_after: 10s}\n\
                     register: {gather: 50ms}\nreplicate: {poll: 20ms, poll_max: 100ms}\n\
                     confirm: {hold: 100ms, poll: 20ms, poll_max: 100ms}\n\
                     release: {deletion: on, poll: 20ms, poll_max: 100ms, leftover: remove, leftover_grace: 100ms}\n\
                     retry: {initial: 20ms, max: 200ms}\nsettle: {after: 500ms}\n";
/// The daemon's own defaults.
const DEFAULTS: &str = "http: {listen: null}\nlog: {format: json}\n";

/// A site of a test's own, gone with the value.
pub(crate) struct Site {
    root: tempfile::TempDir,
    pub(crate) rucio: Miniature,
    /// By how much a test has set the daemon's clock forward, in seconds.
    ahead: AtomicU64,
    pub(super) deliveries: Mutex<BTreeMap<PathBuf, Delivery>>,
    /// Rules that somebody else has ended at once, by id: none of the daemon's any more.
    pub(super) ended_by_others: Mutex<BTreeSet<String>>,
    /// Files that had left, or were leaving, when the ledger was lost: it does not know them any more.
    pub(super) forgotten: Mutex<BTreeSet<PathBuf>>,
    /// What the configuration says unless a test has just changed it.
    text: Mutex<String>,
    /// Where a calm site's own end begins in it.
    own_end: usize,
}

impl Site {
    /// A calm site whose configuration ends with `extra`, which may repeat no key.
    pub(crate) async fn new(extra: &str) -> Self {
        Self::with(extra, |_| {}).await
    }

    /// The same, with a Rucio that is set up differently.
    pub(crate) async fn with(extra: &str, change: impl FnOnce(&mut Options)) -> Self {
        let mut site = Self::set_up(&format!("{CALM}{extra}"), change).await;
        site.own_end = site.text.lock().unwrap().len() - extra.len();
        fs::create_dir_all(site.data().join(DAY)).unwrap();
        site
    }

    /// A site where everything is done as soon as may be, by the daemon and by Rucio.
    pub(crate) async fn in_haste() -> Self {
        let quick = Duration::from_millis(20);
        let pace = Pace { judge: quick, conveyor: quick, reaper: quick, repair: REPAIR, ..Pace::default() };
        Self::set_up(HASTE, |options| options.pace = pace).await
    }

    /// A site with the daemon's defaults, for its command line.
    pub(crate) async fn with_defaults() -> Self {
        Self::set_up(DEFAULTS, |_| {}).await
    }

    async fn set_up(settings: &str, change: impl FnOnce(&mut Options)) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut options = Options::new(root.path());
        change(&mut options);
        let rucio = Miniature::start(options).await.unwrap();
        let text = configuration(root.path(), &data(root.path()), rucio.url().as_str()) + settings;
        let site = Self {
            root,
            rucio,
            ahead: AtomicU64::default(),
            deliveries: Mutex::default(),
            ended_by_others: Mutex::default(),
            forgotten: Mutex::default(),
            own_end: text.len(),
            text: Mutex::new(text),
        };
        site.make_tree();
        site.write_configuration(|text| text);
        site
    }

    /// The observatory's directories below the interface directory.
    pub(crate) fn make_tree(&self) {
        fs::create_dir_all(self.data().join("ctao/acada")).unwrap();
    }

    /// The configuration, written anew as it was at first, or as it was changed for good.
    pub(crate) fn config(&self) -> Config {
        self.config_with(|text| text)
    }

    /// The configuration after a change to its text that the next one does not know of.
    pub(crate) fn config_with(&self, change: impl FnOnce(String) -> String) -> Config {
        self.write_configuration(change);
        Config::load(&self.config_file()).unwrap().config
    }

    fn write_configuration(&self, change: impl FnOnce(String) -> String) {
        fs::write(self.config_file(), change(self.text.lock().unwrap().clone())).unwrap();
    }

    /// Lets the configuration of a calm site end otherwise for good.
    pub(crate) fn end_with(&self, extra: &str) {
        self.text.lock().unwrap().replace_range(self.own_end.., extra);
    }

    /// Has the daemon serve metrics and health, on a port that was free a moment ago.
    pub(crate) fn listens(&self) -> SocketAddr {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        self.change("http: {listen: null}", &format!("http: {{listen: '{address}'}}"));
        address
    }

    /// Waits until the daemon's endpoint answers what is wanted; a daemon looks at itself every two seconds.
    pub(crate) async fn until_answer(&self, at: SocketAddr, path: &str, wanted: impl Fn(&str) -> bool) -> String {
        let last = Mutex::new(String::new());
        self.until(&format!("{path} to say it"), || async {
            *last.lock().unwrap() = try_to_ask(at, path).unwrap_or_default();
            let said = last.lock().unwrap();
            wanted(&said)
        })
        .await;
        last.into_inner().unwrap()
    }

    /// Changes the configuration's text for good, which the daemon takes over when it is told to, or started.
    pub(crate) fn change(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config_file()).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        *self.text.lock().unwrap() = text.replace(from, to);
        self.write_configuration(|text| text);
    }

    /// More releases an hour than any test has files.
    pub(crate) fn lift_limits_of_an_hour(&self) {
        self.change("deletion: on,", "deletion: on, max_files_per_hour: 1000000,");
    }

    /// What a command says of this site.
    pub(crate) fn say(&self, words: &[&str]) -> Said {
        say(&[words, &["--config", self.config_file().to_str().unwrap()]].concat())
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

    /// Everything of the site lies below this directory.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// The file that stops all releases while it is there.
    pub(crate) fn kill_switch(&self) -> PathBuf {
        self.state().join("stop-releases")
    }

    /// Where the configuration is.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.root.path().join("dl0-ingest.yaml")
    }

    /// The daemon's own directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    /// Where the ledger is.
    pub(crate) fn ledger_file(&self) -> PathBuf {
        self.state().join("ledger.db")
    }

    /// What daemons that are processes have logged.
    pub(crate) fn log(&self) -> PathBuf {
        self.root.path().join("daemon.log")
    }

    /// The points that a daemon has passed, if it lists them.
    pub(crate) fn points(&self) -> PathBuf {
        self.root.path().join("points")
    }

    /// The interface directory, which is the storage of STORAGE-1.
    pub(crate) fn data(&self) -> PathBuf {
        data(self.root.path())
    }

    /// Where a file of [`DAY`] lies on site.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.data().join(DAY).join(name)
    }

    /// The directory of STORAGE-`number`; that of the first is the interface directory.
    pub(crate) fn storage(&self, number: u32) -> PathBuf {
        self.root.path().join(format!("storage-{number}"))
    }

    /// How long a step may take with what was delivered so far.
    pub(super) fn patience(&self) -> Duration {
        PATIENCE + PATIENCE_PER_FILE * u32::try_from(self.deliveries.lock().unwrap().len()).unwrap()
    }

    /// What a failing test should show.
    pub(super) async fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(20).collect();
        let (open, last) = (self.open_ends().await.join("\n"), last.join("\n"));
        format!("not at their ends:\n{open}\nthe daemon's last words, latest first:\n{last}")
    }

    /// Waits for a condition.
    pub(crate) async fn until<F: Future<Output = bool>>(&self, what: &str, condition: impl Fn() -> F) {
        self.until_step_by_step(what, || async { if condition().await { Ok(()) } else { Err(String::new()) } }).await;
    }

    /// Waits for what comes step by step: an error says where it has got to. Whatever moves is waited for longer, but not
    /// for ever.
    pub(super) async fn until_step_by_step<F: Future<Output = Result<(), String>>>(
        &self,
        what: &str,
        condition: impl Fn() -> F,
    ) {
        let begun = Instant::now();
        let (mut moved, mut place) = (begun, String::new());
        loop {
            let look = Instant::now();
            let Err(now_at) = condition().await else { return };
            if now_at != place {
                (moved, place) = (look, now_at);
            }
            if moved.elapsed() > self.patience() || begun.elapsed() > self.patience() * 3 {
                let words = self.last_words().await;
                panic!("waiting in vain for {what}; {words}");
            }
            // a look at many files takes a share of the time only
            tokio::time::sleep(LOOK.max(look.elapsed() * 3)).await;
        }
    }
}

/// The interface directory of a site.
fn data(root: &Path) -> PathBuf {
    Options::new(root).rses[0].directory.clone()
}

/// The LFN of a file of [`DAY`].
pub(crate) fn lfn(name: &str) -> String {
    format!("/{DAY}/{name}")
}
