//! Some hours at work: files are delivered while something goes wrong, and all leave the site in order at the end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dl0_ingest::embedded::Faults;

use crate::acada::{Deliveries, Delivery, directory, fixture, pull_trigger, write};
use crate::daemon::Daemon;
use crate::fault_proxy::Proxy;
use crate::outcome::{
    assert_metadata_is_right, assert_no_promise_was_broken, assert_released, wait_for, wait_for_release,
};
use crate::rucio::Rucio;
use crate::stack::{Stack, new_night};
use crate::watch::Witness;

/// A daemon at work, and a witness who looks on.
pub(crate) struct Shift {
    pub(crate) stack: Arc<Stack>,
    pub(crate) rucio: Rucio,
    pub(crate) daemon: Daemon,
    deliveries: Deliveries,
    directory: PathBuf,
    witness: Witness,
}

impl Shift {
    pub(crate) async fn begin() -> Self {
        Self::with(Arc::new(Stack::find()), |text| text).await
    }

    /// With a proxy between the daemon and Rucio, and what it spoils from the daemon's start on.
    pub(crate) async fn behind_a_proxy(plan: impl FnOnce(&Faults)) -> (Self, Proxy) {
        let stack = Arc::new(Stack::find());
        let proxy = stack.proxy();
        plan(proxy.faults());
        let shift = Self::with(Arc::clone(&stack), |text| {
            text.replace(&stack.rucio_url, proxy.url()).replace("timeout: 20s", "timeout: 4s\n  connect_timeout: 4s")
        })
        .await;
        (shift, proxy)
    }

    async fn with(stack: Arc<Stack>, change: impl FnOnce(String) -> String) -> Self {
        let rucio = Rucio::login(&stack).await;
        let (directory, deliveries) = (directory(&stack, new_night(&stack)), Deliveries::default());
        let daemon = Daemon::start_with(&stack, change);
        let witness = Witness::start(&stack, &rucio, &deliveries);
        Self { stack, rucio, daemon, deliveries, directory, witness }
    }

    /// The same, and the configuration is changed.
    pub(crate) async fn with_configuration(change: impl FnOnce(String) -> String) -> Self {
        Self::with(Arc::new(Stack::find()), change).await
    }

    /// Delivers a file as ACADA does.
    pub(crate) fn deliver(&self) -> Delivery {
        let number = self.deliveries.count();
        let path = self.directory.join(format!("TEL001_CHUNK{number:03}.fits.fz"));
        write(&path, &fixture(["CAL", "MUON", "SHOWER"][number % 3]));
        let delivery = self.deliveries.note(&self.stack, &path);
        pull_trigger(&path);
        delivery
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
    pub(crate) async fn until(&mut self, what: &str, mut happened: impl FnMut(&Self) -> bool) {
        // the daemon is needed by both sides: by the wait to see it alive, by the condition to be asked
        let started = std::time::Instant::now();
        while !tokio::task::block_in_place(|| happened(&*self)) {
            assert!(self.daemon.is_running(), "the daemon ended before this: {what}\n{}", self.daemon.last_words());
            assert!(started.elapsed() < Duration::from_mins(1), "not within a minute: {what}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("{:6.1} s  {what}", started.elapsed().as_secs_f64());
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
            self.daemon.states().into_iter().filter(|(_, state)| state == "rejected" || state == "held").collect();
        assert_eq!(troubled, [], "{}", self.daemon.last_words());
    }

    /// Every file leaves the site, none before two right copies were seen, and everything in Rucio is as it must be.
    /// Returns what the daemon has logged.
    pub(crate) async fn end(mut self) -> String {
        self.nobody_is_blamed();
        wait_for_release(&self.stack, &self.rucio, &mut self.daemon, &self.deliveries).await;
        self.witness.testify().await;
        assert_no_promise_was_broken(&self.stack, &self.rucio, &self.daemon, &self.deliveries).await;
        assert_released(&self.stack, &self.rucio, &self.deliveries).await;
        assert_metadata_is_right(&self.stack, &self.rucio, &self.deliveries).await;
        self.daemon.stop();
        self.daemon.log()
    }
}
