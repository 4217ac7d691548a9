//! What an account may.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::Value;

use crate::answer::Json;
use crate::client::Client;
use crate::errors::Error;
use crate::request::Request;
use crate::retry::Repeat;
use crate::types::AccountAttribute;

impl Client {
    /// The attributes of an account (`GET /accounts/{account}/attr/`). An account without any has none; one that does
    /// not exist is [`NotFound`](crate::Kind::NotFound).
    pub async fn account_attributes(&self, account: &str) -> Result<BTreeMap<String, Value>, Error> {
        let request = Request::account_attributes("account_attributes", account)?;
        let Json(attributes): Json<Vec<AccountAttribute>> = self.call(Repeat::Safe, request).await?;
        Ok(attributes.into_iter().map(|attribute| (attribute.key, attribute.value)).collect())
    }

    /// All scopes there are, whosever they are (`GET /scopes/`).
    pub async fn scopes(&self) -> Result<BTreeSet<String>, Error> {
        let request = Request::new("scopes", "list the scopes", Method::GET, "/scopes/");
        let Json(scopes): Json<BTreeSet<String>> = self.call(Repeat::Safe, request).await?;
        Ok(scopes)
    }
}
