//! Lists that Rucio has given, to notice when one has become shorter all at once.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::lock;

/// A list as it was given last.
#[derive(Debug, Default)]
pub(crate) struct LastList(Mutex<BTreeSet<String>>);

impl LastList {
    /// Whether something that was in it is missing now.
    pub(crate) fn lacks_some(&self, now: &BTreeSet<String>) -> bool {
        !lock(&self.0).is_subset(now)
    }

    /// It is believed.
    pub(crate) fn remember(&self, now: BTreeSet<String>) {
        *lock(&self.0) = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_grows_or_stays_lacks_nothing() {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        let list = LastList::default();
        assert!(!list.lacks_some(&set(&["A"])));
        list.remember(set(&["A", "B"]));
        assert!(!list.lacks_some(&set(&["A", "B", "C"])));
        assert!(list.lacks_some(&set(&["A", "C"])));
        assert!(list.lacks_some(&set(&[])));
    }
}
