//! `/rses` and `/accounts`.

use serde_json::{Map, Value, json};
use url::Url;

use super::answer::Reply;
use super::call::Call;
use crate::dates;
use crate::refusal::{Class, Refusal, refuse};
use crate::shared::Shared;

/// Rucio stores the words True and False as booleans.
fn attribute(value: &str) -> Value {
    match value {
        "True" | "true" => true.into(),
        "False" | "false" => false.into(),
        text => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
    }
}

/// `GET /rses/?expression=`
pub(super) fn list(shared: &Shared, call: &Call<'_>) -> Result<Reply, Refusal> {
    let catalog = shared.catalog();
    let names = match call.parameter("expression").filter(|text| !text.is_empty()) {
        Some(expression) => catalog.resolve(&expression)?,
        None => catalog.rses.keys().cloned().collect(),
    };
    Ok(Reply::lines(names.into_iter().map(|rse| json!({"rse": rse}))))
}

/// `GET /rses/{rse}`
pub(super) fn one(shared: &Shared, call: &Call<'_>) -> Result<Reply, Refusal> {
    let catalog = shared.catalog();
    let name = &call.route.key;
    let rse = catalog.rse(name)?;
    let open = !catalog.closed.contains(name);
    let protocol = Url::parse(&rse.prefix).ok().map(|url| {
        let domain =
            json!({"read": 1, "write": 1, "delete": 1, "third_party_copy_read": 1, "third_party_copy_write": 1});
        json!({
            "scheme": url.scheme(), "hostname": url.host_str(), "port": url.port(), "prefix": url.path(),
            "impl": "rucio.rse.protocols.gfal.Default", "domains": {"lan": domain, "wan": domain},
            "extended_attributes": null,
        })
    });
    Ok(Reply::json(&json!({
        "id": rse.id, "rse": name, "rse_type": "DISK", "deterministic": true, "volatile": false,
        "availability": if open { 7 } else { 5 }, "availability_read": true, "availability_write": open,
        "availability_delete": true, "deleted": false, "staging_area": false, "verify_checksum": true,
        "protocols": protocol.into_iter().collect::<Vec<_>>(),
    })))
}

/// `GET /scopes/`
pub(super) fn scopes(shared: &Shared) -> Reply {
    Reply::json(&json!(shared.catalog().scopes))
}

/// `GET /rses/{rse}/attr/`
pub(super) fn attributes(shared: &Shared, call: &Call<'_>) -> Result<Reply, Refusal> {
    let catalog = shared.catalog();
    let name = &call.route.key;
    catalog.rse(name)?;
    let found: Map<String, Value> = catalog
        .attributes
        .get(name)
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), attribute(value)))
        .collect();
    Ok(Reply::json(&Value::Object(found)))
}

/// `GET /accounts/{account}`; `whoami` points to the account of the token.
pub(super) fn account(shared: &Shared, issuer: &str, call: &Call<'_>) -> Result<Reply, Refusal> {
    let name = &call.route.key;
    if name == "whoami" {
        return Ok(Reply::see_other(issuer));
    }
    let catalog = shared.catalog();
    let Some(account) = catalog.accounts.get(name) else {
        return refuse(Class::AccountNotFound, format!("Account with ID '{name}' cannot be found"));
    };
    Ok(Reply::json(&json!({
        "account": name, "account_type": "SERVICE", "status": "ACTIVE", "email": format!("{name}@localhost"),
        "created_at": dates::iso(account.created), "updated_at": dates::iso(account.created),
        "suspended_at": null, "deleted_at": null,
    })))
}

/// `GET /accounts/{account}/attr/`
pub(super) fn account_attributes(shared: &Shared, call: &Call<'_>) -> Result<Reply, Refusal> {
    let name = &call.route.key;
    let catalog = shared.catalog();
    let Some(account) = catalog.accounts.get(name) else {
        return refuse(Class::AccountNotFound, format!("Account ID '{name}' does not exist"));
    };
    Ok(Reply::json(&if account.admin { json!([{"key": "admin", "value": true}]) } else { json!([]) }))
}
