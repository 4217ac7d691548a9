//! Replication rules and their locks.

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::answer::{Json, Lines};
use crate::client::Client;
use crate::did::Did;
use crate::did::several;
use crate::errors::{Error, Kind, Outlook};
use crate::request::{Condition, Request, path};
use crate::retry::Repeat;
use crate::types::{Analysis, Lock, NewRule, Rule, RuleId};

impl Client {
    /// Places one rule on each DID, all or none, and gives their ids in the order of the DIDs (`POST /rules/`).
    ///
    /// If one DID has such a rule (same account, expression and copies), none is placed:
    /// [`DuplicateRule`](Kind::DuplicateRule). Repeated only if it was never sent, so after a broken connection the
    /// caller looks what is there.
    pub async fn add_rules(&self, rule: &NewRule) -> Result<Vec<RuleId>, Error> {
        if rule.dids.is_empty() {
            return Ok(Vec::new());
        }
        let mut body = Map::new();
        body.insert("dids".to_owned(), json!(rule.dids));
        body.insert("account".to_owned(), json!(self.account()));
        body.insert("copies".to_owned(), json!(rule.copies));
        body.insert("rse_expression".to_owned(), json!(rule.rse_expression));
        body.insert("grouping".to_owned(), json!(rule.grouping));
        let optional = [
            ("source_replica_expression", rule.source_replica_expression.as_ref().map(|text| json!(text))),
            ("lifetime", rule.lifetime.map(|seconds| json!(seconds))),
            ("activity", rule.activity.as_ref().map(|text| json!(text))),
            ("comment", rule.comment.as_ref().map(|text| json!(text))),
            // Rucio's schema wants text
            ("meta", rule.meta.as_ref().map(|meta| json!(meta.to_string()))),
        ];
        body.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        let dids = several(&rule.dids);
        let what = format!("place a rule on {dids}");
        let request = Request::new("add_rules", what, Method::POST, "/rules/").json(&body.into());
        let Json(ids): Json<Vec<RuleId>> = self.call(Repeat::OnlyIfNotSent, request).await?;
        if ids.len() == rule.dids.len() {
            return Ok(ids);
        }
        let message =
            format!("Rucio, asked to place a rule on {dids}, gave {} ids for {} DIDs", ids.len(), rule.dids.len());
        Err(Error::new(Kind::Protocol, Outlook::Later, message))
    }

    /// A rule (`GET /rules/{id}`); one that has ended is [`NotFound`](Kind::NotFound).
    pub async fn rule(&self, id: &str) -> Result<Rule, Error> {
        let request = Request::new("rule", format!("show rule {id}"), Method::GET, path(&["rules", id])?);
        let Json(rule) = self.call(Repeat::Safe, request).await?;
        Ok(rule)
    }

    /// The locks of a rule, one per file and copy (`GET /rules/{id}/locks`). A rule that does not exist has none.
    pub async fn rule_locks(&self, id: &str) -> Result<Vec<Lock>, Error> {
        let path = path(&["rules", id, "locks"])?;
        let request = Request::new("rule_locks", format!("list the locks of rule {id}"), Method::GET, path);
        let Lines(locks) = self.call(Repeat::Safe, request).await?;
        Ok(locks)
    }

    /// The rules on a DID itself, whosever they are (`GET /dids/{scope}/{name}/rules`).
    pub async fn did_rules(&self, did: &Did) -> Result<Vec<Rule>, Error> {
        let path = path(&["dids", &did.scope, &did.name, "rules"])?;
        let request = Request::new("did_rules", format!("list the rules on {did}"), Method::GET, path);
        let Lines(rules) = self.call(Repeat::Safe, request).await?;
        Ok(rules)
    }

    /// The rules that hold a lock on a file, whatever they are on and whosever they are
    /// (`GET /dids/{scope}/{name}/associated_rules`).
    pub async fn associated_rules(&self, file: &Did) -> Result<Vec<Rule>, Error> {
        let path = path(&["dids", &file.scope, &file.name, "associated_rules"])?;
        let request = Request::new("associated_rules", format!("list the rules that hold {file}"), Method::GET, path);
        let Lines(rules) = self.call(Repeat::Safe, request).await?;
        Ok(rules)
    }

    /// Ends a rule now and has the replicas that nothing else holds deleted at once (`PUT /rules/{id}` with lifetime 0
    /// and `purge_replicas`; `DELETE` would wait for an hour). Ending it twice is the same as once, until Rucio has
    /// removed it: then it is [`NotFound`](Kind::NotFound).
    ///
    /// A call may wait for its turn, for a login and between attempts, and the process may be stopped meanwhile. So `holds` is
    /// asked right before each attempt leaves; if it does not hold, the call is [`Withheld`](Kind::Withheld), of which an
    /// earlier attempt may have been carried out all the same.
    pub async fn end_rule(&self, id: &str, holds: impl Fn() -> bool + Send + Sync + 'static) -> Result<(), Error> {
        let options = json!({ "lifetime": 0, "purge_replicas": true });
        self.update_rule_while("end_rule", "end", id, &options, Some(Box::new(holds))).await
    }

    /// Ends a rule now and deletes nothing (`PUT /rules/{id}` with lifetime 0, without purge): its locks go, and a replica
    /// that no other rule locks may be reaped whenever its RSE needs the space. One that Rucio has removed already is
    /// [`NotFound`](Kind::NotFound). `holds` is asked as by [`end_rule`](Self::end_rule).
    pub async fn retire_rule(&self, id: &str, holds: impl Fn() -> bool + Send + Sync + 'static) -> Result<(), Error> {
        let options = json!({ "lifetime": 0, "purge_replicas": false });
        self.update_rule_while("retire_rule", "retire", id, &options, Some(Box::new(holds))).await
    }

    /// Takes the end of a rule away (`PUT /rules/{id}` with lifetime null). One that Rucio has removed already is
    /// [`NotFound`](Kind::NotFound).
    pub async fn keep_rule(&self, id: &str) -> Result<(), Error> {
        self.update_rule("keep_rule", "keep", id, &json!({ "lifetime": null })).await
    }

    /// What Rucio says of the transfers that a stuck rule waits for (`GET /rules/{id}/analysis`).
    pub async fn rule_analysis(&self, id: &str) -> Result<Analysis, Error> {
        let path = path(&["rules", id, "analysis"])?;
        let request = Request::new("rule_analysis", format!("examine rule {id}"), Method::GET, path);
        let Json(analysis) = self.call(Repeat::Safe, request).await?;
        Ok(analysis)
    }

    /// Asks Rucio to try the stuck transfers of a rule again now (`PUT /rules/{id}` with `boost_rule`).
    pub async fn boost_rule(&self, id: &str) -> Result<(), Error> {
        self.update_rule("boost_rule", "boost", id, &json!({ "boost_rule": true })).await
    }

    async fn update_rule(&self, endpoint: &'static str, verb: &str, id: &str, options: &Value) -> Result<(), Error> {
        self.update_rule_while(endpoint, verb, id, options, None).await
    }

    async fn update_rule_while(
        &self,
        endpoint: &'static str,
        verb: &str,
        id: &str,
        options: &Value,
        holds: Option<Condition>,
    ) -> Result<(), Error> {
        let what = format!("{verb} rule {id}");
        let request =
            Request::new(endpoint, what, Method::PUT, path(&["rules", id])?).json(&json!({ "options": options }));
        self.call(Repeat::Safe, request.only_while(holds)).await
    }
}
