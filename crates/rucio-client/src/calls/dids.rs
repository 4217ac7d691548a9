//! Files, datasets and containers.

use reqwest::Method;
use serde_json::json;

use super::keys::check_keys;
use crate::answer::{Json, Lines};
use crate::client::Client;
use crate::did::{Did, several};
use crate::errors::Error;
use crate::request::{Request, path};
use crate::retry::Repeat;
use crate::types::{Attachment, DidInfo, NewCollection};

impl Client {
    /// Creates datasets and containers, all or none (`POST /dids`); at most 1000.
    ///
    /// If one exists, none is created: [`AlreadyExists`](crate::Kind::AlreadyExists). Repeated only if it was never
    /// sent, so after a broken connection the caller looks what is there.
    pub async fn add_collections(&self, new: &[NewCollection]) -> Result<(), Error> {
        if new.is_empty() {
            return Ok(());
        }
        let what = format!("create {}", several(new.iter().map(|new| &new.did)));
        let request = Request::new("add_collections", what, Method::POST, "/dids").json(&json!(new));
        self.call(Repeat::OnlyIfNotSent, request).await
    }

    /// Attaches children to parents, all or none; what is attached already is left alone (`POST /dids/attachments`).
    ///
    /// With an RSE, new files get their replica and their metadata in the same transaction. A file registered with
    /// another size or checksum is [`ConsistencyMismatch`](crate::Kind::ConsistencyMismatch), a missing parent
    /// [`NotFound`](crate::Kind::NotFound), a closed one [`Unsupported`](crate::Kind::Unsupported), and a metadata key
    /// that Rucio would misread [`UnsafeMetadataKey`](crate::Kind::UnsafeMetadataKey) before anything is sent.
    pub async fn attach(&self, attachments: &[Attachment]) -> Result<(), Error> {
        for child in attachments.iter().flat_map(|attachment| &attachment.children) {
            check_keys(&child.did, &child.meta)?;
        }
        // Rucio's database refuses an empty list of children
        let filled: Vec<&Attachment> =
            attachments.iter().filter(|attachment| !attachment.children.is_empty()).collect();
        if filled.is_empty() {
            return Ok(());
        }
        let children = filled.iter().flat_map(|attachment| &attachment.children);
        let what = format!("attach {}", several(children.map(|child| &child.did)));
        let request = Request::new("attach", what, Method::POST, "/dids/attachments")
            .json(&json!({ "ignore_duplicate": true, "attachments": filled }));
        self.call(Repeat::Safe, request).await
    }

    /// What Rucio knows of a DID (`GET /dids/{scope}/{name}`).
    pub async fn did(&self, did: &Did) -> Result<DidInfo, Error> {
        let request = Request::new("did", format!("show {did}"), Method::GET, path(&["dids", &did.scope, &did.name])?);
        let Json(info) = self.call(Repeat::Safe, request).await?;
        Ok(info)
    }

    /// The direct children of a dataset or container (`GET /dids/{scope}/{name}/dids`), in no order.
    pub async fn content(&self, did: &Did) -> Result<Vec<Did>, Error> {
        let path = path(&["dids", &did.scope, &did.name, "dids"])?;
        let request = Request::new("content", format!("list the content of {did}"), Method::GET, path);
        let Lines(children) = self.call(Repeat::Safe, request).await?;
        Ok(children)
    }
}
