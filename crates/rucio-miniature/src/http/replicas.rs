//! `/replicas`: where the copies are, and what was declared bad.

use std::time::SystemTime;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::Reply;
use super::body::{BodyDid, Parameters};
use super::call::Call;
use super::dids::bounded;
use crate::catalog::replicas::{Listed, Question};
use crate::dates;
use crate::refusal::{Class, Refusal, refuse};
use crate::shared::Shared;
use rucio_client::Did;

/// `POST /replicas/list`
pub(super) fn list(shared: &Shared, call: &Call<'_>) -> Result<Reply, Refusal> {
    let mut parameters = Parameters::read(call.body)?;
    let question = Question {
        dids: bounded(&parameters.required::<Vec<BodyDid>>("dids")?)?,
        rse_expression: parameters.optional("rse_expression")?,
        all_states: parameters.optional("all_states")?.unwrap_or(false),
        schemes: parameters.optional("schemes")?,
    };
    let catalog = shared.catalog();
    let listed = catalog.list_replicas(&question)?;
    Ok(Reply::lines(listed.into_iter().map(|entry| {
        let id = |rse: &str| catalog.rses.get(rse).map(|rse| rse.id.clone());
        line(&entry, id)
    })))
}

fn line(entry: &Listed, id: impl Fn(&str) -> Option<String>) -> Value {
    let (mut pfns, mut rses, mut states) = (Map::new(), Map::new(), Map::new());
    for (rse, state, pfn) in &entry.copies {
        states.insert(rse.clone(), state.name().into());
        if let Some(pfn) = pfn {
            let priority = pfns.len() + 1;
            let about = json!({
                "rse_id": id(rse), "rse": rse, "type": "DISK", "volatile": false, "domain": "wan",
                "priority": priority, "client_extract": false,
            });
            pfns.insert(pfn.clone(), about);
            rses.insert(rse.clone(), json!([pfn]));
        }
    }
    json!({
        "scope": entry.did.scope, "name": entry.did.name, "bytes": entry.bytes, "md5": entry.md5,
        "adler32": entry.adler32, "pfns": pfns, "rses": rses, "states": states,
    })
}

#[derive(Deserialize)]
struct BodyState {
    scope: String,
    name: String,
    state: String,
}

/// `PUT /replicas`: nothing but AVAILABLE.
pub(super) fn update(shared: &Shared, issuer: &str, call: &Call<'_>) -> Result<Reply, Refusal> {
    let mut parameters = Parameters::read(call.body)?;
    let rse: String = parameters.required("rse")?;
    let files: Vec<BodyState> = parameters.required("files")?;
    if let Some(other) = files.iter().find(|file| file.state != "A") {
        return refuse(Class::ValueError, format!("the miniature knows no state '{}'", other.state));
    }
    let dids: Vec<Did> = files.into_iter().map(|file| Did::new(file.scope, file.name)).collect();
    shared.change(|catalog, _| catalog.make_available(issuer, &rse, &dids))?;
    Ok(Reply::empty())
}

#[derive(Deserialize)]
struct BodyBad {
    scope: String,
    name: String,
    rse: String,
}

/// `POST /replicas/bad`
pub(super) fn declare_bad(shared: &Shared, issuer: &str, call: &Call<'_>) -> Result<Reply, Refusal> {
    let replicas: Vec<BodyBad> = Parameters::read(call.body)?.required("replicas")?;
    let places: Vec<_> = replicas.into_iter().map(|bad| (Did::new(bad.scope, bad.name), bad.rse)).collect();
    shared.change(|catalog, now| catalog.declare_bad(issuer, &places, now))?;
    Ok(Reply::created_json(&json!({})))
}

/// `GET /replicas/bad/states?rse=&younger_than=`
pub(super) fn bad(shared: &Shared, call: &Call<'_>) -> Reply {
    let (rse, after) = (call.parameter("rse").unwrap_or_default(), call.parameter("younger_than").unwrap_or_default());
    let is_later = |at: SystemTime| dates::iso(at) >= after;
    let catalog = shared.catalog();
    Reply::lines(catalog.declared_at(&rse).filter(|declared| is_later(declared.at)).map(|declared| {
        let (did, outcome): (&Did, &str) = (&declared.did, declared.outcome.into());
        json!({
            "scope": did.scope, "name": did.name, "rse": rse, "state": outcome,
            "created_at": dates::rucio(declared.at), "updated_at": dates::rucio(declared.at),
        })
    }))
}
