//! What an account may.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::retry::Repeat;
use super::transport::{Json, Request, path};
use super::{Client, Error};

#[derive(Deserialize)]
struct Attribute {
    key: String,
    value: Value,
}

pub(super) fn attributes_request(endpoint: &'static str, account: &str) -> Request {
    Request::new(endpoint, Method::GET, path(&["accounts", account, "attr", ""])).about(format!("account '{account}'"))
}

impl Client {
    /// The attributes of an account (`GET /accounts/{account}/attr/`). An account without any has none; one that does
    /// not exist is [`NotFound`](super::Kind::NotFound).
    pub async fn account_attributes(&self, account: &str) -> Result<BTreeMap<String, Value>, Error> {
        let request = attributes_request("account_attributes", account);
        let Json(attributes): Json<Vec<Attribute>> = self.call(Repeat::Safe, request).await?;
        Ok(attributes.into_iter().map(|attribute| (attribute.key, attribute.value)).collect())
    }
}
