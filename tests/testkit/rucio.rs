//! Rucio asked directly, with a client that shares nothing with the daemon's.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// An answer that is no success: the status, or 0 when there was none, and what was said.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    #[allow(dead_code, reason = "shown by a failing test")]
    pub(crate) text: String,
}

/// Rucio as account `ingest` sees it.
#[derive(Clone)]
pub(crate) struct Rucio {
    http: reqwest::Client,
    url: String,
    /// Ours, not the daemon's.
    pub(crate) token: String,
}

impl Rucio {
    /// Logs in at a Rucio as `ingest`.
    pub(crate) async fn log_in(http: reqwest::ClientBuilder, url: &str, password: &str) -> Self {
        Self::log_in_as(http, url, "ingest", password).await
    }

    /// Logs in at a Rucio.
    pub(crate) async fn log_in_as(http: reqwest::ClientBuilder, url: &str, account: &str, password: &str) -> Self {
        let http = http.timeout(Duration::from_secs(20)).build().unwrap();
        let url = url.trim_end_matches('/').to_owned();
        let answer = http
            .get(format!("{url}/auth/userpass"))
            .header("X-Rucio-Account", account)
            .header("X-Rucio-Username", account)
            .header("X-Rucio-Password", password)
            .send()
            .await
            .expect("Rucio does not answer; is the testbed up?");
        let token = answer.headers()["X-Rucio-Auth-Token"].to_str().unwrap().to_owned();
        Self { http, url, token }
    }

    /// The lines of an answer.
    async fn call(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Result<Vec<Value>, Refused> {
        let mut request =
            self.http.request(method, format!("{}{path}", self.url)).header("X-Rucio-Auth-Token", &self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let unreachable = |error: reqwest::Error| Refused { status: 0, text: format!("{error:?}") };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let text = answer.text().await.map_err(unreachable)?;
        if !status.is_success() {
            return Err(Refused { status: status.as_u16(), text });
        }
        // Rucio says "Created" where nothing is to be told
        let json = text.lines().filter(|line| !line.is_empty() && *line != "Created");
        json.map(|line| Ok(serde_json::from_str(line).unwrap())).collect()
    }

    async fn get(&self, path: &str) -> Vec<Value> {
        self.call(reqwest::Method::GET, path, None).await.unwrap()
    }

    /// States of the replicas of each file, by LFN and RSE; files that Rucio does not know are not there.
    pub(crate) async fn replica_states(
        &self,
        lfns: &[String],
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>, Refused> {
        let mut lines = Vec::new();
        // Rucio takes a thousand DIDs at once
        for lfns in lfns.chunks(1000) {
            let dids: Vec<Value> = lfns.iter().map(|lfn| json!({"scope": "acada", "name": lfn})).collect();
            let body = json!({"dids": dids, "all_states": true});
            lines.extend(self.call(reqwest::Method::POST, "/replicas/list", Some(&body)).await?);
        }
        Ok(lines
            .into_iter()
            .map(|line| {
                let states = line["states"].as_object().into_iter().flatten();
                let states = states.map(|(rse, state)| (rse.clone(), state.as_str().unwrap().to_owned())).collect();
                (line["name"].as_str().unwrap().to_owned(), states)
            })
            .collect())
    }

    /// What Rucio knows of a DID, or nothing.
    pub(crate) async fn did(&self, name: &str) -> Option<Value> {
        match self.call(reqwest::Method::GET, &format!("/dids/acada/{}", encoded(name)), None).await {
            Ok(lines) => lines.into_iter().next(),
            Err(refused) if refused.status == 404 => None,
            Err(refused) => panic!("{refused:?}"),
        }
    }

    /// Names attached to a dataset or container, sorted.
    pub(crate) async fn content(&self, name: &str) -> Vec<String> {
        let lines = self.get(&format!("/dids/acada/{}/dids", encoded(name))).await;
        let mut names: Vec<String> = lines.iter().map(|line| line["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// The rules on a DID.
    pub(crate) async fn rules(&self, name: &str) -> Vec<Value> {
        self.get(&format!("/dids/acada/{}/rules", encoded(name))).await
    }

    /// All rules of the daemon's account.
    pub(crate) async fn rules_of_ours(&self) -> Vec<Value> {
        self.get("/rules/?account=ingest").await
    }

    /// A rule.
    pub(crate) async fn rule(&self, rule: &str) -> Value {
        self.get(&format!("/rules/{rule}")).await.remove(0)
    }

    /// Attaches files to a dataset, and registers them where Rucio does not know them.
    pub(crate) async fn attach(&self, attachment: &Value) {
        let body = json!({ "ignore_duplicate": true, "attachments": [attachment] });
        self.call(reqwest::Method::POST, "/dids/attachments", Some(&body)).await.unwrap();
    }

    /// Declares a replica bad, as root alone may.
    #[allow(dead_code, reason = "for the real stack")]
    pub(crate) async fn declare_bad(&self, lfn: &str, rse: &str) {
        let replica = json!({ "scope": "acada", "name": lfn, "rse": rse });
        let body = json!({ "replicas": [replica], "reason": "for a test" });
        self.call(reqwest::Method::POST, "/replicas/bad", Some(&body)).await.unwrap();
    }

    /// Changes a rule, as anybody with the rights may.
    pub(crate) async fn change_rule(&self, rule: &str, options: &Value) {
        let body = json!({ "options": options });
        self.call(reqwest::Method::PUT, &format!("/rules/{rule}"), Some(&body)).await.unwrap();
    }

    /// The locks of a rule: (LFN, RSE, state).
    pub(crate) async fn locks(&self, rule: &str) -> Vec<(String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let lines = self.get(&format!("/rules/{rule}/locks")).await;
        lines.iter().map(|line| (text(&line["name"]), text(&line["rse"]), text(&line["state"]))).collect()
    }

    /// The product metadata of each file, by LFN. One by one: servers before 38 have no plugins in `bulkmeta`.
    pub(crate) async fn metadata(&self, lfns: &[String]) -> BTreeMap<String, Map<String, Value>> {
        let mut all = BTreeMap::new();
        for lfn in lfns {
            all.insert(lfn.clone(), self.metadata_of(lfn).await);
        }
        all
    }

    /// The product metadata of a file.
    pub(crate) async fn metadata_of(&self, lfn: &str) -> Map<String, Value> {
        let path = format!("/dids/acada/{}/meta?plugin=JSON", encoded(lfn));
        let mut answer = self.get(&path).await;
        let Some(Value::Object(metadata)) = answer.pop() else { panic!("{path}: {answer:?}") };
        metadata
    }
}

/// A name as part of a path; Rucio's names begin with a slash.
fn encoded(name: &str) -> String {
    name.replace('/', "%2F")
}
