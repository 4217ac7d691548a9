//! Rucio asked from outside, with a client that shares nothing with the daemon's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::stack::Stack;

/// Rucio as account `ingest` sees it.
pub(crate) struct Rucio {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Rucio {
    pub(crate) async fn login(stack: &Stack) -> Self {
        let ca = reqwest::Certificate::from_pem(&std::fs::read(&stack.ca_file).unwrap()).unwrap();
        let http =
            reqwest::Client::builder().tls_certs_only([ca]).no_proxy().timeout(Duration::from_mins(1)).build().unwrap();
        let url = stack.rucio_url.clone();
        let answer = http
            .get(format!("{url}/auth/userpass"))
            .header("X-Rucio-Account", "ingest")
            .header("X-Rucio-Username", "ingest")
            .header("X-Rucio-Password", &stack.accounts["ingest"])
            .send()
            .await
            .expect("Rucio does not answer; is the testbed up?");
        let token = answer.headers()["X-Rucio-Auth-Token"].to_str().unwrap().to_owned();
        Self { http, url, token }
    }

    async fn lines(&self, request: RequestBuilder) -> Vec<Value> {
        let answer = request.header("X-Rucio-Auth-Token", &self.token).send().await.unwrap();
        let text = answer.error_for_status().unwrap().text().await.unwrap();
        text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The RSEs where each of these files is AVAILABLE.
    pub(crate) async fn available(&self, lfns: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
        let dids: Vec<Value> = lfns.iter().map(|lfn| json!({"scope": "acada", "name": lfn})).collect();
        let body = json!({"dids": dids, "all_states": true});
        let listings = self.lines(self.http.post(format!("{}/replicas/list", self.url)).json(&body)).await;
        let states = |listing: &Value| -> BTreeSet<String> {
            let states = listing["states"].as_object().into_iter().flatten();
            states.filter(|(_, state)| *state == "AVAILABLE").map(|(rse, _)| rse.clone()).collect()
        };
        listings.iter().map(|listing| (listing["name"].as_str().unwrap().to_owned(), states(listing))).collect()
    }

    /// Makes a dataset, which must be new.
    pub(crate) async fn add_dataset(&self, name: &str) {
        let body = json!([{"scope": "acada", "name": name, "type": "DATASET"}]);
        self.post("dids", &body).await;
    }

    /// What registration cannot do without: replicas, attachment and metadata in one call, the protecting rules in another.
    pub(crate) async fn register(&self, rse: &str, dataset: &str, names: &[String], metadata: &Value) {
        let file = |name: &String| json!({"scope": "acada", "name": name, "bytes": 1, "adler32": "00620062", "meta": metadata});
        let children: Vec<Value> = names.iter().map(file).collect();
        let attachment = json!({"scope": "acada", "name": dataset, "rse": rse, "dids": children});
        let body = json!({"attachments": [attachment], "ignore_duplicate": true});
        self.post("dids/attachments", &body).await;
        let dids: Vec<Value> = names.iter().map(|name| json!({"scope": "acada", "name": name})).collect();
        let rule = json!({"dids": dids, "copies": 1, "rse_expression": rse, "grouping": "NONE", "account": "ingest",
            "ask_approval": false, "asynchronous": false});
        self.post("rules/", &rule).await;
    }

    async fn post(&self, path: &str, body: &Value) {
        let request = self.http.post(format!("{}/{path}", self.url)).json(body);
        let answer = request.header("X-Rucio-Auth-Token", &self.token).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "POST {path}: {status} {text}");
    }

    /// Identifiers of the rules that are STUCK now, on DIDs whose name begins so.
    pub(crate) async fn stuck_rules(&self, begin: &str) -> BTreeSet<String> {
        let rules = self.lines(self.http.get(format!("{}/rules/?account=ingest&state=S", self.url))).await;
        let ours = rules.iter().filter(|rule| rule["name"].as_str().is_some_and(|name| name.starts_with(begin)));
        ours.map(|rule| rule["id"].as_str().unwrap().to_owned()).collect()
    }
}
