//! The witness: looks at the file systems and at Rucio while the daemon runs, and notes every file whose on-site copy
//! went before two identical off-site copies had been seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::e2e::acada::{Deliveries, Delivery, digest};
use crate::e2e::stack::Stack;
use crate::testkit::rucio::Rucio;

/// Between two looks at the storages. Much shorter than the daemon's hold time, in which both copies are there and the
/// on-site one still is: a release in order is always seen in order.
const LOOK: Duration = Duration::from_millis(100);
/// Between two questions to Rucio.
const QUESTION: Duration = Duration::from_millis(500);

/// What one side has seen.
#[derive(Default)]
struct Seen {
    /// LFNs whose two off-site copies were there while the on-site copy still was.
    proven: BTreeSet<String>,
    /// LFNs whose on-site copy is gone.
    gone: BTreeSet<String>,
    violations: Vec<String>,
}

/// Looking on until [`Witness::testify`].
pub(crate) struct Witness {
    done: Arc<AtomicBool>,
    /// Held by whoever looks at the storages.
    eyes: Arc<Mutex<()>>,
    /// Held by whoever asks Rucio.
    questions: Arc<Mutex<()>>,
    storages: std::thread::JoinHandle<Seen>,
    catalogue: tokio::task::JoinHandle<Seen>,
    deliveries: Deliveries,
    /// What was seen goes on record here: a second try of a test, which XRootD's moods call for, must not cover it up.
    record: PathBuf,
}

impl Witness {
    pub(crate) fn start(stack: &Arc<Stack>, rucio: &Rucio, deliveries: &Deliveries) -> Self {
        let record = stack.violations();
        let earlier = std::fs::read_to_string(&record).unwrap_or_default();
        assert_eq!(earlier, "", "an earlier test has seen this; look into it, then remove {}", record.display());
        let done = Arc::new(AtomicBool::new(false));
        let (eyes, questions) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
        let storages = {
            let (done, stack, deliveries) = (Arc::clone(&done), Arc::clone(stack), deliveries.clone());
            let eyes = Arc::clone(&eyes);
            std::thread::spawn(move || watch_storages(&stack, &deliveries, &eyes, &done))
        };
        let catalogue = {
            let (done, stack, deliveries, rucio) =
                (Arc::clone(&done), Arc::clone(stack), deliveries.clone(), rucio.clone());
            let questions = Arc::clone(&questions);
            tokio::spawn(async move { watch_catalogue(&stack, &rucio, &deliveries, &questions, &done).await })
        };
        Self { done, eyes, questions, storages, catalogue, deliveries: deliveries.clone(), record }
    }

    /// The storages are not looked at until the returned value goes: somebody takes a file system away and brings it back.
    pub(crate) async fn look_away(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.eyes).lock_owned().await
    }

    /// Rucio is not asked until the returned value goes: somebody makes it say that files leave which do not.
    pub(crate) async fn do_not_ask(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.questions).lock_owned().await
    }

    /// Ends the watch after a last look: every delivered file was released, and none too early.
    pub(crate) async fn testify(self) {
        let deliveries = self.deliveries.clone();
        let (storages, catalogue) = self.end().await;
        let delivered: BTreeSet<String> = deliveries.all().into_iter().map(|delivery| delivery.lfn).collect();
        assert_eq!(storages.proven, delivered, "both copies were seen before the release of each file");
        assert_eq!(storages.gone, delivered, "each file was seen to go");
        assert_eq!(catalogue.gone, delivered, "each on-site replica was seen to go");
    }

    /// Ends the watch after a last look: not one file has left the site, on disk or in Rucio.
    pub(crate) async fn testify_that_all_stay(self) {
        let (storages, catalogue) = self.end().await;
        assert_eq!((storages.gone, catalogue.gone), (BTreeSet::new(), BTreeSet::new()));
    }

    /// Ends the watch after a last look: whatever has left the site did not leave too early.
    pub(crate) async fn testify_to_the_order_of_things(self) {
        self.end().await;
    }

    async fn end(self) -> (Seen, Seen) {
        self.done.store(true, Ordering::Release);
        let storages = tokio::task::spawn_blocking(|| self.storages.join().unwrap()).await.unwrap();
        let catalogue = self.catalogue.await.unwrap();
        let violations = [storages.violations.as_slice(), &catalogue.violations].concat();
        if !violations.is_empty() {
            std::fs::write(&self.record, violations.join("\n")).unwrap();
            panic!("{violations:#?}");
        }
        (storages, catalogue)
    }
}

fn watch_storages(stack: &Stack, deliveries: &Deliveries, eyes: &Mutex<()>, done: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    loop {
        let last = done.load(Ordering::Acquire);
        let looking = eyes.blocking_lock();
        for delivery in deliveries.all() {
            if seen.gone.contains(&delivery.lfn) {
                continue;
            }
            let proven = seen.proven.contains(&delivery.lfn);
            let copied = proven || stack.offsite().all(|(_, storage)| is_copy(&storage.path(&delivery.lfn), &delivery));
            // looked at after the copies: what is here now was here when they had been read
            if delivery.path.symlink_metadata().is_ok() {
                if copied {
                    seen.proven.insert(delivery.lfn);
                }
            } else {
                if !proven {
                    seen.violations.push(format!("{} went before two identical copies were seen", delivery.lfn));
                }
                seen.gone.insert(delivery.lfn);
            }
        }
        drop(looking);
        if last {
            return seen;
        }
        std::thread::sleep(LOOK);
    }
}

/// Whether the bytes there are those that ACADA delivered.
fn is_copy(path: &Path, delivery: &Delivery) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.len() == delivery.bytes)
        && digest(path).is_ok_and(|digest| digest == delivery.digest)
}

async fn watch_catalogue(
    stack: &Stack,
    rucio: &Rucio,
    deliveries: &Deliveries,
    questions: &Mutex<()>,
    done: &AtomicBool,
) -> Seen {
    let onsite = stack.onsite().0;
    let mut seen = Seen::default();
    let mut registered = BTreeSet::new();
    loop {
        let last = done.load(Ordering::Acquire);
        let asking = questions.lock().await;
        let open: Vec<String> =
            deliveries.all().into_iter().map(|delivery| delivery.lfn).filter(|lfn| !seen.gone.contains(lfn)).collect();
        // Rucio may be down, as part of a test: then there is nothing to be seen
        let answer = if open.is_empty() { Ok(BTreeMap::new()) } else { rucio.replica_states(&open).await };
        for (lfn, states) in answer.unwrap_or_default() {
            let available = |rse: &str| states.get(rse).is_some_and(|state| state == "AVAILABLE");
            if available(onsite) {
                registered.insert(lfn);
                continue;
            }
            if !registered.contains(&lfn) {
                seen.violations.push(format!("{lfn} was never seen as an available on-site replica: {states:?}"));
            }
            if stack.offsite().filter(|(rse, _)| available(rse)).count() < 2 {
                seen.violations.push(format!("{lfn} is leaving with {states:?}"));
            }
            if !states.contains_key(onsite) {
                seen.gone.insert(lfn);
            }
        }
        drop(asking);
        if last {
            return seen;
        }
        tokio::time::sleep(QUESTION).await;
    }
}
