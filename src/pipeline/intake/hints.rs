//! inotify as a hint: which paths may be worth a look right now.
//!
//! Only directories that the scan has entered are watched, each just before it is read, so nothing falls between. Whatever
//! inotify misses (other hosts on a network file system, a full queue, too few watches) the scan finds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

/// Hints kept while the intake is busy; beyond that, one full scan replaces them all.
const QUEUE: usize = 65_536;

/// Something may have happened.
#[derive(Debug)]
pub(super) struct Hint {
    /// Absolute path.
    pub path: PathBuf,
    /// When the event was received.
    pub at: Instant,
}

/// Watches directories, and wakes the intake.
pub(super) struct Hints {
    watcher: Option<RecommendedWatcher>,
    receiver: Receiver<Hint>,
    sender: SyncSender<Hint>,
    lost: Arc<AtomicBool>,
    complained: bool,
}

impl Hints {
    /// Starts inotify, or goes without (said in the log once).
    pub(super) fn new(inotify: bool) -> Self {
        let (sender, receiver) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicBool::new(false));
        let mut hints = Self { watcher: None, receiver, sender, lost, complained: false };
        if inotify {
            let handler = handler(hints.sender.clone(), hints.lost.clone());
            match notify::recommended_watcher(handler) {
                Ok(watcher) => hints.watcher = Some(watcher),
                Err(error) => hints.complain(&error),
            }
        }
        hints
    }

    /// Watches one directory; a failure is said once and leaves the rest to the scan.
    pub(super) fn watch(&mut self, directory: &Path) {
        if let Some(watcher) = &mut self.watcher
            && let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive)
        {
            // a directory that is gone again is no failure of inotify
            if !matches!(error.kind, notify::ErrorKind::PathNotFound) {
                self.complain(&error);
            }
        }
    }

    /// Forgets a directory that is gone.
    pub(super) fn unwatch(&mut self, directory: &Path) {
        if let Some(watcher) = &mut self.watcher {
            // the kernel has dropped the watch with the directory already
            let _ = watcher.unwatch(directory);
        }
    }

    fn complain(&mut self, error: &notify::Error) {
        if !self.complained {
            self.complained = true;
            let remedy = match error.kind {
                notify::ErrorKind::MaxFilesWatch => "raise fs.inotify.max_user_watches for quick reactions",
                _ => "set intake.inotify to false to silence this",
            };
            tracing::warn!(%error, remedy, "inotify is not available for all directories, relying on the periodic scan");
        }
    }

    /// Waits for hints, at most until `deadline`; returns all that have gathered.
    pub(super) fn wait(&self, deadline: Instant) -> Vec<Hint> {
        let first = match self.receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(hint) => hint,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Vec::new(),
        };
        let mut hints = vec![first];
        hints.extend(self.receiver.try_iter().take(QUEUE));
        hints
    }

    /// Whether hints were lost since this was last asked, so that everything must be scanned.
    pub(super) fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::Relaxed)
    }

    /// A handle that interrupts [`Hints::wait`].
    pub(super) fn interrupter(&self) -> impl Fn() + Send + 'static {
        let sender = self.sender.clone();
        move || {
            // a full queue is as good as an interruption
            let _ = sender.try_send(Hint { path: PathBuf::new(), at: Instant::now() });
        }
    }
}

fn handler(sender: SyncSender<Hint>, lost: Arc<AtomicBool>) -> impl FnMut(notify::Result<notify::Event>) {
    move |event| match event {
        Ok(event) if event.need_rescan() => {
            tracing::warn!("the inotify queue overflowed; everything is scanned instead");
            lost.store(true, Ordering::Relaxed);
            let _ = sender.try_send(Hint { path: PathBuf::new(), at: Instant::now() });
        }
        Ok(event) if is_interesting(event.kind) => {
            for path in event.paths {
                if let Err(TrySendError::Full(_)) = sender.try_send(Hint { path, at: Instant::now() }) {
                    lost.store(true, Ordering::Relaxed);
                }
            }
        }
        Ok(_) => {}
        Err(_) => lost.store(true, Ordering::Relaxed),
    }
}

/// New names and finished writers; not the thousands of writes in between.
fn is_interesting(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Create(_)
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Access(AccessKind::Close(AccessMode::Write))
    )
}

/// The pause before a scan that follows lost hints: a storm that overflowed the queue is given time to pass.
pub(super) const AFTER_LOSS: Duration = Duration::from_millis(200);
