//! All rules of the account on one RSE expression, in one list that may be long.

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::answer::{Gather, Gathered};
use crate::client::Client;
use crate::errors::Error;
use crate::request::Request;
use crate::retry::Repeat;
use crate::types::{RuleId, RuleState, meta, present};

/// What is read of each rule of a long list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ListedRule {
    /// Its id.
    pub id: RuleId,
    /// Scope of what it is on.
    pub scope: String,
    /// Name of what it is on.
    pub name: String,
    /// State; believe the locks rather.
    pub state: RuleState,
    /// When it ends, as Rucio writes it (`Sun, 22 Nov 2026 12:00:13 UTC`); none: never.
    #[serde(deserialize_with = "present")]
    pub expires_at: Option<String>,
    /// What was placed with it; text that is no JSON as it is. None: nothing.
    #[serde(deserialize_with = "meta")]
    pub meta: Option<Value>,
}

/// Keeps what matters of a list of rules that is too long to be kept. It begins empty with each attempt at the call.
pub trait TakeRules: Default + Send {
    /// Takes what matters of one rule, in the order in which they arrive, which means nothing.
    fn take(&mut self, rule: ListedRule);
}

#[derive(Default)]
struct Rules<T>(T);

impl<T: TakeRules> Gather for Rules<T> {
    /// Four million rules of about a kilobyte.
    const MAX: u64 = 4 << 30;
    type Line = ListedRule;

    fn take(&mut self, rule: ListedRule) {
        self.0.take(rule);
    }
}

impl Client {
    /// The account's rules on exactly this RSE expression, any number (`GET /rules/?account=&rse_expression=`). The list
    /// is read as it arrives, 4 GiB at most; it must arrive within the time-out of one exchange.
    pub async fn take_rules<T: TakeRules>(&self, rse_expression: &str) -> Result<T, Error> {
        let request = Request::new("rules", format!("list our rules on {rse_expression}"), Method::GET, "/rules/")
            .query("account", self.account())
            .query("rse_expression", rse_expression);
        let Gathered(Rules(taken)) = self.call::<Gathered<Rules<T>>>(Repeat::Safe, request).await?;
        Ok(taken)
    }
}
