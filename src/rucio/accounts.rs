//! What an account may.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::answer::Json;
use super::retry::Repeat;
use super::transport::{Request, path};
use super::{Client, Error};

#[derive(Deserialize)]
pub(super) struct Attribute {
    key: String,
    value: Value,
}

/// The trailing slash is part of the route.
pub(super) fn attributes_request(endpoint: &'static str, account: &str) -> Result<Request, Error> {
    let path = path(&["accounts", account, "attr"])? + "/";
    Ok(Request::new(endpoint, format!("show the attributes of account '{account}'"), Method::GET, path))
}

impl Client {
    /// The attributes of an account (`GET /accounts/{account}/attr/`). An account without any has none; one that does
    /// not exist is [`NotFound`](super::Kind::NotFound).
    pub async fn account_attributes(&self, account: &str) -> Result<BTreeMap<String, Value>, Error> {
        let request = attributes_request("account_attributes", account)?;
        let Json(attributes): Json<Vec<Attribute>> = self.call(Repeat::Safe, request).await?;
        Ok(attributes.into_iter().map(|attribute| (attribute.key, attribute.value)).collect())
    }
}
