//! The points of a build that can be made to die.
//!
//! `DL0_INGEST_CRASH_AT=name` or `name:n`: at the n-th passage of that point the process kills itself with SIGKILL; nothing
//! is flushed, no destructor runs. `DL0_INGEST_STOP_AT`: the same with SIGSTOP, until somebody sends SIGCONT.
//! `DL0_INGEST_CRASH_LIST=path`: every passage is appended to that file, a line each.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use rustix::process::{Signal, getpid, kill_process};

/// What the environment asks for.
struct Wish {
    /// Which point, at which passage, and the signal that the process then sends to itself.
    signals: Vec<(String, u64, Signal)>,
    list: Option<Mutex<std::fs::File>>,
}

static WISH: LazyLock<Wish> = LazyLock::new(|| {
    let asked = |(variable, signal)| {
        let text = std::env::var(variable).ok()?;
        let (name, nth) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), nth.parse().unwrap_or(1), signal))
    };
    let variables = [("DL0_INGEST_CRASH_AT", Signal::KILL), ("DL0_INGEST_STOP_AT", Signal::STOP)];
    let signals = variables.into_iter().filter_map(asked).collect();
    let open = |path| std::fs::OpenOptions::new().create(true).append(true).open(path).ok();
    Wish { signals, list: std::env::var_os("DL0_INGEST_CRASH_LIST").and_then(open).map(Mutex::new) }
});

/// In which every thread of a process learns that it is to stop.
const TOLD: std::time::Duration = std::time::Duration::from_secs(1);

/// How often each point was passed.
static PASSED: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// What was written in the open transaction. There is one writer, so there is one transaction.
static NOTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The effect is about to happen.
pub(crate) fn before(room: &str, effect: &str) {
    pass(format!("{room}.{effect}.before"));
}

/// The effect has happened.
pub(crate) fn after(room: &str, effect: &str) {
    pass(format!("{room}.{effect}.after"));
}

fn pass(point: String) {
    if let Some(list) = &WISH.list {
        // One write for the whole line: a command appends to the list of a daemon that runs. A list that cannot be written
        // lacks points, and the campaign's test says which.
        let _ = lock(list).write_all(format!("{point}\n").as_bytes());
    }
    let Some((_, nth, signal)) = WISH.signals.iter().find(|(name, ..)| *name == point) else { return };
    let mut passed = lock(&PASSED);
    let times = passed.entry(point).or_default();
    *times += 1;
    if *times == *nth {
        // SIGKILL returns only to a process that is dead
        let _ = kill_process(getpid(), *signal);
        // any thread may be the first to be told of it
        std::thread::sleep(TOLD);
    }
}

/// A transaction of the ledger's writer has begun.
pub(crate) fn begun() {
    lock(&NOTED).clear();
}

/// Something is written in the open transaction, which is called by it.
pub(crate) fn note(kind: &str) {
    lock(&NOTED).insert(kind.to_owned());
}

/// Commits the open transaction.
pub(crate) async fn committing<T>(commit: impl Future<Output = T>) -> T {
    let kinds: Vec<String> = std::mem::take(&mut *lock(&NOTED)).into_iter().collect();
    let kinds = if kinds.is_empty() { "no-event".to_owned() } else { kinds.join("+") };
    before("ledger", &kinds);
    let done = commit.await;
    after("ledger", &kinds);
    done
}
