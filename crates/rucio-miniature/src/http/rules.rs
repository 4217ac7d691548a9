//! `/rules`.

use serde_json::{Value, json};

use super::answer::Reply;
use super::body::{BodyDid, Parameters};
use super::call::Call;
use crate::catalog::Catalog;
use crate::catalog::records::{Grouping, Progress, Rule};
use crate::catalog::rules::{Change, NewRule, RuleChange};
use crate::catalog::schema::is_rule_id;
use crate::catalog::transfers::ATTEMPTS_MAX;
use crate::dates;
use crate::refusal::{Class, Refusal, refuse};
use crate::shared::Shared;
use rucio_client::Did;

/// `POST /rules/`
pub(super) fn add(shared: &Shared, issuer: &str, call: &Call<'_>) -> Result<Reply, Refusal> {
    let mut parameters = Parameters::read(call.body)?;
    let dids: Vec<BodyDid> = parameters.required("dids")?;
    let new = NewRule {
        dids: dids.iter().map(BodyDid::did).collect(),
        copies: parameters.required("copies")?,
        rse_expression: parameters.required("rse_expression")?,
        account: parameters.optional("account")?.unwrap_or_else(|| issuer.to_owned()),
        source_replica_expression: parameters.optional("source_replica_expression")?,
        grouping: grouping(parameters.optional::<String>("grouping")?.as_deref())?,
        lifetime: parameters.optional("lifetime")?,
        activity: parameters.optional("activity")?,
        comment: parameters.optional("comment")?,
        // text is what it must be, and the JSON of that text is kept
        meta: parameters.optional::<String>("meta")?.map(|text| Value::String(text).to_string()),
        priority: parameters.optional("priority")?.unwrap_or(3),
        locked: parameters.optional("locked")?.unwrap_or(false),
        purge_replicas: parameters.optional("purge_replicas")?.unwrap_or(false),
    };
    let ids = shared.change(|catalog, now| catalog.add_rules(issuer, &new, now))?;
    Ok(Reply::created_ids(&ids))
}

fn grouping(name: Option<&str>) -> Result<Grouping, Refusal> {
    match name {
        None | Some("DATASET") => Ok(Grouping::Dataset),
        Some("NONE") => Ok(Grouping::None),
        Some("ALL") => Ok(Grouping::All),
        Some(other) => refuse(
            Class::InvalidObject,
            format!("Problem validating rule: '{other}' is not one of ['DATASET', 'NONE', 'ALL', None]"),
        ),
    }
}

fn describe(rule: &Rule) -> Value {
    json!({
        "id": rule.id, "subscription_id": null, "account": rule.account, "scope": rule.did.scope,
        "name": rule.did.name, "did_type": rule.kind.name(), "state": rule.shown_state().0, "error": rule.error,
        "rse_expression": rule.rse_expression, "copies": rule.copies,
        "expires_at": rule.expires.map(dates::rucio), "weight": null, "locked": rule.locked,
        "locks_ok_cnt": rule.locks_ok, "locks_replicating_cnt": rule.locks_replicating,
        "locks_stuck_cnt": rule.locks_stuck, "source_replica_expression": rule.source_replica_expression,
        "activity": rule.activity, "grouping": rule.grouping.name(), "notification": "NO",
        "stuck_at": rule.stuck_at.map(dates::rucio), "purge_replicas": rule.purge_replicas,
        "ignore_availability": false, "ignore_account_limit": false, "priority": rule.priority,
        "comments": rule.comment, "child_rule_id": null, "eol_at": null, "split_container": false, "meta": rule.meta,
        "deleted_at": null, "created_at": dates::rucio(rule.created), "updated_at": dates::rucio(rule.updated),
    })
}

/// In lists a rule also says how large its DID is.
fn describe_with_size(catalog: &Catalog, rule: &Rule) -> Value {
    let mut line = describe(rule);
    line["bytes"] = json!(catalog.dids.get(&rule.did).and_then(|record| record.bytes));
    line
}

/// `GET /rules/{id}`
pub(super) fn one(shared: &Shared, call: &Call<'_>) -> Result<Reply, Refusal> {
    Ok(Reply::json(&describe(shared.catalog().rule(&call.route.key)?)))
}

/// `GET /rules/{id}/locks`: an unknown rule has no locks, and no error.
pub(super) fn locks(shared: &Shared, call: &Call<'_>) -> Result<Reply, Refusal> {
    let id = &call.route.key;
    if !is_rule_id(id) {
        return refuse(Class::DatabaseException, "An unknown Database Exception has occurred.");
    }
    let catalog = shared.catalog();
    Ok(Reply::lines(catalog.locks(id).map(|((did, rse), state)| {
        json!({
            "scope": did.scope, "name": did.name, "rse": rse, "rse_id": catalog.rses.get(rse).map(|rse| &rse.id),
            "state": state.name(), "rule_id": id,
        })
    })))
}

/// `GET /rules/{id}/analysis`: the transfers of a stuck rule; of any other one its state in words.
pub(super) fn analysis(shared: &Shared, call: &Call<'_>) -> Result<Reply, Refusal> {
    let catalog = shared.catalog();
    let rule = catalog.rule(&call.route.key)?;
    let (error, transfers) = match rule.shown_state().0 {
        "STUCK" => (json!(rule.error), stuck_transfers(&catalog, rule)),
        "OK" => (json!("This replication rule is OK"), Vec::new()),
        "REPLICATING" => (json!("This replication rule is currently REPLICATING"), Vec::new()),
        other => (json!(format!("This replication rule is {other}")), Vec::new()),
    };
    Ok(Reply::json(&json!({ "rule_error": error, "transfers": transfers })))
}

/// The miniature keeps no history of requests: a transfer that failed was tried as often as it ever is.
fn stuck_transfers(catalog: &Catalog, rule: &Rule) -> Vec<Value> {
    let stuck = catalog.locks(&rule.id).filter(|(_, state)| *state == Progress::Stuck);
    let describe = |((did, rse), _): (&(Did, String), Progress)| {
        let sources: Vec<Value> = catalog.available_at(did).into_iter().map(|rse| json!([rse, true])).collect();
        json!({
            "scope": did.scope, "name": did.name, "rse": rse, "rse_id": catalog.rses.get(rse).map(|rse| &rse.id),
            "attempts": ATTEMPTS_MAX, "last_error": "RequestState.FAILED", "last_source": null, "sources": sources,
            "last_time": dates::rucio(rule.updated),
        })
    };
    stuck.map(describe).collect()
}

/// Letters of Rucio's rule states: OK, replicating, stuck, suspended, waiting, injected.
const RULE_STATES: [&str; 6] = ["O", "R", "S", "U", "W", "I"];

/// Filters of `GET /rules/`; Rucio knows every column of the table.
const FILTERS: [&str; 5] = ["account", "scope", "name", "rse_expression", "state"];

/// `GET /rules/?account=&scope=&name=&rse_expression=&state=`
pub(super) fn list(shared: &Shared, call: &Call<'_>) -> Result<Reply, Refusal> {
    for (key, value) in url::form_urlencoded::parse(call.query.as_bytes()) {
        if !FILTERS.contains(&key.as_ref()) {
            let message = format!("type object 'ReplicationRule' has no attribute '{key}'");
            return refuse(Class::Internal, message);
        }
        if key == "state" && !RULE_STATES.contains(&value.as_ref()) {
            return refuse(Class::Internal, format!("'{value}' is not a valid RuleState"));
        }
    }
    let wanted = |key: &str, value: &str| call.parameter(key).is_none_or(|wanted| wanted == "*" || wanted == value);
    let catalog = shared.catalog();
    let matching = catalog.rules.values().filter(|rule| {
        wanted("account", &rule.account)
            && wanted("scope", &rule.did.scope)
            && wanted("name", &rule.did.name)
            && wanted("rse_expression", &rule.rse_expression)
            && wanted("state", rule.shown_state().1)
    });
    Ok(Reply::lines(matching.map(|rule| describe_with_size(&catalog, rule))))
}

/// `GET /dids/{scope}/{name}/rules`
pub(super) fn on_did(shared: &Shared, call: &Call<'_>) -> Result<Reply, Refusal> {
    let catalog = shared.catalog();
    let Some(did) = &call.route.did else { return Ok(Reply::not_found()) };
    Ok(Reply::lines(catalog.did_rules(did)?.into_iter().map(|rule| describe_with_size(&catalog, rule))))
}

/// `GET /dids/{scope}/{name}/associated_rules`: the rules that hold a lock on a file, whatever they are on.
pub(super) fn of_file(shared: &Shared, call: &Call<'_>) -> Result<Reply, Refusal> {
    let catalog = shared.catalog();
    let Some(did) = &call.route.did else { return Ok(Reply::not_found()) };
    Ok(Reply::lines(catalog.rules_of_file(did)?.into_iter().map(|rule| describe_with_size(&catalog, rule))))
}

/// `PUT /rules/{id}`
pub(super) fn update(shared: &Shared, issuer: &str, call: &Call<'_>) -> Result<Reply, Refusal> {
    let options: Value = Parameters::read(call.body)?.required("options")?;
    let mut options = Parameters::read(options.to_string().as_bytes())?;
    let change = RuleChange {
        lifetime: options.change("lifetime")?,
        purge_replicas: options.optional("purge_replicas")?,
        locked: options.optional("locked")?,
        priority: options.optional("priority")?,
        comment: options.change("comment")?,
        boost: options.change::<Value>("boost_rule")? != Change::Keep,
        state: options.optional("state")?,
    };
    if let Some(option) = options.rest().next() {
        return refuse(Class::InputValidationError, format!("{option} is not a valid option to set."));
    }
    shared.change(|catalog, now| catalog.update_rule(issuer, &call.route.key, &change, now))?;
    Ok(Reply::empty())
}

/// `DELETE /rules/{id}`: wants a body, if only `{}`.
pub(super) fn delete(shared: &Shared, issuer: &str, call: &Call<'_>) -> Result<Reply, Refusal> {
    let purge = Parameters::read(call.body)?.optional("purge_replicas")?;
    shared.change(|catalog, now| catalog.delete_rule(issuer, &call.route.key, purge, now))?;
    Ok(Reply::empty())
}
