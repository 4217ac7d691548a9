//! What the log has: a trouble is reported when it begins or changes, and not again while it lasts.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};

use super::{REMEMBERED, lock};

/// The troubles that last, by what they are about: a file, a rule, a dataset, a storage, a stage.
#[derive(Debug, Default)]
pub(crate) struct Reported(Mutex<HashMap<String, BTreeSet<String>>>);

impl Reported {
    /// With room for one more.
    fn with_room(&self) -> MutexGuard<'_, HashMap<String, BTreeSet<String>>> {
        let mut reported = lock(&self.0);
        if reported.len() >= REMEMBERED {
            reported.clear();
        }
        reported
    }

    /// Whether this trouble is new; counts as reported now. Several may last at once.
    pub(crate) fn is_news(&self, about: &str, trouble: &str) -> bool {
        self.with_room().entry(about.to_owned()).or_default().insert(trouble.to_owned())
    }

    /// Whether this trouble is another one than before; counts as reported now, and as the only one.
    pub(crate) fn has_changed(&self, about: &str, trouble: &str) -> bool {
        let now = BTreeSet::from([trouble.to_owned()]);
        self.with_room().insert(about.to_owned(), now.clone()) != Some(now)
    }

    /// This trouble has ended.
    pub(crate) fn is_over(&self, about: &str, trouble: &str) {
        let mut reported = lock(&self.0);
        if let Some(troubles) = reported.get_mut(about) {
            troubles.remove(trouble);
            if troubles.is_empty() {
                reported.remove(about);
            }
        }
    }

    /// Everything about this has ended. `false`: nothing was reported.
    pub(crate) fn all_is_well(&self, about: &str) -> bool {
        lock(&self.0).remove(about).is_some()
    }

    /// Reports what keeps a stage or a job from its work, unless that is known.
    pub(crate) fn job_fails(&self, job: &'static str, trouble: &str) {
        if self.has_changed(job, trouble) {
            tracing::error!(stage = job, "{trouble}");
        }
    }

    /// Reports that a stage or a job works again, if it did not.
    pub(crate) fn job_works(&self, job: &'static str) {
        if self.all_is_well(job) {
            tracing::info!(stage = job, "works again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_news_once_until_it_ends() {
        let reported = Reported::default();
        for (trouble, news) in [("slow", true), ("lost", true), ("slow", false), ("lost", false)] {
            assert_eq!(reported.is_news("r", trouble), news, "{trouble}");
        }
        assert!(reported.is_news("other", "slow"));
        reported.is_over("r", "slow");
        assert!(reported.is_news("r", "slow") && !reported.is_news("r", "lost"));
        assert!(reported.all_is_well("r") && !reported.all_is_well("r"));
        assert!(reported.is_news("r", "lost"));
    }

    #[test]
    fn a_trouble_that_takes_the_place_of_another_is_reported_each_time() {
        let reported = Reported::default();
        for (trouble, changed) in [("stuck", true), ("stuck", false), ("suspended", true), ("stuck", true)] {
            assert_eq!(reported.has_changed("r", trouble), changed, "{trouble}");
        }
        assert!(reported.all_is_well("r"));
        assert!(reported.has_changed("r", "stuck"));
    }
}
