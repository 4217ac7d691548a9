//! All rules that protect files on site, in one list that may be long.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{Did, Lfn};
use rucio_client::{Client, Error, ListedRule, RuleState, TakeRules};

use super::signature::signed_by;

/// What is kept of the rules on one RSE: 16 bytes a rule, and the names of the datasets.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Rules without an end, by the numbers that their ids are, sorted. A map would take two to five times as much.
    standing: Vec<u128>,
    /// Rules with an end, likewise.
    ending: Vec<u128>,
    /// Of those without an end, the ones that are STUCK or SUSPENDED.
    troubled: Vec<u128>,
    datasets: BTreeSet<Did>,
    /// How many name each ledger, or none.
    signed: BTreeMap<String, u64>,
}

impl TakeRules for Survey {
    fn take(&mut self, rule: ListedRule) {
        if let Ok(id) = u128::from_str_radix(&rule.id, 16) {
            let ids = if rule.expires_at.is_none() { &mut self.standing } else { &mut self.ending };
            ids.push(id);
            if matches!(rule.state, RuleState::Stuck | RuleState::Suspended) {
                self.troubled.push(id);
            }
        }
        let by = signed_by(rule.meta.as_ref());
        match self.signed.get_mut(by) {
            Some(count) => *count += 1,
            None => drop(self.signed.insert(by.to_owned(), 1)),
        }
        // a rule on something that cannot be one of our files is not for us
        if let Ok(name) = Lfn::try_from(rule.name.as_str()) {
            self.datasets.insert(name.dataset());
        }
    }
}

impl Survey {
    /// Our rules on exactly this RSE expression, any number.
    pub(crate) async fn of(rucio: &Client, rse_expression: &str) -> Result<Self, Error> {
        let mut survey: Self = rucio.take_rules(rse_expression).await?;
        survey.standing.sort_unstable();
        survey.ending.sort_unstable();
        survey.troubled.sort_unstable();
        Ok(survey)
    }

    /// Whether a rule stands without an end; `None`: it was not in the list.
    pub(crate) fn stands(&self, rule: &str) -> Option<bool> {
        let id = u128::from_str_radix(rule, 16).ok()?;
        match (self.standing.binary_search(&id), self.ending.binary_search(&id)) {
            (_, Ok(_)) => Some(false),
            (Ok(_), _) => Some(true),
            _ => None,
        }
    }

    /// Whether a rule is one that stands, and Rucio is not in trouble with it.
    pub(crate) fn is_sound(&self, rule: &str) -> bool {
        let id = u128::from_str_radix(rule, 16);
        self.stands(rule) == Some(true) && id.is_ok_and(|id| self.troubled.binary_search(&id).is_err())
    }

    /// The ledgers whose daemons have placed the rules, with the number of theirs.
    pub(crate) fn signed(&self) -> &BTreeMap<String, u64> {
        &self.signed
    }

    /// The datasets that the files belong to by their names.
    pub(crate) fn datasets(&self) -> impl Iterator<Item = &Did> {
        self.datasets.iter()
    }
}
