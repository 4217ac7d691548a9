//! Metadata of DIDs: which keys go where, and who may write.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::{Catalog, Class, Did, Refusal, refuse};
use crate::embedded::dates;

/// Keys that are columns of Rucio's DID table: they never reach the JSON store.
const COLUMNS: [&str; 38] = [
    "name",
    "hidden",
    "is_new",
    "is_archive",
    "constituent",
    "purge_replicas",
    "access_cnt",
    "accessed_at",
    "closed_at",
    "expired_at",
    "deleted_at",
    "eol_at",
    "bytes",
    "length",
    "md5",
    "adler32",
    "guid",
    "events",
    "project",
    "datatype",
    "run_number",
    "stream_name",
    "prod_step",
    "version",
    "campaign",
    "task_id",
    "panda_id",
    "lumiblocknr",
    "provenance",
    "phys_group",
    "transient",
    "is_transient",
    "rule_evaluation_action",
    "rule_evaluation_required",
    "created_before",
    "created_after",
    "type",
    "lifetime",
];

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
    if let Some(key) = meta.keys().find(|key| key.contains('.')) {
        let message = format!(
            "Restricted character \".\" found in metadata key. Reason: . is used in filters to separate key and operator. ({key})"
        );
        return refuse(Class::InvalidMetadata, message);
    }
    match meta.get("lifetime") {
        None | Some(Value::Null | Value::Number(_)) => Ok(()),
        Some(_) => refuse(Class::InvalidValueForKey, "float() argument must be a string or a real number"),
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
            } else {
                record.json.insert(key.clone(), value.clone());
            }
        }
    }

    /// The metadata of one DID.
    pub(crate) fn metadata(&self, did: &Did, plugin: Plugin) -> Result<Map<String, Value>, Refusal> {
        let record = self.did(did)?;
        let mut found = Map::new();
        if plugin != Plugin::Json {
            found.extend(COLUMNS.iter().map(|key| ((*key).to_owned(), Value::Null)));
            found.extend(record.columns.clone());
            let own = json!({
                "scope": did.scope, "name": did.name, "account": record.account, "did_type": record.kind.name(),
                "bytes": record.bytes, "adler32": record.adler32, "md5": record.md5, "is_open": record.open,
                "expired_at": record.expires.map(dates::rucio), "created_at": dates::rucio(record.created),
            });
            found.extend(own.as_object().cloned().unwrap_or_default());
        }
        if plugin != Plugin::DidColumn {
            found.extend(record.json.clone());
        }
        Ok(found)
    }
}
