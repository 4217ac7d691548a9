//! Settling a quiet dataset: one rule of the dataset takes over the second copies, and each file's own rule goes.
//!
//! What Rucio says of every file is weighed here. A rule may go only if each lock that it holds is held by the dataset's
//! rule as well, at the same place and now: then its end changes nothing for any replica.

use std::collections::{BTreeMap, BTreeSet};

use super::copies::Copies;

/// What Rucio says of one released file, asked at one time. Locks are OK ones, of permanent rules of ours in state OK.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileInRucio {
    /// The file.
    pub lfn: String,
    /// Size and adler32 in the catalogue are those that were verified.
    pub as_verified: bool,
    /// Its off-site replicas by RSE: whether they are AVAILABLE.
    pub replicas: BTreeMap<String, bool>,
    /// Where the dataset's first rule locks it.
    pub first: BTreeSet<String>,
    /// Where its own rule for the further copies locks it; `None` when it has no such rule any more.
    pub own: Option<BTreeSet<String>>,
    /// Where the dataset's rule for the further copies locks it.
    pub dataset: BTreeSet<String>,
}

/// The rule that can take over from the files' own ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetRule {
    /// The RSEs that it may choose from.
    pub rses: BTreeSet<String>,
    /// Copies of each file.
    pub copies: u32,
    /// Whether all files lie at all of these RSEs. If not, each file lies at some of them.
    pub together: bool,
}

impl DatasetRule {
    /// As an RSE expression.
    pub fn expression(&self) -> String {
        let names: Vec<&str> = self.rses.iter().map(String::as_str).collect();
        if let [one] = names.as_slice() { (*one).to_owned() } else { format!("({})", names.join("|")) }
    }
}

/// What kind of reason a dataset has to stay as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Cause {
    /// Rucio does not know the dataset.
    UnknownToRucio,
    /// The dataset has an end, at which Rucio removes it with its rules.
    EndsInRucio,
    /// Rucio refuses to take a file's own rule for the further copies again.
    RuleRefused,
    /// Anything else: a brake, Rucio away, rules, locks or replicas that are not as they must be.
    Other,
}

impl Cause {
    const ALL: [Self; 4] = [Self::UnknownToRucio, Self::EndsInRucio, Self::RuleRefused, Self::Other];

    /// The name used in the ledger.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The cause of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == name)
    }

    /// Whether each look at the dataset's rules finds it out: once a look does not, it is over.
    pub const fn is_found_by_each_look(self) -> bool {
        match self {
            Self::UnknownToRucio | Self::EndsInRucio | Self::RuleRefused => true,
            Self::Other => false,
        }
    }
}

/// Why a dataset stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Unsettled {
    /// Which kind of reason.
    pub cause: Cause,
    /// The reason, for humans.
    pub words: String,
}

impl Unsettled {
    /// Rucio does not know the dataset.
    pub fn unknown_to_rucio() -> Self {
        Self { cause: Cause::UnknownToRucio, words: "Rucio does not know the dataset".to_owned() }
    }

    /// A reason of no kind of its own.
    pub fn other(words: impl Into<String>) -> Self {
        Self { cause: Cause::Other, words: words.into() }
    }
}

fn no<T>(why: String) -> Result<T, Unsettled> {
    Err(Unsettled::other(why))
}

impl FileInRucio {
    /// Whether the file is as well off as its release demanded.
    fn is_sound(&self, copies: Copies) -> Result<&BTreeSet<String>, Unsettled> {
        let Self { lfn, .. } = self;
        if !self.as_verified {
            return no(format!("Rucio has another size or adler32 of {lfn} than was verified"));
        }
        if self.first.is_empty() {
            return no(format!("the rule of the first copies holds no OK lock on {lfn}"));
        }
        let further = self.own.as_ref().unwrap_or(&self.dataset);
        if further.len() + 1 < copies.get() as usize {
            return no(format!(
                "{} of {} locks on the further copies of {lfn} are OK",
                further.len(),
                copies.get() - 1
            ));
        }
        for rse in self.first.union(further) {
            if self.replicas.get(rse) != Some(&true) {
                return no(format!("the copy of {lfn} at {rse} is not AVAILABLE"));
            }
        }
        Ok(further)
    }

    /// Whether a rule can be planned that holds the further copies of this file.
    pub fn can_be_planned_for(&self, copies: Copies) -> bool {
        further_places(self, copies).is_ok()
    }

    /// Whether the end of the file's own rule changes nothing: each of its locks is held by the dataset's rule too, and
    /// enough copies at different sites stay locked. `sites`: the site of each RSE that says one.
    pub fn own_rule_may_go(&self, copies: Copies, sites: &BTreeMap<String, String>) -> Result<(), Unsettled> {
        let Self { lfn, .. } = self;
        let further = self.is_sound(copies)?;
        if let Some(rse) = further.difference(&self.dataset).next() {
            return no(format!("the dataset's rule holds no OK lock on the copy of {lfn} at {rse}"));
        }
        let kept = self.first.union(&self.dataset).filter(|rse| self.replicas.get(*rse) == Some(&true));
        let left: BTreeSet<&String> = kept.filter_map(|rse| sites.get(rse)).collect();
        if left.len() < copies.get() as usize {
            return no(format!("{lfn} would stay locked at {} of {} sites", left.len(), copies.get()));
        }
        Ok(())
    }
}

/// The rule that locks exactly the further copies that are there, whatever Rucio chooses among its RSEs: there is none if
/// a file has another replica at one of them.
pub fn plan(files: &[FileInRucio], copies: Copies) -> Result<DatasetRule, Unsettled> {
    let wanted = copies.get() - 1;
    let mut places = BTreeSet::new();
    for file in files {
        places.insert(further_places(file, copies)?);
    }
    let rses: BTreeSet<String> = places.iter().flatten().cloned().collect();
    for file in files {
        let there = file.replicas.keys().filter(|rse| rses.contains(*rse)).count();
        if there != wanted as usize {
            return no(format!(
                "{} has {there} replicas at {}, and Rucio could choose another than the rule of the file holds",
                file.lfn,
                rses.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
            ));
        }
    }
    match places.len() {
        0 => no("it has no file".to_owned()),
        n => Ok(DatasetRule { rses, copies: wanted, together: n == 1 }),
    }
}

/// Where the file's further copies lie. If its own rule went at an earlier settling whose dataset rule is gone, what lies
/// beside its first copy is meant.
fn further_places(file: &FileInRucio, copies: Copies) -> Result<BTreeSet<String>, Unsettled> {
    if file.own.is_some() {
        return file.is_sound(copies).cloned();
    }
    let beside = file.replicas.keys().filter(|rse| !file.first.contains(*rse)).cloned().collect();
    FileInRucio { own: Some(beside), ..file.clone() }.is_sound(copies).cloned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(rses: &[&str]) -> BTreeSet<String> {
        rses.iter().map(|rse| (*rse).to_owned()).collect()
    }

    /// A released file with its first copy at A and its second where it says.
    fn file(second: &str) -> FileInRucio {
        FileInRucio {
            lfn: "/f".to_owned(),
            as_verified: true,
            replicas: [("A", true), (second, true)].map(|(rse, there)| (rse.to_owned(), there)).into(),
            first: set(&["A"]),
            own: Some(set(&[second])),
            dataset: BTreeSet::new(),
        }
    }

    fn sites() -> BTreeMap<String, String> {
        ["A", "B", "C", "D"].map(|rse| (rse.to_owned(), rse.to_lowercase())).into()
    }

    fn why(result: Result<(), Unsettled>) -> String {
        result.unwrap_err().words
    }

    #[test]
    fn copies_at_one_place_get_a_rule_for_that_place() {
        let rule = plan(&[file("B"), file("B")], Copies::MIN).unwrap();
        assert_eq!((rule.expression().as_str(), rule.copies, rule.together), ("B", 1, true));
    }

    #[test]
    fn copies_at_several_places_get_a_rule_over_these_in_which_each_file_finds_its_own_alone() {
        let rule = plan(&[file("B"), file("C")], Copies::MIN).unwrap();
        assert_eq!((rule.expression().as_str(), rule.copies, rule.together), ("(B|C)", 1, false));
        let mut ambiguous = file("B");
        // on its way, which Rucio counts as there
        ambiguous.replicas.insert("C".to_owned(), false);
        assert!(plan(&[ambiguous, file("C")], Copies::MIN).unwrap_err().words.contains("could choose another"));
    }

    #[test]
    fn a_file_without_its_locks_keeps_the_dataset_as_it_is() {
        let cases = [
            FileInRucio { as_verified: false, ..file("B") },
            FileInRucio { first: BTreeSet::new(), ..file("B") },
            FileInRucio { own: Some(BTreeSet::new()), ..file("B") },
            FileInRucio { replicas: [("A".to_owned(), true), ("B".to_owned(), false)].into(), ..file("B") },
        ];
        for case in cases {
            assert!(plan(&[file("B"), case.clone()], Copies::MIN).is_err(), "{case:?}");
            let taken_over = FileInRucio { dataset: set(&["B"]), ..case };
            assert!(taken_over.own_rule_may_go(Copies::MIN, &sites()).is_err(), "{taken_over:?}");
        }
        assert!(plan(&[], Copies::MIN).is_err());
    }

    #[test]
    fn a_settled_file_whose_dataset_rule_is_gone_is_planned_for_by_where_it_lies() {
        let settled = FileInRucio { own: None, ..file("B") };
        assert_eq!(plan(&[settled.clone(), file("B")], Copies::MIN).unwrap().expression(), "B");
        let lost = FileInRucio { replicas: [("A".to_owned(), true)].into(), ..settled };
        assert!(plan(&[lost], Copies::MIN).is_err());
    }

    #[test]
    fn a_rule_goes_only_when_the_dataset_rule_holds_every_lock_of_it_at_another_site() {
        assert!(why(file("B").own_rule_may_go(Copies::MIN, &sites())).contains("no OK lock on the copy of /f at B"));
        let elsewhere = FileInRucio { dataset: set(&["C"]), ..file("B") };
        assert!(elsewhere.own_rule_may_go(Copies::MIN, &sites()).is_err());
        let taken_over = FileInRucio { dataset: set(&["B"]), ..file("B") };
        assert_eq!(taken_over.own_rule_may_go(Copies::MIN, &sites()), Ok(()));
        let one_site = sites().into_keys().map(|rse| (rse, "one".to_owned())).collect();
        assert!(why(taken_over.own_rule_may_go(Copies::MIN, &one_site)).contains("1 of 2 sites"));
        assert!(why(taken_over.own_rule_may_go(Copies::MIN, &BTreeMap::new())).contains("0 of 2 sites"));
    }

    #[test]
    fn causes_survive_the_way_through_the_ledger() {
        for cause in Cause::ALL {
            assert_eq!(Cause::parse(cause.as_str()), Some(cause));
        }
        assert_eq!(Cause::parse("unheld"), None);
    }

    fn some_rses() -> impl Strategy<Value = BTreeSet<String>> {
        proptest::collection::btree_set("[A-D]", 0..4)
    }

    proptest! {
        #[test]
        fn the_end_of_a_rule_that_may_go_unlocks_nothing_and_leaves_two_sites(
            replicas in proptest::collection::btree_map("[A-D]", any::<bool>(), 0..4),
            first in some_rses(), own in proptest::option::of(some_rses()), dataset in some_rses(),
            as_verified in any::<bool>(),
        ) {
            let held = FileInRucio { lfn: "/f".to_owned(), as_verified, replicas, first, own, dataset };
            if held.own_rule_may_go(Copies::MIN, &sites()).is_ok() {
                let after: BTreeSet<&String> = held.first.union(&held.dataset).collect();
                prop_assert!(held.own.iter().flatten().all(|rse| after.contains(rse)));
                let sites = after.iter().filter(|rse| held.replicas.get(**rse) == Some(&true)).count();
                prop_assert!(held.as_verified && sites >= 2);
            }
        }

        #[test]
        fn a_planned_rule_leaves_rucio_no_choice(
            seconds in proptest::collection::vec("[B-D]", 1..6), extra in proptest::option::of("[B-D]"),
        ) {
            let mut files: Vec<FileInRucio> = seconds.iter().map(|second| file(second)).collect();
            if let Some(extra) = extra {
                files[0].replicas.insert(extra, true);
            }
            if let Ok(rule) = plan(&files, Copies::MIN) {
                for file in &files {
                    let there: BTreeSet<String> =
                        file.replicas.keys().filter(|rse| rule.rses.contains(*rse)).cloned().collect();
                    prop_assert_eq!(Some(&there), file.own.as_ref());
                }
            }
        }
    }
}
