//! Storage elements: which match an expression, and what they are like.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::answer::{Json, Lines};
use crate::client::Client;
use crate::errors::{Error, Kind, Outlook};
use crate::request::{Request, path};
use crate::retry::Repeat;
use crate::types::RseSettings;

#[derive(Deserialize)]
struct Listed {
    rse: String,
}

impl Client {
    /// The names of the RSEs that match an expression (`GET /rses/?expression=…`), in alphabetical order.
    ///
    /// An expression that is malformed or matches nothing is [`NoTarget`](crate::Kind::NoTarget); an empty list is no
    /// answer of Rucio's, and [`Protocol`](crate::Kind::Protocol).
    pub async fn list_rses(&self, expression: &str) -> Result<Vec<String>, Error> {
        let request = Request::new("list_rses", format!("list the RSEs of '{expression}'"), Method::GET, "/rses/")
            .query("expression", expression);
        let Lines(listed): Lines<Listed> = self.call(Repeat::Safe, request).await?;
        if listed.is_empty() {
            let message = format!("Rucio, asked to list the RSEs of '{expression}', answered with an empty list");
            return Err(Error::new(Kind::Protocol, Outlook::Later, message));
        }
        let mut names: Vec<String> = listed.into_iter().map(|listed| listed.rse).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The attributes of an RSE (`GET /rses/{rse}/attr/`); values are strings, numbers or booleans.
    ///
    /// Each RSE has its own name as an attribute from its birth on: none at all is no answer of Rucio's, and
    /// [`Protocol`](crate::Kind::Protocol).
    pub async fn rse_attributes(&self, rse: &str) -> Result<BTreeMap<String, Value>, Error> {
        let path = path(&["rses", rse, "attr"])? + "/";
        let request = Request::new("rse_attributes", format!("show the attributes of RSE '{rse}'"), Method::GET, path);
        let Json(attributes): Json<BTreeMap<String, Value>> = self.call(Repeat::Safe, request).await?;
        if attributes.is_empty() {
            let message = format!("Rucio, asked to show the attributes of RSE '{rse}', answered that it has none");
            return Err(Error::new(Kind::Protocol, Outlook::Later, message));
        }
        Ok(attributes)
    }

    /// What an RSE may be used for, and by which protocols (`GET /rses/{rse}`).
    pub async fn rse_settings(&self, rse: &str) -> Result<RseSettings, Error> {
        let path = path(&["rses", rse])?;
        let request = Request::new("rse", format!("show the settings of RSE '{rse}'"), Method::GET, path);
        let Json(settings): Json<RseSettings> = self.call(Repeat::Safe, request).await?;
        Ok(settings)
    }
}
