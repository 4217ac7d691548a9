//! What a look saw of our rules, for whoever looked to hand to [`mend`](super::mend()).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::custody::{Copies, RuleStanding};
use crate::ledger::FileRow;
use crate::names::Did;
use rucio_client::{Lock, LockState};

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
    pub(crate) fn asks_for_others(&self, required: Copies) -> bool {
        let is_short = |row: &&FileRow| {
            let rule = row.further_copies_rule.as_ref();
            rule.is_some_and(|rule| {
                let did = row.did();
                self.locks.at_one_site(&self.offsite, &did, rule).is_some()
                    || self.locks.short_of(&self.offsite, &did, rule, required).is_some()
            })
        };
        self.standings.values().any(|standing| standing.is_ending()) || self.files.iter().any(is_short)
    }
}

/// Where the first-copy rules and the further-copies rules hold files, by OK locks, and by any.
#[derive(Debug, Default)]
pub(crate) struct OkLocks {
    /// The RSE of the first copy.
    pub(crate) first: HashMap<Did, String>,
    /// By file and further-copies rule.
    pub(crate) further: HashMap<(Did, String), BTreeSet<String>>,
    /// The RSE of the first copy, be it there or on its way.
    first_planned: HashMap<Did, String>,
    /// By file and further-copies rule, likewise.
    further_planned: HashMap<(Did, String), BTreeSet<String>>,
}

/// Copies of a file that no rule asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Short {
    /// The RSE of the first copy.
    pub(crate) first: String,
    /// Where the further-copies rule has the others that count, one a site.
    pub(crate) have: BTreeSet<String>,
    /// The RSEs are named, since the rule that there is asks for anywhere else already.
    pub(crate) named: bool,
}

impl Short {
    /// No further copy, and no rule for one.
    pub(crate) fn all(first: &str) -> Self {
        Self { first: first.to_owned(), have: BTreeSet::new(), named: false }
    }
}

impl OkLocks {
    /// With OK locks of one file.
    pub(crate) fn of_one(did: &Did, first: &str, further_copies_rule: &str, further: BTreeSet<String>) -> Self {
        Self {
            first: [(did.clone(), first.to_owned())].into(),
            further: [((did.clone(), further_copies_rule.to_owned()), further)].into(),
            ..Self::default()
        }
    }

    /// A lock of a first-copy rule or of a further-copies rule.
    pub(crate) fn note(&mut self, rule: &str, is_first: bool, lock: &Lock) {
        let (did, rse) = (&lock.did, &lock.rse);
        let of_rule = || (did.clone(), rule.to_owned());
        let ok = lock.state == LockState::Ok;
        match (is_first, ok) {
            (true, true) => drop(self.first.insert(did.clone(), rse.clone())),
            (false, true) => drop(self.further.entry(of_rule()).or_default().insert(rse.clone())),
            (_, false) => {}
        }
        if is_first {
            self.first_planned.insert(did.clone(), rse.clone());
        } else {
            self.further_planned.entry(of_rule()).or_default().insert(rse.clone());
        }
    }

    /// Whether the rules ask for fewer copies that count than are required now: more are required than when they were
    /// placed, or an RSE that they chose is no data centre any more. Without locks of both rules nothing is known.
    pub(crate) fn short_of(
        &self,
        offsite: &Offsite,
        did: &Did,
        further_copies_rule: &str,
        required: Copies,
    ) -> Option<Short> {
        let first = self.first_planned.get(did)?;
        let further = self.further_planned.get(&(did.clone(), further_copies_rule.to_owned()))?;
        let mut sites: BTreeSet<&str> = offsite.site(first).into_iter().collect();
        let have = further.iter().filter(|rse| offsite.site(rse).is_some_and(|site| sites.insert(site)));
        let have: BTreeSet<String> = have.cloned().collect();
        (sites.len() < required.get() as usize).then(|| Short { first: first.clone(), have, named: true })
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
