//! Free metadata of DIDs.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::keys::check_keys;
use crate::answer::{Json, Lines};
use crate::client::Client;
use crate::did::Did;
use crate::did::several;
use crate::errors::{Error, Kind};
use crate::request::{Request, path};
use crate::retry::Repeat;
use crate::types::{DidEnd, DidStatus, LIST_MAX, present};

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

#[derive(Deserialize)]
struct Standing {
    #[serde(flatten)]
    did: Did,
    #[serde(flatten)]
    status: DidStatus,
}

#[derive(Deserialize)]
struct Ending {
    #[serde(flatten)]
    did: Did,
    #[serde(deserialize_with = "present")]
    expired_at: DidEnd,
}

impl Client {
    /// When DIDs go, files too, any number (`POST /dids/bulkmeta`, plugin `DID_COLUMN`). At its end Rucio's undertaker removes
    /// a DID with all its rules, permanent ones too. A DID that Rucio does not know is missing from the answer.
    pub async fn did_ends(&self, dids: &[Did]) -> Result<BTreeMap<Did, DidEnd>, Error> {
        let mut found = BTreeMap::new();
        for chunk in dids.chunks(LIST_MAX) {
            let what = format!("show the ends of {}", several(chunk));
            let request = Request::new("did_ends", what, Method::POST, "/dids/bulkmeta")
                .json(&json!({ "dids": chunk, "plugin": "DID_COLUMN" }));
            let Lines(listed): Lines<Ending> = self.call(Repeat::Safe, request).await?;
            found.extend(listed.into_iter().map(|listed| (listed.did, listed.expired_at)));
        }
        Ok(found)
    }

    /// Which of these DIDs Rucio has, any number, and what they are (`POST /dids/bulkmeta`, plugin `DID_COLUMN`). One that it
    /// does not know is missing from the answer.
    pub async fn did_statuses(&self, dids: &[Did]) -> Result<BTreeMap<Did, DidStatus>, Error> {
        let mut found = BTreeMap::new();
        for chunk in dids.chunks(LIST_MAX) {
            let what = format!("show what is {}", several(chunk));
            let request = Request::new("did_statuses", what, Method::POST, "/dids/bulkmeta")
                .json(&json!({ "dids": chunk, "plugin": "DID_COLUMN" }));
            let Lines(listed): Lines<Standing> = self.call(Repeat::Safe, request).await?;
            found.extend(listed.into_iter().map(|listed| (listed.did, listed.status)));
        }
        Ok(found)
    }

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
    /// [safe](crate::metadata_key_is_safe) is [`UnsafeMetadataKey`](Kind::UnsafeMetadataKey), before anything is sent.
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
