//! Doors that lead to one storage, and how a storage is asked for any name.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::lock;

/// Two RSEs, the first in alphabetical order first.
pub(crate) type Pair = (String, String);

/// What is known of the storages behind RSEs.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    /// Where the names of an RSE begin, as a URL that can be asked.
    roots: Mutex<BTreeMap<String, String>>,
    /// One storage by Rucio's own settings, and why.
    by_settings: Mutex<BTreeMap<Pair, String>>,
    /// One storage by what was seen of a file, and why.
    by_witness: Mutex<BTreeMap<Pair, String>>,
    /// When a pair is looked at again.
    next: Mutex<BTreeMap<Pair, Instant>>,
}

impl Doors {
    /// What Rucio's settings say.
    pub(crate) fn set(&self, roots: BTreeMap<String, String>, same: BTreeMap<Pair, String>) {
        *lock(&self.roots) = roots;
        *lock(&self.by_settings) = same;
    }

    /// The URL of a name at an RSE, whether or not it has a replica there.
    pub(crate) fn url(&self, rse: &str, lfn: &str) -> Option<String> {
        let root = lock(&self.roots).get(rse)?.clone();
        Some(format!("{}/{}", root.trim_end_matches('/'), lfn.trim_start_matches('/')))
    }

    /// Whether a look at a pair is due; it counts as done.
    pub(crate) fn is_due(&self, pair: &Pair, again: Duration) -> bool {
        let now = Instant::now();
        let mut next = lock(&self.next);
        if next.get(pair).is_some_and(|at| now < *at) {
            return false;
        }
        next.insert(pair.clone(), now + again);
        true
    }

    /// A look has told something: the next one has time.
    pub(crate) fn again_in(&self, pair: &Pair, rest: Duration) {
        lock(&self.next).insert(pair.clone(), Instant::now() + rest);
    }

    /// A file that is at one of them only was found at the other (`Some`), or was not. `true`: that is news.
    pub(crate) fn witnessed(&self, pair: &Pair, same: Option<String>) -> bool {
        let mut known = lock(&self.by_witness);
        match same {
            Some(why) => known.insert(pair.clone(), why).is_none(),
            None => known.remove(pair).is_some(),
        }
    }

    /// The pairs that are one storage, and why.
    pub(crate) fn same(&self) -> BTreeMap<Pair, String> {
        let mut same = lock(&self.by_settings).clone();
        same.extend(lock(&self.by_witness).clone());
        same
    }
}

/// In order.
pub(crate) fn pair(one: &str, other: &str) -> Pair {
    if one < other { (one.to_owned(), other.to_owned()) } else { (other.to_owned(), one.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_lasts_until_something_else_is_seen() {
        let (doors, both) = (Doors::default(), pair("B", "A"));
        assert_eq!(both, ("A".to_owned(), "B".to_owned()));
        assert!(doors.is_due(&both, Duration::from_mins(1)) && !doors.is_due(&both, Duration::from_mins(1)));
        assert!(doors.witnessed(&both, Some("seen".to_owned())) && !doors.witnessed(&both, Some("again".to_owned())));
        doors.set([("A".to_owned(), "https://a/x/".to_owned())].into(), BTreeMap::new());
        assert_eq!(doors.same().into_values().collect::<Vec<_>>(), ["again"]);
        assert!(doors.witnessed(&both, None) && doors.same().is_empty());
        assert_eq!(doors.url("A", "/ctao/f").as_deref(), Some("https://a/x/ctao/f"));
        assert_eq!(doors.url("B", "/ctao/f"), None);
        doors.again_in(&both, Duration::ZERO);
        assert!(doors.is_due(&both, Duration::ZERO));
    }
}
