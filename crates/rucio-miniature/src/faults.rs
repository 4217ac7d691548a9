//! What can be made to go wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use url::Url;

use crate::endpoint::Endpoint;
use rucio_client::Did;

/// How one answer goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An error in Rucio's form; nothing is done.
    Refuse {
        /// HTTP status.
        status: u16,
        /// Value of `ExceptionClass`.
        class: &'static str,
        /// Value of `ExceptionMessage`.
        message: &'static str,
    },
    /// A bare HTTP status as a proxy sends it, with an HTML body; nothing is done.
    Status(u16),
    /// Status 200 with a body that is not what the caller expects; nothing is done.
    Garbage,
    /// Status 200 with an empty body, which is an empty list where a list is expected; nothing is done.
    Empty,
    /// Status 200 with an object that has nothing in it; nothing is done.
    EmptyObject,
    /// The true list, but for its last line, with status 200 and an end in good order.
    Fewer,
    /// The work is done and half of the true body is sent, then the connection breaks.
    Truncated,
    /// The work is done and the connection breaks before any answer.
    Lost,
    /// The connection breaks; nothing is done.
    HangUp,
    /// The true answer, later.
    Delay(Duration),
}

/// How a server is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Connections are refused, and those that stand are reset.
    Refuse,
    /// Connections are accepted and nothing is answered.
    Hang,
    /// Everything is answered with 503, as by a proxy whose backend is gone.
    Unavailable,
}

/// A part of Rucio that can stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Daemon {
    /// Evaluation, cleaning and repair of rules.
    Judge,
    /// Transfers.
    Conveyor,
    /// Deletions.
    Reaper,
}

/// A part of all answers goes wrong, each in one of these ways.
#[derive(Debug)]
struct Mix {
    percent: u8,
    ways: Vec<Answer>,
    rng: StdRng,
}

impl Mix {
    fn draw(&mut self) -> Option<Answer> {
        let unlucky = !self.ways.is_empty() && self.rng.random_range(0..100) < self.percent;
        unlucky.then(|| self.ways[self.rng.random_range(0..self.ways.len())].clone())
    }
}

#[derive(Debug, Default)]
struct Knobs {
    answers: BTreeMap<Endpoint, VecDeque<Answer>>,
    mix: Option<Mix>,
    spoilt: BTreeMap<Endpoint, u64>,
    paused: BTreeSet<Daemon>,
    fail_transfers: u32,
    fail_percent: Option<(u8, StdRng)>,
    corrupt_copies: u32,
    leave_files: bool,
    leave_these: BTreeSet<Did>,
    slowness: Duration,
    stalled: bool,
    unreadable: Option<String>,
    misstated: u32,
    led: BTreeMap<String, Url>,
}

/// A handle on everything that can be made to go wrong; clones act on the same server.
#[derive(Clone, Debug)]
pub struct Faults {
    knobs: Arc<Mutex<Knobs>>,
    outages: Arc<BTreeMap<String, watch::Sender<Option<Outage>>>>,
    changed: watch::Sender<u64>,
}

/// The name under which Rucio itself stands among the servers that can be away.
pub(crate) const RUCIO: &str = "rucio";

impl Faults {
    pub(crate) fn new<'a>(rses: impl Iterator<Item = &'a str>) -> Self {
        let servers = rses.chain(std::iter::once(RUCIO)).map(|name| (name.to_owned(), watch::Sender::new(None)));
        Self { knobs: Arc::default(), outages: Arc::new(servers.collect()), changed: watch::Sender::new(0) }
    }

    /// For a proxy that stands in front of a Rucio: of all this, its answers can go wrong, and it can be away.
    pub fn of_a_proxy() -> Self {
        Self::new(std::iter::empty())
    }

    fn knobs(&self) -> MutexGuard<'_, Knobs> {
        self.knobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// The next `count` answers of an endpoint go wrong like this; calls add up in order.
    pub fn answer(&self, endpoint: Endpoint, count: usize, answer: &Answer) {
        self.knobs().answers.entry(endpoint).or_default().extend(std::iter::repeat_n(answer.clone(), count));
    }

    /// What [`Faults::answer`] has planned and nobody has asked for yet is forgotten.
    pub fn no_more_answers(&self) {
        self.knobs().answers.clear();
    }

    /// This part of all answers goes wrong, each in one of these ways, by a generator started with `seed`; 0 ends it.
    /// What [`Faults::answer`] has planned comes first.
    pub fn answers_percent(&self, percent: u8, seed: u64, ways: &[Answer]) {
        let mix = Mix { percent, ways: ways.to_vec(), rng: StdRng::seed_from_u64(seed) };
        self.knobs().mix = (percent > 0).then_some(mix);
    }

    /// Each kilobyte of a request takes Rucio so long: more to do at once takes longer.
    pub fn slow(&self, kilobyte: Duration) {
        self.knobs().slowness = kilobyte;
    }

    /// The storages take the question for a file's bytes and deliver none; what they say about files they say.
    pub fn stall_downloads(&self, stall: bool) {
        self.knobs().stalled = stall;
        self.touch();
    }

    /// The storages let nobody read files of this name (403); what they say about them they say.
    pub fn refuse_download(&self, name: &str) {
        self.knobs().unreadable = Some(name.to_owned());
    }

    pub(crate) fn refuses_download(&self, path: &Path) -> bool {
        self.knobs().unreadable.as_ref().is_some_and(|name| path.ends_with(name))
    }

    /// The next `count` questions for a file's size and digest are answered with those of another file.
    pub fn misstate(&self, count: u32) {
        self.knobs().misstated = count;
    }

    pub(crate) fn is_misstated(&self) -> bool {
        let mut knobs = self.knobs();
        let misstated = knobs.misstated > 0;
        knobs.misstated = knobs.misstated.saturating_sub(1);
        misstated
    }

    /// The storage of an RSE sends whoever asks about a file to another server, as one of a federation does.
    pub fn lead(&self, rse: &str, to: &Url) {
        self.knobs().led.insert(rse.to_owned(), to.clone());
    }

    pub(crate) fn leads(&self, rse: &str) -> Option<Url> {
        self.knobs().led.get(rse).cloned()
    }

    pub(crate) async fn until_downloads_go_on(&self) {
        let mut changes = self.watch_changes();
        // the sender lives as long as this handle
        while self.knobs().stalled && changes.changed().await.is_ok() {}
    }

    /// How long a request of so many bytes takes.
    pub(super) fn takes(&self, bytes: usize) -> Duration {
        self.knobs().slowness.mul_f64(bytes as f64 / 1024.0)
    }

    /// How many answers have gone wrong so far, by endpoint; outages are not counted.
    pub fn spoilt(&self) -> BTreeMap<Endpoint, u64> {
        self.knobs().spoilt.clone()
    }

    /// Rucio's REST server goes away. Its daemons go on.
    pub fn rucio_down(&self, outage: Outage) {
        self.set_outage(RUCIO, Some(outage));
    }

    /// Rucio's REST server comes back.
    pub fn rucio_up(&self) {
        self.set_outage(RUCIO, None);
    }

    /// A storage goes away, for clients and for transfers and deletions alike.
    pub fn storage_down(&self, rse: &str, outage: Outage) {
        self.set_outage(rse, Some(outage));
    }

    /// A storage comes back.
    pub fn storage_up(&self, rse: &str) {
        self.set_outage(rse, None);
    }

    /// A daemon stops working until [`Faults::resume`].
    pub fn pause(&self, daemon: Daemon) {
        self.knobs().paused.insert(daemon);
    }

    /// A daemon works again.
    pub fn resume(&self, daemon: Daemon) {
        self.knobs().paused.remove(&daemon);
        self.touch();
    }

    /// The next `count` transfers fail.
    pub fn fail_transfers(&self, count: u32) {
        self.knobs().fail_transfers = count;
    }

    /// This part of all transfers fails, by a generator started with `seed`; 0 ends it.
    pub fn fail_transfers_percent(&self, percent: u8, seed: u64) {
        self.knobs().fail_percent = (percent > 0).then(|| (percent, StdRng::seed_from_u64(seed)));
    }

    /// The next `count` copies get one byte changed after the transfer was verified, their mtime kept: the storage's
    /// cached adler32 stays the right one, a crc32c or md5 tells.
    pub fn corrupt_copies(&self, count: u32) {
        self.knobs().corrupt_copies = count;
    }

    /// The reaper drops rows and leaves the files on disk.
    pub fn leave_files(&self, leave: bool) {
        self.knobs().leave_files = leave;
    }

    /// The reaper drops the row of this file alone and leaves it on disk.
    pub fn leave_file(&self, did: &Did) {
        self.knobs().leave_these.insert(did.clone());
    }

    /// Everything that was made to go wrong from now on goes well again.
    pub fn clear(&self) {
        let mut knobs = self.knobs();
        *knobs = Knobs { spoilt: std::mem::take(&mut knobs.spoilt), ..Knobs::default() };
        drop(knobs);
        for outage in self.outages.values() {
            outage.send_replace(None);
        }
        self.touch();
    }

    fn set_outage(&self, server: &str, outage: Option<Outage>) {
        if let Some(sender) = self.outages.get(server) {
            sender.send_replace(outage);
        }
        self.touch();
    }

    pub(crate) fn outage(&self, server: &str) -> Option<Outage> {
        self.outages.get(server).and_then(|sender| *sender.borrow())
    }

    pub(crate) fn watch_outage(&self, server: &str) -> Option<watch::Receiver<Option<Outage>>> {
        self.outages.get(server).map(watch::Sender::subscribe)
    }

    /// Changes whenever a daemon may have to look again.
    pub(crate) fn watch_changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(crate) fn is_paused(&self, daemon: Daemon) -> bool {
        self.knobs().paused.contains(&daemon)
    }

    pub(crate) fn next_answer(&self, endpoint: Endpoint) -> Option<Answer> {
        let mut knobs = self.knobs();
        let planned = knobs.answers.get_mut(&endpoint).and_then(VecDeque::pop_front);
        let fault = planned.or_else(|| knobs.mix.as_mut().and_then(Mix::draw));
        if fault.is_some() {
            *knobs.spoilt.entry(endpoint).or_default() += 1;
        }
        fault
    }

    pub(crate) fn transfer_fails(&self) -> bool {
        let mut knobs = self.knobs();
        if knobs.fail_transfers > 0 {
            knobs.fail_transfers -= 1;
            return true;
        }
        knobs.fail_percent.as_mut().is_some_and(|(percent, rng)| rng.random_range(0..100) < *percent)
    }

    pub(crate) fn copy_is_corrupted(&self) -> bool {
        let mut knobs = self.knobs();
        let corrupt = knobs.corrupt_copies > 0;
        knobs.corrupt_copies = knobs.corrupt_copies.saturating_sub(1);
        corrupt
    }

    pub(crate) fn leaves(&self, did: &Did) -> bool {
        let knobs = self.knobs();
        knobs.leave_files || knobs.leave_these.contains(did)
    }
}
