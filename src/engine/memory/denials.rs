//! Storages that deny every file that they are asked about.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::custody::StorageAnswer;

use super::lock;

/// As many files that a storage denies, and no other, are no lost copies: its disk is not mounted, or its path is wrong.
const DENIES: usize = 3;

/// The RSEs whose storage denied everything when it was asked last.
#[derive(Debug, Default)]
pub(crate) struct Denials(Mutex<BTreeSet<String>>);

impl Denials {
    /// Whether a storage denies whatever it is asked about: in this look, or in an earlier one and it has known no file since.
    /// Even when it knows one, what it denies in the same look may have been asked before its disk was mounted.
    pub(crate) fn denies_everything(&self, rse: &str, answers: &[&StorageAnswer]) -> bool {
        let missing = answers.iter().filter(|answer| ***answer == StorageAnswer::Missing).count();
        let mut denying = lock(&self.0);
        let did = denying.contains(rse);
        let does = missing >= DENIES && missing == answers.len();
        if does && denying.insert(rse.to_owned()) {
            tracing::warn!(
                rse,
                files = missing,
                "the storage of {rse} denies every file that Rucio has there: is its disk mounted? Files wait until it knows one"
            );
        }
        if answers.iter().any(|answer| matches!(answer, StorageAnswer::Stated { .. })) && denying.remove(rse) {
            tracing::info!(rse, "the storage of {rse} knows files again");
        }
        did || does
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_that_denies_all_of_several_files_is_not_believed_until_a_look_begins_after_it_knew_one() {
        let (missing, silent) = (StorageAnswer::Missing, StorageAnswer::Silent("down".to_owned()));
        let stated = StorageAnswer::Stated { bytes: 1, digest: None };
        let storages = Denials::default();
        for (answers, denies) in [
            (vec![], false),
            // two copies may be lost, and so may many among others that are there
            (vec![&missing; 2], false),
            (vec![&missing, &missing, &missing, &stated], false),
            (vec![&missing, &missing, &missing, &silent], false),
            (vec![&missing; 3], true),
            (vec![&missing], true),
            (vec![&silent], true),
            // mounted again while it was asked
            (vec![&missing, &stated], true),
            (vec![&missing, &stated], false),
            (vec![&missing], false),
        ] {
            assert_eq!(storages.denies_everything("A", &answers), denies, "{answers:?}");
            assert!(!storages.denies_everything("B", &[&missing]));
        }
    }
}
