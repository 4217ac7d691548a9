//! What happened when: the miniature server's own account of its effects, so that a test can judge the order of things
//! without asking the client under test.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use rucio_client::Did;

/// An effect on the catalogue or on a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A replica was registered by a client.
    Registered {
        /// The file.
        did: Did,
        /// Where it lies.
        rse: String,
    },
    /// A transfer ended well: the replica is AVAILABLE.
    Available {
        /// The file.
        did: Did,
        /// Where the new copy lies.
        rse: String,
    },
    /// A transfer failed; it may be tried again.
    TransferFailed {
        /// The file.
        did: Did,
        /// Where it should have gone.
        rse: String,
        /// The error as it stands in the rule.
        why: String,
    },
    /// A rule was placed.
    RulePlaced {
        /// Its id.
        id: String,
        /// On what.
        did: Did,
        /// For where.
        rse_expression: String,
    },
    /// A rule was given the lifetime 0.
    RuleEnding {
        /// Its id.
        id: String,
        /// On what it was.
        did: Did,
    },
    /// A rule and its locks are gone.
    RuleRemoved {
        /// Its id.
        id: String,
        /// On what it was.
        did: Did,
        /// For where it was.
        rse_expression: String,
    },
    /// The reaper removed a file from a storage.
    FileDeleted {
        /// The file.
        did: Did,
        /// From where.
        rse: String,
    },
    /// The row of a replica is gone.
    ReplicaGone {
        /// The file.
        did: Did,
        /// Where it was.
        rse: String,
    },
    /// The last replica went, and the DID and its attachments with it.
    DidGone {
        /// The file.
        did: Did,
    },
}

/// An event and its moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it took effect.
    pub at: SystemTime,
    /// What it was.
    pub event: Event,
}

/// All entries since the start, oldest first.
#[derive(Debug)]
pub(crate) struct Journal {
    entries: Mutex<Vec<Entry>>,
    length: watch::Sender<usize>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self { entries: Mutex::new(Vec::new()), length: watch::Sender::new(0) }
    }

    pub(crate) fn write(&self, events: impl IntoIterator<Item = Event>) {
        let at = SystemTime::now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.extend(events.into_iter().map(|event| Entry { at, event }));
        self.length.send_if_modified(|length| std::mem::replace(length, entries.len()) != entries.len());
    }

    pub(crate) fn read(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the history satisfies a condition, which is looked at again with every new entry.
    pub(crate) async fn until(&self, mut condition: impl FnMut(&[Entry]) -> bool) {
        let mut length = self.length.subscribe();
        loop {
            // on a copy: a condition may ask the catalogue, whose writers write here
            if condition(&self.read()) {
                return;
            }
            if length.changed().await.is_err() {
                return;
            }
        }
    }
}
