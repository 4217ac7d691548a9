//! Where files are, according to Rucio.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::adler32::{Adler32, if_it_is_one};
use crate::answer::Lines;
use crate::client::Client;
use crate::did::Did;
use crate::did::several;
use crate::errors::{Error, Kind, Outlook};
use crate::request::Request;
use crate::retry::Repeat;
use crate::types::{BadReplica, LIST_MAX, ReplicaListing, ReplicaQuery, ReplicaState};

#[derive(Deserialize)]
struct Listed {
    #[serde(flatten)]
    did: Did,
    bytes: u64,
    #[serde(deserialize_with = "if_it_is_one")]
    adler32: Option<Adler32>,
    /// Absent where a file has no replica at all, which is written as `rses` without an entry.
    states: Option<BTreeMap<String, ReplicaState>>,
    rses: Map<String, Value>,
    pfns: BTreeMap<String, Pfn>,
}

#[derive(Deserialize)]
struct Pfn {
    rse: String,
    #[serde(default)]
    priority: i64,
}

impl TryFrom<Listed> for ReplicaListing {
    type Error = Error;

    fn try_from(listed: Listed) -> Result<Self, Error> {
        let Listed { did, bytes, adler32, states, rses, pfns } = listed;
        let states = match states {
            Some(states) => states,
            None if rses.is_empty() => BTreeMap::new(),
            None => {
                let message = format!("Rucio, asked to list the replicas of {did}, left out their states");
                return Err(Error::new(Kind::Protocol, Outlook::Later, message));
            }
        };
        let mut by_priority: Vec<(String, Pfn)> = pfns.into_iter().collect();
        by_priority.sort_by_key(|(_, pfn)| pfn.priority);
        let mut pfns = BTreeMap::<String, Vec<String>>::new();
        for (name, pfn) in by_priority {
            pfns.entry(pfn.rse).or_default().push(name);
        }
        Ok(Self { did, bytes, adler32, states, pfns })
    }
}

impl Client {
    /// The replicas of files, any number (`POST /replicas/list`). A file that Rucio does not know has no listing.
    ///
    /// RSEs that are blocked for reading are listed too: whether a replica exists is asked here, not whether it can
    /// be had at this moment.
    pub async fn replicas(&self, query: &ReplicaQuery<'_>) -> Result<Vec<ReplicaListing>, Error> {
        let mut found = Vec::with_capacity(query.dids.len());
        for chunk in query.dids.chunks(LIST_MAX) {
            let mut body = Map::new();
            body.insert("dids".to_owned(), json!(chunk));
            body.insert("all_states".to_owned(), json!(query.all_states));
            body.insert("ignore_availability".to_owned(), json!(true));
            body.insert("resolve_archives".to_owned(), json!(false));
            if let Some(expression) = query.rse_expression {
                body.insert("rse_expression".to_owned(), json!(expression));
            }
            if !query.schemes.is_empty() {
                body.insert("schemes".to_owned(), json!(query.schemes));
            }
            let what = format!("list the replicas of {}", several(chunk));
            let request = Request::new("replicas", what, Method::POST, "/replicas/list").json(&body.into());
            let Lines(listed): Lines<Listed> = self.call(Repeat::Safe, request).await?;
            for listed in listed {
                found.push(ReplicaListing::try_from(listed)?);
            }
        }
        Ok(found)
    }

    /// The replicas at an RSE that were declared bad after a moment, with what became of each
    /// (`GET /replicas/bad/states?rse=…&younger_than=…`). `after`: UTC, as `2026-11-29T20:00:00.0`.
    pub async fn bad_replicas(&self, rse: &str, after: &str) -> Result<Vec<BadReplica>, Error> {
        let what = format!("list the replicas at '{rse}' that were declared bad");
        let request = Request::new("bad_replicas", what, Method::GET, "/replicas/bad/states")
            .query("rse", rse)
            .query("younger_than", after);
        let Lines(bad) = self.call(Repeat::Safe, request).await?;
        Ok(bad)
    }

    /// Has a replica AVAILABLE again (`PUT /replicas`), which takes the declaration that it is bad back. What Rucio has given
    /// up as lost keeps its tombstone, and has no locks any more.
    pub async fn replica_is_available(&self, rse: &str, did: &Did) -> Result<(), Error> {
        let file = json!({ "scope": did.scope, "name": did.name, "state": "A" });
        let request = Request::new(
            "replica_is_available",
            format!("have the replica of {did} available"),
            Method::PUT,
            "/replicas",
        )
        .json(&json!({ "rse": rse, "files": [file] }));
        self.call(Repeat::Safe, request).await
    }
}
