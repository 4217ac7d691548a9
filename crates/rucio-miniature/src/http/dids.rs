//! `/dids`.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::Reply;
use super::body::{BodyDid, Parameters, list};
use super::call::Call;
use crate::catalog::attach::{Attachment, Child, LIST_MAX};
use crate::catalog::metadata::Plugin;
use crate::catalog::records::Kind;
use crate::dates;
use crate::refusal::{Class, Refusal, refuse};
use crate::shared::Shared;
use rucio_client::Did;

fn named(call: &Call<'_>) -> Result<Did, Refusal> {
    call.route.did.clone().ok_or_else(|| Refusal::new(Class::ValueError, "Could not parse scope and name."))
}

/// `POST /dids`
pub(super) fn add(shared: &Shared, issuer: &str, call: &Call<'_>) -> Result<Reply, Refusal> {
    let mut new = Vec::new();
    for entry in list::<BodyDid>(call.body)? {
        let kind = match entry.kind.as_deref() {
            Some("DATASET") => Kind::Dataset,
            Some("CONTAINER") => Kind::Container,
            Some("FILE") => Kind::File,
            other => return refuse(Class::Internal, format!("'{}'", other.unwrap_or("type"))),
        };
        new.push((entry.did(), kind));
    }
    shared.change(|catalog, now| catalog.add_collections(issuer, &new, now))?;
    Ok(Reply::created())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BodyAttachment {
    scope: String,
    name: String,
    rse: Option<String>,
    dids: Vec<BodyDid>,
}

/// `POST /dids/attachments`
pub(super) fn attach(shared: &Shared, issuer: &str, call: &Call<'_>) -> Result<Reply, Refusal> {
    let mut parameters = Parameters::read(call.body)?;
    let ignore_duplicate = parameters.optional("ignore_duplicate")?.unwrap_or(false);
    let bodies: Vec<BodyAttachment> = parameters.required("attachments")?;
    let attachments: Vec<Attachment> = bodies
        .into_iter()
        .map(|body| Attachment {
            parent: Did::new(body.scope, body.name),
            rse: body.rse,
            children: body.dids.into_iter().map(child).collect(),
        })
        .collect();
    shared.change(|catalog, now| catalog.attach(issuer, &attachments, ignore_duplicate, now))?;
    Ok(Reply::created())
}

fn child(body: BodyDid) -> Child {
    Child {
        did: body.did(),
        bytes: body.bytes,
        adler32: body.adler32,
        md5: body.md5,
        meta: body.meta.unwrap_or_default(),
    }
}

/// `GET /dids/{scope}/{name}`
pub(super) fn one(shared: &Shared, call: &Call<'_>) -> Result<Reply, Refusal> {
    let did = named(call)?;
    let catalog = shared.catalog();
    let record = catalog.did(&did)?;
    Ok(Reply::json(&match record.kind {
        Kind::File => json!({
            "scope": did.scope, "name": did.name, "type": "FILE", "account": record.account, "bytes": record.bytes,
            "length": 1, "md5": record.md5, "adler32": record.adler32,
        }),
        kind => json!({
            "scope": did.scope, "name": did.name, "type": kind.name(), "account": record.account,
            "open": record.open, "monotonic": false, "expired_at": record.expires.map(dates::rucio),
            "length": null, "bytes": null,
        }),
    }))
}

/// `GET /dids/{scope}/{name}/dids`
pub(super) fn content(shared: &Shared, call: &Call<'_>) -> Result<Reply, Refusal> {
    let did = named(call)?;
    let catalog = shared.catalog();
    let children = catalog.content(&did)?;
    Ok(Reply::lines(children.into_iter().map(|(child, record)| {
        json!({
            "scope": child.scope, "name": child.name, "type": record.kind.name(), "bytes": record.bytes,
            "adler32": record.adler32, "md5": record.md5,
        })
    })))
}

fn plugin(name: Option<String>) -> Result<Plugin, Refusal> {
    let Some(name) = name else { return Ok(Plugin::DidColumn) };
    let message = format!("Metadata plugin \"{name}\" is not enabled on the server.");
    Plugin::named(&name).ok_or_else(|| Refusal::new(Class::UnsupportedMetadataPlugin, message))
}

/// `GET /dids/{scope}/{name}/meta`
pub(super) fn metadata(shared: &Shared, call: &Call<'_>) -> Result<Reply, Refusal> {
    let plugin = plugin(call.parameter("plugin"))?;
    let found = shared.catalog().metadata(&named(call)?, plugin)?;
    Ok(Reply::json(&Value::Object(found)))
}

/// `POST /dids/{scope}/{name}/meta`
pub(super) fn set_metadata(shared: &Shared, issuer: &str, call: &Call<'_>) -> Result<Reply, Refusal> {
    let sets = [(named(call)?, Parameters::read(call.body)?.required("meta")?)];
    shared.change(|catalog, now| catalog.set_metadata(issuer, &sets, now))?;
    Ok(Reply::created())
}

#[derive(Deserialize)]
struct BodySet {
    scope: String,
    name: String,
    meta: Map<String, Value>,
}

/// `POST /dids/bulkdidsmeta`
pub(super) fn set_bulk_metadata(shared: &Shared, issuer: &str, call: &Call<'_>) -> Result<Reply, Refusal> {
    let bodies: Vec<BodySet> = Parameters::read(call.body)?.required("dids")?;
    let sets: Vec<_> = bodies.into_iter().map(|body| (Did::new(body.scope, body.name), body.meta)).collect();
    shared.change(|catalog, now| catalog.set_metadata(issuer, &sets, now))?;
    Ok(Reply::created())
}

/// A list of DIDs, at most as long as the schema allows. An empty one is answered with nothing.
pub(super) fn bounded(dids: &[BodyDid]) -> Result<Vec<Did>, Refusal> {
    if dids.len() > LIST_MAX {
        return refuse(Class::InvalidObject, "Problem validating dids: the list is too long");
    }
    Ok(dids.iter().map(BodyDid::did).collect())
}

/// `POST /dids/bulkmeta`: unknown DIDs give no line.
pub(super) fn bulk_metadata(shared: &Shared, call: &Call<'_>) -> Result<Reply, Refusal> {
    let mut parameters = Parameters::read(call.body)?;
    let dids = bounded(&parameters.required::<Vec<BodyDid>>("dids")?)?;
    let plugin = plugin(parameters.optional("plugin")?)?;
    let catalog = shared.catalog();
    Ok(Reply::lines(dids.iter().filter_map(|did| {
        catalog.did(did).ok()?;
        let mut line = catalog.metadata(did, plugin).ok()?;
        line.insert("scope".to_owned(), did.scope.clone().into());
        line.insert("name".to_owned(), did.name.clone().into());
        Some(Value::Object(line))
    })))
}

/// `PUT /dids/{scope}/{name}/status`
pub(super) fn set_status(shared: &Shared, issuer: &str, call: &Call<'_>) -> Result<Reply, Refusal> {
    let did = named(call)?;
    let open = Parameters::read(call.body)?.required("open")?;
    shared.change(|catalog, _| catalog.set_open(issuer, &did, open))?;
    Ok(Reply::empty())
}
