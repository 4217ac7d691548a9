//! Metadata of DIDs: which keys go where, and who may write.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::records::Kind;
use super::tables::Catalog;
use crate::dates;
use crate::refusal::{Class, Refusal, refuse};
use rucio_client::Did;

/// Columns of Rucio's DID table that a client may write: keys of these names never reach the JSON store.
const COLUMNS: [&str; 31] = [
    "access_cnt",
    "accessed_at",
    "adler32",
    "bytes",
    "campaign",
    "closed_at",
    "constituent",
    "datatype",
    "deleted_at",
    "eol_at",
    "events",
    "expired_at",
    "guid",
    "hidden",
    "is_archive",
    "is_new",
    "length",
    "lumiblocknr",
    "md5",
    "name",
    "panda_id",
    "phys_group",
    "prod_step",
    "project",
    "provenance",
    "purge_replicas",
    "run_number",
    "stream_name",
    "task_id",
    "transient",
    "version",
];

/// Keys that go to the columns without being one; written, they vanish.
const PSEUDO_COLUMNS: [&str; 3] = ["type", "created_before", "created_after"];

/// Which store a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plugin {
    DidColumn,
    Json,
    All,
}

impl Plugin {
    /// By Rucio's name, in any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "DID_COLUMN" => Some(Self::DidColumn),
            "JSON" => Some(Self::Json),
            "ALL" => Some(Self::All),
            _ => None,
        }
    }
}

/// A key with a dot is refused with the whole set.
pub(crate) fn check_keys(meta: &Map<String, Value>) -> Result<(), Refusal> {
    if meta.keys().any(|key| key.contains('.')) {
        let message = "Restricted character \".\" found in metadata key. Reason: Used as a delimiter for key and \
                       operator (<key>.<operator>) in filtering engine.";
        return refuse(Class::InvalidMetadata, message);
    }
    match meta.get("lifetime") {
        None | Some(Value::Null | Value::Number(_)) => Ok(()),
        Some(value) => refuse(Class::Internal, format!("could not convert string to float: '{value}'")),
    }
}

impl Catalog {
    /// `POST /dids/bulkdidsmeta`: merges keys into each DID; all or none.
    pub(crate) fn set_metadata(
        &mut self,
        issuer: &str,
        sets: &[(Did, Map<String, Value>)],
        now: SystemTime,
    ) -> Result<(), Refusal> {
        for (did, _) in sets {
            if !self.owns(issuer, &did.scope) {
                let message = format!("Account {issuer} can not add metadata to data identifier {did}. ");
                return refuse(Class::AccessDenied, message);
            }
        }
        for (did, meta) in sets {
            check_keys(meta)?;
            self.did(did)?;
        }
        for (did, meta) in sets {
            self.merge(did, meta, now);
        }
        Ok(())
    }

    /// Sorts the keys into the stores. The key `lifetime` is a trap of Rucio's: it sets the DID's expiry.
    pub(super) fn merge(&mut self, did: &Did, meta: &Map<String, Value>, now: SystemTime) {
        let Some(record) = self.dids.get_mut(did) else { return };
        for (key, value) in meta {
            if key == "lifetime" {
                record.expires = value.as_f64().map(|seconds| dates::after(now, seconds));
            } else if COLUMNS.contains(&key.as_str()) {
                record.columns.insert(key.clone(), value.clone());
            } else if !PSEUDO_COLUMNS.contains(&key.as_str()) {
                record.json.insert(key.clone(), value.clone());
            }
        }
    }

    /// The metadata of one DID. The JSON store alone does not care whether the DID exists.
    pub(crate) fn metadata(&self, did: &Did, plugin: Plugin) -> Result<Map<String, Value>, Refusal> {
        let record = match self.did(did) {
            Err(_) if plugin == Plugin::Json => return Ok(Map::new()),
            known => known?,
        };
        let mut found = Map::new();
        if plugin != Plugin::Json {
            found.extend(COLUMNS.iter().map(|key| ((*key).to_owned(), Value::Null)));
            found.extend(record.columns.clone());
            let open = (record.kind != Kind::File).then_some(record.open);
            let own = json!({
                "scope": did.scope, "name": did.name, "account": record.account, "did_type": record.kind.name(),
                "bytes": record.bytes, "adler32": record.adler32, "md5": record.md5, "is_open": open,
                "expired_at": record.expires.map(dates::rucio), "created_at": dates::rucio(record.created),
                "updated_at": dates::rucio(record.created), "availability": "AVAILABLE", "complete": null,
                "hidden": false, "is_new": true, "monotonic": false, "obsolete": false, "purge_replicas": true,
                "suppressed": false, "transient": false,
            });
            found.extend(own.as_object().cloned().unwrap_or_default());
        }
        if plugin != Plugin::DidColumn {
            found.extend(record.json.clone());
        }
        Ok(found)
    }
}
