//! What a look saw of our rules, for whoever looked to hand to [`mend`](super::mend()).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::custody::RuleStanding;
use crate::ledger::FileRow;
use crate::names::Did;
use rucio_client::Lock;

use super::Offsite;

/// The off-site rules of some files as they stand.
#[derive(Debug)]
pub(crate) struct RulesSeen<'r> {
    /// The data centres at that time.
    pub(crate) offsite: Offsite,
    /// The files whose rules were asked for.
    pub(crate) files: Vec<&'r FileRow>,
    /// By rule; a rule that Rucio gave no good answer about is missing.
    pub(crate) standings: BTreeMap<String, RuleStanding>,
    /// What the rules hold.
    pub(crate) locks: OkLocks,
}

impl RulesSeen<'_> {
    /// Whether rules are to be placed for these files, which depends on where the data centres are.
    pub(crate) fn asks_for_others(&self) -> bool {
        let is_near = |row: &&FileRow| {
            let rule = row.further_copies_rule.as_ref();
            rule.is_some_and(|rule| self.locks.at_one_site(&self.offsite, &row.did(), rule).is_some())
        };
        self.standings.values().any(|standing| standing.is_ending()) || self.files.iter().any(is_near)
    }
}

/// Where the first-copy rules and the further-copies rules hold files with an OK lock.
#[derive(Debug, Default)]
pub(crate) struct OkLocks {
    /// The RSE of the first copy.
    pub(crate) first: HashMap<Did, String>,
    /// By file and further-copies rule.
    pub(crate) further: HashMap<(Did, String), BTreeSet<String>>,
}

impl OkLocks {
    /// A lock in state OK, of a first-copy rule or of a further-copies rule.
    pub(crate) fn note(&mut self, rule: &str, is_first: bool, lock: &Lock) {
        if is_first {
            self.first.insert(lock.did.clone(), lock.rse.clone());
        } else {
            self.further.entry((lock.did.clone(), rule.to_owned())).or_default().insert(lock.rse.clone());
        }
    }

    /// The RSE of the first copy, if everything that the further-copies rule holds of the file lies at its site too, and
    /// there is another one. A first-copy rule that was placed again goes where a copy lies, and that may be a further one.
    pub(crate) fn at_one_site(&self, offsite: &Offsite, did: &Did, further_copies_rule: &str) -> Option<&str> {
        let first = self.first.get(did)?;
        let further = self.further.get(&(did.clone(), further_copies_rule.to_owned()))?;
        let near =
            |rse: &String| rse == first || (offsite.site(rse).is_some() && offsite.site(rse) == offsite.site(first));
        (!further.is_empty() && further.iter().all(near) && offsite.is_elsewhere(first)).then_some(first)
    }
}
