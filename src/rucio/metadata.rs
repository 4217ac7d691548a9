//! Metadata of DIDs, and the keys that Rucio would take for something else.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{Json, Lines};
use super::dids::several;
use super::errors::{Kind, Outlook};
use super::retry::Repeat;
use super::transport::{Request, path};
use super::{Client, Error, LIST_MAX};
use crate::names::Did;

/// Columns of Rucio's table of DIDs (`DataIdentifier` in `db/sqla/models.py`) and the further keys of its column
/// plugin (`core/did_meta_plugins/did_column_meta.py`), as of Rucio 41. A value under such a key changes the DID
/// itself (`lifetime` makes it expire, `bytes` its size) or is lost; none ever reaches the store of free metadata.
const TAKEN: &[&str] = &[
    "access_cnt",
    "accessed_at",
    "account",
    "adler32",
    "availability",
    "bytes",
    "campaign",
    "closed_at",
    "complete",
    "constituent",
    "created_after",
    "created_at",
    "created_before",
    "datatype",
    "deleted_at",
    "did_type",
    "eol_at",
    "events",
    "expired_at",
    "guid",
    "hidden",
    "is_archive",
    "is_new",
    "is_open",
    "length",
    "lifetime",
    "lumiblocknr",
    "md5",
    "monotonic",
    "name",
    "obsolete",
    "panda_id",
    "phys_group",
    "prod_step",
    "project",
    "provenance",
    "purge_replicas",
    "run_number",
    "scope",
    "stream_name",
    "suppressed",
    "task_id",
    "transient",
    "type",
    "updated_at",
    "version",
];

/// Whether Rucio stores a value under this key as it is: not one of its own names, and without a `.`, which its
/// searches take for an operator.
pub fn metadata_key_is_safe(key: &str) -> bool {
    !key.is_empty() && !key.contains('.') && TAKEN.binary_search(&key).is_err()
}

/// Refuses metadata with a key that Rucio would misread.
pub(super) fn check_keys(did: &Did, meta: &Map<String, Value>) -> Result<(), Error> {
    let Some(key) = meta.keys().find(|key| !metadata_key_is_safe(key)) else { return Ok(()) };
    let message = format!(
        "the metadata of {did} has the key '{key}', which Rucio would take for something else; \
         nothing was sent, the key must be renamed"
    );
    Err(Error::new(Kind::UnsafeMetadataKey, Outlook::Never, message).never_sent())
}

/// DIDs asked about one by one at a time; the client's own bound on requests holds besides.
const AT_ONCE: usize = 8;
/// A key of every DID's columns, and none of free metadata.
const COLUMN: &str = "did_type";

#[derive(Deserialize)]
struct Listed {
    #[serde(flatten)]
    did: Did,
    #[serde(flatten)]
    meta: Map<String, Value>,
}

impl Client {
    /// The free metadata of DIDs, any number (`POST /dids/bulkmeta`, plugin JSON). A DID that Rucio does not know is
    /// missing from the answer; one without metadata has an empty map.
    ///
    /// An old Rucio (35.8) ignores the plugin there and answers with the DIDs' columns; then each is asked about
    /// (`GET /dids/{scope}/{name}/meta?plugin=JSON`).
    pub async fn metadata(&self, dids: &[Did]) -> Result<BTreeMap<Did, Map<String, Value>>, Error> {
        let mut found = BTreeMap::new();
        for chunk in dids.chunks(LIST_MAX) {
            let what = format!("show the metadata of {}", several(chunk));
            let request = Request::new("metadata", what, Method::POST, "/dids/bulkmeta")
                .json(&json!({ "dids": chunk, "plugin": "JSON" }));
            let Lines(listed): Lines<Listed> = self.call(Repeat::Safe, request).await?;
            if listed.iter().any(|listed| listed.meta.contains_key(COLUMN)) {
                let each = listed.into_iter().map(|listed| self.metadata_of(listed.did));
                found.extend(stream::iter(each).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?);
            } else {
                found.extend(listed.into_iter().map(|listed| (listed.did, listed.meta)));
            }
        }
        Ok(found)
    }

    /// The free metadata of one DID that is known to exist.
    async fn metadata_of(&self, did: Did) -> Result<(Did, Map<String, Value>), Error> {
        let path = path(&["dids", &did.scope, &did.name, "meta"])?;
        let request =
            Request::new("metadata", format!("show the metadata of {did}"), Method::GET, path).query("plugin", "JSON");
        match self.call(Repeat::Safe, request).await {
            Ok(Json(meta)) => Ok((did, meta)),
            // Rucio's way to say that it has none
            Err(error) if error.kind() == Kind::NotFound => Ok((did, Map::new())),
            Err(error) => Err(error),
        }
    }

    /// Sets keys of the free metadata of DIDs; other keys stay (`POST /dids/bulkdidsmeta`, needs an admin).
    ///
    /// Up to [`LIST_MAX`] DIDs are changed together or not at all; more go in several steps. A key that is not
    /// [safe](metadata_key_is_safe) is [`UnsafeMetadataKey`](Kind::UnsafeMetadataKey), before anything is sent.
    pub async fn set_metadata(&self, sets: &[(Did, Map<String, Value>)]) -> Result<(), Error> {
        for (did, meta) in sets {
            check_keys(did, meta)?;
        }
        for chunk in sets.chunks(LIST_MAX) {
            let dids: Vec<Value> =
                chunk.iter().map(|(did, meta)| json!({ "scope": did.scope, "name": did.name, "meta": meta })).collect();
            let what = format!("set the metadata of {}", several(chunk.iter().map(|(did, _)| did)));
            let request =
                Request::new("set_metadata", what, Method::POST, "/dids/bulkdidsmeta").json(&json!({ "dids": dids }));
            self.call::<()>(Repeat::Safe, request).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_keys_can_be_searched() {
        assert!(TAKEN.is_sorted());
    }

    #[test]
    fn keys_that_rucio_would_misread_are_not_safe() {
        for key in ["", ".", "a.b", "obs_id.gte", "lifetime", "version", "type", "project", "run_number", "bytes"] {
            assert!(!metadata_key_is_safe(key), "{key}");
        }
        for key in ["obs_id", "instrument__id", "valid_fits_checksum", "versions", "Version", "lifetimes"] {
            assert!(metadata_key_is_safe(key), "{key}");
        }
    }
}
