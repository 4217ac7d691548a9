//! What storages are known to have, and those that deny it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use super::lock;

/// By RSE.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    /// The physical name of a file that the storage had when it was asked last.
    known: Mutex<BTreeMap<String, String>>,
    /// Storages that deny what they were known to have, and were reported.
    denying: Mutex<BTreeSet<String>>,
}

impl Denials {
    /// The storage has this file.
    pub(crate) fn knows(&self, rse: &str, pfn: String) {
        lock(&self.known).insert(rse.to_owned(), pfn);
        self.is_mounted(rse);
    }

    /// A file that it had.
    pub(crate) fn known(&self, rse: &str) -> Option<String> {
        lock(&self.known).get(rse).cloned()
    }

    /// It denies more than one file; reported once.
    pub(crate) fn denies(&self, rse: &str) {
        if lock(&self.denying).insert(rse.to_owned()) {
            tracing::warn!(
                rse,
                "the storage of {rse} denies what it was known to have: is its disk mounted? Files wait until it knows it again"
            );
        }
    }

    /// It has what it is known to have.
    pub(crate) fn is_mounted(&self, rse: &str) {
        if lock(&self.denying).remove(rse) {
            tracing::info!(rse, "the storage of {rse} knows files again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_storage_was_known_to_have_is_remembered() {
        let denials = Denials::default();
        assert_eq!(denials.known("A"), None);
        denials.knows("A", "davs://a/1".to_owned());
        denials.knows("A", "davs://a/2".to_owned());
        denials.denies("A");
        assert_eq!(denials.known("A").as_deref(), Some("davs://a/2"));
        assert_eq!(denials.known("B"), None);
    }
}
