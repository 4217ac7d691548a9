//! inotify as a hint: which paths may be worth a look right now.
//!
//! Only directories that the scan has entered are watched, each just before it is read, so nothing falls between. Whatever
//! inotify misses (other hosts on a network file system, a full queue, too few watches) the scan finds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RemoveKind, RenameMode};
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
    /// Whether the name went, rather than came.
    pub removed: bool,
}

/// Watches directories, and wakes the intake.
pub(super) struct Hints {
    watcher: Option<RecommendedWatcher>,
    receiver: Receiver<Hint>,
    sender: SyncSender<Hint>,
    loss: Arc<Loss>,
    complained: bool,
}

/// Whether hints went missing.
#[derive(Debug, Default)]
struct Loss {
    lost: AtomicBool,
    said: AtomicBool,
}

impl Loss {
    /// A storm of events can lose hints again and again: only the first time is worth an operator's attention.
    fn happened(&self, how: &str) {
        // one line for all that is lost until the next scan
        if !self.lost.swap(true, Ordering::Relaxed) {
            if self.said.swap(true, Ordering::Relaxed) {
                tracing::debug!("{how}; everything is scanned instead");
            } else {
                tracing::warn!("{how}; everything is scanned instead, now and whenever this happens again");
            }
        }
    }
}

impl Hints {
    /// Starts inotify, or goes without (said in the log once).
    pub(super) fn new(inotify: bool) -> Self {
        let (sender, receiver) = sync_channel(QUEUE);
        let loss = Arc::new(Loss::default());
        let mut hints = Self { watcher: None, receiver, sender, loss, complained: false };
        if inotify {
            let handler = handler(hints.sender.clone(), hints.loss.clone());
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
        self.loss.lost.swap(false, Ordering::Relaxed)
    }

    /// A handle that interrupts [`Hints::wait`].
    pub(super) fn interrupter(&self) -> impl Fn() + Send + 'static {
        let sender = self.sender.clone();
        move || {
            // a full queue is as good as an interruption
            let _ = sender.try_send(Hint { path: PathBuf::new(), at: Instant::now(), removed: false });
        }
    }
}

fn handler(sender: SyncSender<Hint>, loss: Arc<Loss>) -> impl FnMut(notify::Result<notify::Event>) {
    move |event| match event {
        Ok(event) if event.need_rescan() => {
            loss.happened("the inotify queue overflowed");
            let _ = sender.try_send(Hint { path: PathBuf::new(), at: Instant::now(), removed: false });
        }
        Ok(event) => {
            let Some(removed) = tells_of_removal(event.kind) else { return };
            for path in event.paths {
                if let Err(TrySendError::Full(_)) = sender.try_send(Hint { path, at: Instant::now(), removed }) {
                    loss.happened("more happens in the data directory than the intake can follow");
                }
            }
        }
        Err(error) => loss.happened(&format!("inotify failed: {error}")),
    }
}

/// New names, finished writers and directories that went; not the thousands of writes in between. `Some(true)` if the
/// name is gone (or was, before it came back).
fn tells_of_removal(kind: EventKind) -> Option<bool> {
    match kind {
        EventKind::Remove(RemoveKind::Folder) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => Some(true),
        EventKind::Create(_)
        | EventKind::Modify(ModifyKind::Name(_))
        | EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(false),
        _ => None,
    }
}

/// The pause before a scan that follows lost hints: a storm that overflowed the queue is given time to pass.
pub(super) const AFTER_LOSS: Duration = Duration::from_millis(200);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_and_an_overflow_ask_for_a_scan() {
        let (sender, receiver) = sync_channel(1);
        let loss = Arc::new(Loss::default());
        let mut handle = handler(sender, loss.clone());
        let created =
            || Ok(notify::Event::new(EventKind::Create(notify::event::CreateKind::File)).add_path("a".into()));
        handle(created());
        assert!(!loss.lost.load(Ordering::Relaxed));
        handle(created());
        assert!(loss.lost.swap(false, Ordering::Relaxed) && loss.said.load(Ordering::Relaxed));
        assert_eq!(receiver.try_iter().count(), 1);
        handle(Ok(notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan)));
        assert!(loss.lost.load(Ordering::Relaxed));
        // and the intake is woken
        assert!(receiver.try_recv().unwrap().path.as_os_str().is_empty());
    }
}
