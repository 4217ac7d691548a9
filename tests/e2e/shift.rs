//! Some hours at work: files are delivered while something goes wrong, and all leave the site in order at the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dl0_ingest::ledger::FileRow;
use rucio_miniature::Faults;
use serde_json::{Value, json};

use tokio::sync::OwnedMutexGuard;

use crate::e2e::acada::{Deliveries, Delivery, directory, fixture, pull_trigger, write};
use crate::e2e::daemon::Daemon;
use crate::e2e::outcome::{
    assert_metadata_is_right, assert_no_promise_was_broken, assert_on_record, assert_released, assert_settled,
    wait_for, wait_for_release,
};
use crate::e2e::stack::{Stack, new_night};
use crate::e2e::watch::Witness;
use crate::testkit::proxy::Proxy;
use crate::testkit::rucio::Rucio;

/// A daemon at work, and a witness who looks on.
pub(crate) struct Shift {
    pub(crate) stack: Arc<Stack>,
    pub(crate) rucio: Rucio,
    pub(crate) daemon: Daemon,
    deliveries: Deliveries,
    directory: PathBuf,
    /// What the proxy before Rucio spoils, if there is one.
    faults: Option<Faults>,
    /// Until it has testified.
    witness: Option<Witness>,
}

impl Shift {
    pub(crate) async fn begin() -> Self {
        Self::with(Arc::new(Stack::find()), Vec::new(), |text| text).await
    }

    /// With a proxy between the daemon and Rucio, and what it spoils from the daemon's start on.
    pub(crate) async fn behind_a_proxy(plan: impl FnOnce(&Faults)) -> (Self, Proxy) {
        let stack = Arc::new(Stack::find());
        let proxy = stack.proxy();
        plan(proxy.faults());
        let shift = Self::with(Arc::clone(&stack), Vec::new(), |text| {
            text.replace(&stack.rucio_url, proxy.url()).replace("timeout: 20s", "timeout: 4s\n  connect_timeout: 4s")
        })
        .await;
        (Self { faults: Some(proxy.faults().clone()), ..shift }, proxy)
    }

    async fn with(
        stack: Arc<Stack>,
        environment: Vec<(String, String)>,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let rucio = stack.rucio().await;
        let (directory, deliveries) = (directory(&stack, new_night(&stack)), Deliveries::default());
        let daemon = Daemon::start_with(&stack, environment, change);
        let witness = Some(Witness::start(&stack, &rucio, &deliveries));
        Self { stack, rucio, daemon, deliveries, directory, faults: None, witness }
    }

    /// The same, and the configuration is changed.
    pub(crate) async fn with_configuration(change: impl FnOnce(String) -> String) -> Self {
        Self::with(Arc::new(Stack::find()), Vec::new(), change).await
    }

    /// The same, and each life of the daemon has this environment.
    pub(crate) async fn with_environment(environment: Vec<(String, String)>) -> Self {
        Self::with(Arc::new(Stack::find()), environment, |text| text).await
    }

    /// Delivers a file as ACADA does.
    pub(crate) fn deliver(&self) -> Delivery {
        let number = self.deliveries.count();
        let path = self.directory.join(format!("TEL001_CHUNK{number:03}.fits.fz"));
        write(&path, &fixture(["CAL", "MUON", "SHOWER"][number % 3]));
        let delivery = self.note(&path);
        pull_trigger(&path);
        delivery
    }

    /// A file counts as delivered, with the content that it has now.
    pub(crate) fn note(&self, path: &Path) -> Delivery {
        self.deliveries.note(&self.stack, path)
    }

    /// The witness does not look at the storages until the returned value goes.
    pub(crate) async fn look_away(&self) -> OwnedMutexGuard<()> {
        self.witness.as_ref().expect("has testified already").look_away().await
    }

    /// The witness does not ask Rucio until the returned value goes.
    pub(crate) async fn do_not_ask(&self) -> OwnedMutexGuard<()> {
        self.witness.as_ref().expect("has testified already").do_not_ask().await
    }

    /// Where this night's files lie.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Everything delivered so far.
    pub(crate) fn delivered(&self) -> Vec<Delivery> {
        self.deliveries.all()
    }

    /// Delivers one file after the other.
    pub(crate) async fn deliver_some(&self, count: usize, pause: Duration) {
        for _ in 0..count {
            self.deliver();
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits for something, with the daemon alive all the while.
    pub(crate) async fn until(&mut self, what: &str, happened: impl FnMut(&Self) -> bool) {
        self.until_within(Duration::from_mins(1), what, happened).await;
    }

    /// The same, with a limit of its own.
    pub(crate) async fn until_within(&mut self, limit: Duration, what: &str, mut happened: impl FnMut(&Self) -> bool) {
        // the daemon is needed by both sides: by the wait to see it alive, by the condition to be asked
        let started = Instant::now();
        while !tokio::task::block_in_place(|| happened(&*self)) {
            assert!(self.daemon.is_running(), "the daemon ended before this: {what}\n{}", self.daemon.last_words());
            assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("{:6.1} s  {what}", started.elapsed().as_secs_f64());
    }

    /// Waits until the ledger has this of a file.
    pub(crate) async fn until_row(&self, lfn: &str, what: &str, is_it: impl Fn(&FileRow) -> bool) -> FileRow {
        let started = Instant::now();
        loop {
            let row = self.daemon.rows().await.remove(lfn);
            if let Some(row) = row.as_ref().filter(|row| is_it(row)) {
                println!("{:6.1} s  {what}", started.elapsed().as_secs_f64());
                return row.clone();
            }
            assert!(started.elapsed() < Duration::from_mins(1), "not within a minute: {what}: {row:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a file has so many copies at the data centres, for all that Rucio knows.
    pub(crate) async fn until_available(&mut self, lfn: &str, copies: usize) {
        let (stack, rucio, lfns) = (&self.stack, &self.rucio, [lfn.to_owned()]);
        wait_for(&format!("{copies} copies of {lfn}"), Duration::from_mins(1), &mut self.daemon, async || {
            let states = rucio.replica_states(&lfns).await.ok().and_then(|mut files| files.remove(&lfns[0]));
            let states = states.unwrap_or_default();
            stack.offsite().filter(|(rse, _)| states.get(*rse).is_some_and(|state| state == "AVAILABLE")).count()
                == copies
        })
        .await;
    }

    /// Nothing is rejected and nothing held.
    pub(crate) fn nobody_is_blamed(&mut self) {
        assert!(self.daemon.is_running(), "the daemon did not survive\n{}", self.daemon.last_words());
        let troubled: Vec<_> =
            self.states().into_iter().filter(|(_, state)| state == "rejected" || state == "held").collect();
        assert_eq!(troubled, [], "{}", self.daemon.last_words());
    }

    /// The daemon's word for this night's files; a ledger that was rebuilt also has those of other nights.
    pub(crate) fn states(&self) -> BTreeMap<String, String> {
        let night = self.stack.lfn(&self.directory);
        self.daemon.states().into_iter().filter(|(lfn, _)| lfn.starts_with(&night)).collect()
    }

    /// Waits until the daemon has ended by itself, or until something else has happened, which `None` tells.
    pub(crate) async fn ended_before(&mut self, other: impl Fn(&Self) -> bool) -> Option<ExitStatus> {
        let until = Instant::now() + Duration::from_mins(2);
        loop {
            if let Some(status) = self.daemon.end() {
                return Some(status);
            }
            if tokio::task::block_in_place(|| other(self)) {
                return None;
            }
            assert!(Instant::now() < until, "it neither ends nor goes on\n{}", self.daemon.last_words());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until all that was delivered so far is in a state.
    pub(crate) async fn until_all(&mut self, state: &str) {
        self.until(&format!("all are {state}"), |shift| {
            let states = shift.states();
            shift.delivered().iter().all(|delivery| states.get(&delivery.lfn).is_some_and(|found| found == state))
        })
        .await;
    }

    /// An operator's command succeeds.
    pub(crate) fn operate(&self, words: &[&str]) -> String {
        let output = self.daemon.command(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What `audit` finds among this night's files: code and LFN, sorted.
    pub(crate) fn findings(&self) -> Vec<(String, String)> {
        let words = ["audit", "--json", "--read", "--copies", "--min-age", "0s", "--settle", "1s"];
        let output = self.daemon.command(&words);
        let errors = String::from_utf8_lossy(&output.stderr);
        // other nights may have left something
        assert!(output.status.code().is_some_and(|code| code < 2), "{errors}");
        let night = self.stack.lfn(&self.directory);
        let text = String::from_utf8(output.stdout).unwrap();
        let found = text.lines().map(|line| {
            let found: Value = serde_json::from_str(line).unwrap();
            (found["code"].as_str().unwrap().to_owned(), found["file"].as_str().unwrap().to_owned())
        });
        let mut found: Vec<_> = found.filter(|(_, file)| file.starts_with(&night)).collect();
        found.sort();
        found
    }

    /// Every file leaves the site, none before two right copies were seen, and everything in Rucio is as it must be.
    /// Returns what the daemon has logged.
    pub(crate) async fn end(mut self) -> String {
        self.leave().await;
        assert_released(&self.stack, &self.rucio, &self.deliveries).await;
        self.conclude().await
    }

    /// The same, and the dataset ends with two rules, its files with none.
    pub(crate) async fn end_settled(mut self) -> String {
        self.leave().await;
        assert_settled(&self.stack, &self.rucio, &mut self.daemon, &self.deliveries).await;
        self.conclude().await
    }

    async fn leave(&mut self) {
        self.nobody_is_blamed();
        wait_for_release(&self.stack, &self.rucio, &mut self.daemon, &self.deliveries).await;
        // the commands that judge the night do not ask twice, as the daemon does
        if let Some(faults) = &self.faults {
            faults.answers_percent(0, 0, &[]);
        }
        self.witness.take().expect("has testified already").testify().await;
    }

    async fn conclude(mut self) -> String {
        assert_no_promise_was_broken(&self.stack, &self.rucio, &self.daemon, &self.deliveries).await;
        assert_metadata_is_right(&self.stack, &self.rucio, &self.deliveries).await;
        assert_on_record(&self.daemon, &self.delivered());
        assert_eq!(self.findings(), [], "what audit finds");
        self.daemon.stop();
        self.daemon.log()
    }

    /// Not one file has left the site.
    pub(crate) async fn end_with_all_on_site(mut self) {
        self.daemon.stop();
        assert_on_record(&self.daemon, &[]);
        self.witness.take().expect("has testified already").testify_that_all_stay().await;
    }

    /// Some have left the site, others were held or set aside: none has left too early.
    pub(crate) async fn end_with_some_on_site(mut self) {
        if self.daemon.is_running() {
            self.daemon.stop();
        }
        let gone: Vec<_> = self.delivered().into_iter().filter(|file| file.path.symlink_metadata().is_err()).collect();
        assert_on_record(&self.daemon, &gone);
        self.witness.take().expect("has testified already").testify_to_the_order_of_things().await;
    }

    /// What earlier nights have left on site, held or rotten, goes: a rebuild would take it into custody.
    pub(crate) async fn clear_the_site(&mut self) {
        let onsite = self.stack.onsite().0.to_owned();
        let ours = self.rucio.rules_of_ours().await;
        let left: Vec<Value> = ours.into_iter().filter(|rule| rule["rse_expression"] == *onsite).collect();
        for rule in &left {
            let id = rule["id"].as_str().unwrap();
            self.rucio.change_rule(id, &json!({ "lifetime": 0, "purge_replicas": true })).await;
        }
        let lfns: Vec<String> = left.iter().map(|rule| rule["name"].as_str().unwrap().to_owned()).collect();
        let rucio = self.rucio.clone();
        wait_for("what was left goes", Duration::from_mins(3), &mut self.daemon, async || {
            let files = rucio.replica_states(&lfns).await.unwrap_or_default();
            files.values().all(|states| !states.contains_key(&onsite))
        })
        .await;
        let base = self.stack.acada_base();
        std::fs::remove_dir_all(&base).unwrap();
        std::fs::create_dir_all(&base).unwrap();
        // what the contract tests have registered on this test bed is nobody's, and would be held
        let contract = self.stack.onsite().1.directory.join("ctao/test");
        if contract.exists() {
            std::fs::remove_dir_all(&contract).unwrap();
        }
    }
}
