//! All rules that protect files on site, in one list that may be long.

use std::collections::BTreeSet;

use reqwest::Method;
use serde::Deserialize;

use super::answer::{Gather, Gathered};
use super::retry::Repeat;
use super::transport::Request;
use super::{Client, Error, RuleState};
use crate::names::{Did, Lfn};

/// What is kept of the rules on one RSE: 16 bytes a rule, and the names of the datasets.
#[derive(Debug, Default)]
pub struct Survey {
    /// Rules without an end, by the numbers that their ids are, sorted. A map would take two to five times as much.
    standing: Vec<u128>,
    /// Rules with an end, likewise.
    ending: Vec<u128>,
    /// Of those without an end, the ones that are STUCK or SUSPENDED.
    troubled: Vec<u128>,
    datasets: BTreeSet<Did>,
}

#[derive(Deserialize)]
pub(super) struct Line {
    id: String,
    name: String,
    state: RuleState,
    expires_at: Option<String>,
}

impl Gather for Survey {
    /// Four million rules of about a kilobyte, of which 64 MB are kept.
    const MAX: u64 = 4 << 30;
    type Line = Line;

    fn take(&mut self, line: Line) {
        if let Ok(id) = u128::from_str_radix(&line.id, 16) {
            let rules = if line.expires_at.is_none() { &mut self.standing } else { &mut self.ending };
            rules.push(id);
            if matches!(line.state, RuleState::Stuck | RuleState::Suspended) {
                self.troubled.push(id);
            }
        }
        // a rule on something that cannot be one of our files is not for us
        if let Ok(name) = Lfn::try_from(line.name.as_str()) {
            self.datasets.insert(name.dataset());
        }
    }
}

impl Survey {
    /// Whether a rule stands without an end; `None`: it was not in the list.
    pub fn stands(&self, rule: &str) -> Option<bool> {
        let id = u128::from_str_radix(rule, 16).ok()?;
        match (self.standing.binary_search(&id), self.ending.binary_search(&id)) {
            (_, Ok(_)) => Some(false),
            (Ok(_), _) => Some(true),
            _ => None,
        }
    }

    /// Whether a rule is one that stands, and Rucio is not in trouble with it.
    pub fn is_sound(&self, rule: &str) -> bool {
        let id = u128::from_str_radix(rule, 16);
        self.stands(rule) == Some(true) && id.is_ok_and(|id| self.troubled.binary_search(&id).is_err())
    }

    /// The datasets that the files belong to by their names.
    pub fn datasets(&self) -> impl Iterator<Item = &Did> {
        self.datasets.iter()
    }
}

impl Client {
    /// Our rules on exactly this RSE, any number (`GET /rules/?account=&rse_expression=`). The list is read as it
    /// arrives; it must arrive within the time-out of one exchange.
    pub async fn survey(&self, rse: &str) -> Result<Survey, Error> {
        let request = Request::new("rules", format!("list our rules on {rse}"), Method::GET, "/rules/")
            .query("account", &self.inner.account)
            .query("rse_expression", rse);
        let Gathered(mut survey) = self.call::<Gathered<Survey>>(Repeat::Safe, request).await?;
        survey.standing.sort_unstable();
        survey.ending.sort_unstable();
        survey.troubled.sort_unstable();
        Ok(survey)
    }
}
