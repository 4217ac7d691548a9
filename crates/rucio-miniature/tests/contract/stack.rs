//! What a behaviour runs on: a Rucio, miniature or real, with its storages.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rucio_miniature::{Miniature, Options, Pace};
use serde_json::{Map, Value, json};

use super::client::{Answer, Client, encode};

/// The scope of all tests.
pub(crate) const SCOPE: &str = "test";
/// The RSE on whose directory files are written.
pub(crate) const ONSITE: &str = "STORAGE-1";

/// How often a condition is looked at again; Rucio has nothing to wait on.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Keeps the miniature alive.
struct Alive {
    server: Miniature,
    _root: tempfile::TempDir,
}

/// How the daemon is run that takes declarations for the truth.
enum Necromancer {
    Miniature(Alive),
    /// By this program.
    Real(PathBuf),
}

/// A Rucio and its storages.
pub(crate) struct Stack {
    /// Without a token.
    pub(crate) anonymous: Client,
    /// As the account `ingest`, an administrator.
    pub(crate) ingest: Client,
    /// As the account `plain`, without any right.
    pub(crate) plain: Client,
    /// Base URL of Rucio.
    pub(crate) url: String,
    /// First number of Rucio's version; the miniature follows the newest.
    pub(crate) major: u32,
    /// The CA of Rucio and the storages, unless all is plain HTTP.
    pub(crate) ca_file: Option<PathBuf>,
    passwords: BTreeMap<String, String>,
    directories: BTreeMap<String, PathBuf>,
    patience: Duration,
    necromancer: Necromancer,
}

/// A file on the on-site storage.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) adler32: String,
    pub(crate) path: PathBuf,
    pub(crate) content: Vec<u8>,
}

impl File {
    pub(crate) fn did(&self) -> Value {
        did(&self.name)
    }

    /// As a child of an attachment with RSE.
    pub(crate) fn child(&self) -> Value {
        json!({"scope": SCOPE, "name": self.name, "bytes": self.bytes, "adler32": self.adler32})
    }
}

pub(crate) fn did(name: &str) -> Value {
    json!({"scope": SCOPE, "name": name})
}

/// `/dids/{scope}/{name}`
pub(crate) fn did_path(name: &str) -> String {
    format!("/dids/{SCOPE}/{}", encode(name))
}

pub(crate) fn adler32(content: &[u8]) -> String {
    let mut sum = simd_adler32::Adler32::new();
    sum.write(content);
    format!("{:08x}", sum.finish())
}

/// A name nobody had before.
pub(crate) fn fresh_name() -> String {
    format!("/ctao/{SCOPE}/contract/{}", uuid::Uuid::new_v4().simple())
}

/// Body of `POST /dids/attachments`.
pub(crate) fn attachment(parent: &str, rse: Option<&str>, children: &[Value]) -> Value {
    let mut one = json!({"scope": SCOPE, "name": parent, "dids": children});
    if let Some(rse) = rse {
        one["rse"] = rse.into();
    }
    json!({"ignore_duplicate": true, "attachments": [one]})
}

/// Body of `POST /rules/` for one copy.
pub(crate) fn new_rule(names: &[&str], expression: &str) -> Value {
    let dids: Vec<Value> = names.iter().map(|name| did(name)).collect();
    json!({"dids": dids, "account": "ingest", "copies": 1, "rse_expression": expression, "grouping": "DATASET"})
}

impl Stack {
    /// A miniature of its own.
    #[allow(dead_code, reason = "for main.rs")]
    pub(crate) async fn miniature() -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut options = Options::new(root.path());
        let quick = Duration::from_millis(20);
        options.pace = Pace { judge: 2 * quick, conveyor: quick, reaper: quick, ..Pace::default() };
        let passwords = options.accounts.iter().map(|a| (a.name.clone(), a.password.clone())).collect();
        let directories = options.rses.iter().map(|rse| (rse.name.clone(), rse.directory.clone())).collect();
        let server = Miniature::start(options).await.unwrap();
        let url = server.url().to_string();
        let necromancer = Necromancer::Miniature(Alive { server, _root: root });
        Self::new(url, None, passwords, directories, Duration::from_secs(10), necromancer).await
    }

    /// The stack that `TESTBED` points to.
    #[allow(dead_code, reason = "for real.rs")]
    pub(crate) async fn real() -> Self {
        let directory = std::env::var("TESTBED").expect("TESTBED must name the testbed's directory");
        let path = std::path::Path::new(&directory).join("endpoints.json");
        let text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; is the testbed up?", path.display()));
        let endpoints: Value = serde_json::from_str(&text).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (url, ca_file) = (text(&endpoints["rucio_url"]), PathBuf::from(text(&endpoints["ca_file"])));
        let map = |value: &Value, read: &dyn Fn(&Value) -> String| -> BTreeMap<String, String> {
            value.as_object().unwrap().iter().map(|(key, value)| (key.clone(), read(value))).collect()
        };
        let passwords = map(&endpoints["accounts"], &text);
        let directories = map(&endpoints["rses"], &|rse| text(&rse["directory"]));
        let directories = directories.into_iter().map(|(rse, path)| (rse, path.into())).collect();
        let necromancer = Necromancer::Real(endpoints["ctl"].as_str().unwrap().into());
        Self::new(url, Some(ca_file), passwords, directories, Duration::from_mins(3), necromancer).await
    }

    async fn new(
        url: String,
        ca_file: Option<PathBuf>,
        passwords: BTreeMap<String, String>,
        directories: BTreeMap<String, PathBuf>,
        patience: Duration,
        necromancer: Necromancer,
    ) -> Self {
        let anonymous = Client::new(&url, ca_file.as_deref());
        let log_in = async |account: &str| {
            let answer = anonymous.log_in(account, &passwords[account]).await.expect(200);
            anonymous.with_token(Some(answer.header("X-Rucio-Auth-Token")))
        };
        let (ingest, plain) = (log_in("ingest").await, log_in("plain").await);
        let version = anonymous.get("/ping").await.expect(200).json()["version"].as_str().unwrap().to_owned();
        let major = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(u32::MAX);
        Self { anonymous, ingest, plain, url, major, ca_file, passwords, directories, patience, necromancer }
    }

    /// As the account `root`.
    pub(crate) async fn root(&self) -> Client {
        let answer = self.anonymous.log_in("root", self.password("root")).await.expect(200);
        self.anonymous.with_token(Some(answer.header("X-Rucio-Auth-Token")))
    }

    /// Rucio's necromancer comes around once.
    pub(crate) fn bury_the_bad(&self) {
        match &self.necromancer {
            Necromancer::Miniature(alive) => alive.server.bury_the_bad(),
            Necromancer::Real(ctl) => {
                let status = std::process::Command::new(ctl).args(["once", "necromancer"]).status().unwrap();
                assert!(status.success(), "{}", ctl.display());
            }
        }
    }

    pub(crate) fn password(&self, account: &str) -> &str {
        &self.passwords[account]
    }

    /// Where a file lies, or would lie, on an RSE's storage.
    pub(crate) fn path(&self, rse: &str, name: &str) -> PathBuf {
        self.directories[rse].join(name.trim_start_matches('/'))
    }

    /// Writes a file with content of its own below a dataset's name on the on-site storage.
    pub(crate) fn write_file(&self, dataset: &str, file: &str) -> File {
        let name = format!("{dataset}/{file}");
        let path = self.path(ONSITE, &name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let content = name.repeat(1 + file.len() * 40).into_bytes();
        fs::write(&path, &content).unwrap();
        File { bytes: content.len() as u64, adler32: adler32(&content), name, path, content }
    }

    /// A new, empty dataset.
    pub(crate) async fn dataset(&self) -> String {
        self.collection("DATASET").await
    }

    /// A new, empty collection.
    pub(crate) async fn collection(&self, kind: &str) -> String {
        let name = fresh_name();
        let mut new = did(&name);
        new["type"] = kind.into();
        self.ingest.post("/dids", &json!([new])).await.expect(201);
        name
    }

    /// Attaches files to a dataset, as on the on-site RSE.
    pub(crate) async fn register(&self, dataset: &str, files: &[&File]) {
        let children: Vec<Value> = files.iter().map(|file| file.child()).collect();
        let body = attachment(dataset, Some(ONSITE), &children);
        self.ingest.post("/dids/attachments", &body).await.expect(201);
    }

    /// A dataset with registered files.
    pub(crate) async fn registered<const N: usize>(&self) -> (String, [File; N]) {
        let dataset = self.dataset().await;
        let files: [File; N] = std::array::from_fn(|n| self.write_file(&dataset, &format!("file{n}.fits")));
        self.register(&dataset, &files.iter().collect::<Vec<_>>()).await;
        (dataset, files)
    }

    /// Places a rule for one copy; the ids in the order of the names.
    pub(crate) async fn rule(&self, names: &[&str], expression: &str) -> Vec<String> {
        let answer = self.ingest.post("/rules/", &new_rule(names, expression)).await.expect(201);
        serde_json::from_str(&answer.body).unwrap()
    }

    pub(crate) async fn rule_row(&self, id: &str) -> Value {
        self.ingest.get(&format!("/rules/{id}")).await.expect(200).json()
    }

    /// Ends a rule at once, replicas included.
    pub(crate) async fn end(&self, id: &str) {
        let body = json!({"options": {"lifetime": 0, "purge_replicas": true}});
        self.ingest.put(&format!("/rules/{id}"), &body).await.expect(200);
    }

    /// RSE to state of a file's copies, whatever their state.
    pub(crate) async fn states(&self, name: &str) -> Map<String, Value> {
        let body = json!({"dids": [did(name)], "all_states": true});
        let lines = self.ingest.post("/replicas/list", &body).await.expect(200).lines();
        lines.first().map_or_else(Map::new, |line| line["states"].as_object().unwrap().clone())
    }

    /// RSEs off site at which the file is AVAILABLE, sorted.
    pub(crate) async fn off_site(&self, name: &str) -> Vec<String> {
        let states: BTreeMap<_, _> = self.states(name).await.into_iter().collect();
        states.into_iter().filter(|(rse, state)| rse != ONSITE && state == "AVAILABLE").map(|(rse, _)| rse).collect()
    }

    /// The physical name of a file at an RSE.
    pub(crate) async fn pfn(&self, rse: &str, name: &str) -> String {
        let schemes = ["davs", "https", "dav", "http"];
        let body = json!({"dids": [did(name)], "rse_expression": rse, "all_states": true, "schemes": schemes});
        let line = self.ingest.post("/replicas/list", &body).await.expect(200).lines().remove(0);
        line["rses"][rse][0].as_str().unwrap_or_else(|| panic!("no pfn in {line}")).to_owned()
    }

    /// Asks the storage of an RSE for its own account of a file.
    pub(crate) async fn storage(&self, rse: &str, name: &str) -> Client {
        self.storage_at(&self.pfn(rse, name).await)
    }

    /// Asks a storage for its own account of a physical name.
    pub(crate) fn storage_at(&self, pfn: &str) -> Client {
        let url = pfn.strip_prefix("dav").unwrap_or_else(|| panic!("{pfn} is neither davs nor dav"));
        self.anonymous.at(&format!("http{url}"))
    }

    /// Looks until there is something, and fails when patience ends.
    pub(crate) async fn eventually<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(start.elapsed() < self.patience, "{what}: not within {:?}", self.patience);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until a rule is in a state.
    pub(crate) async fn rule_is(&self, id: &str, state: &str) -> Value {
        self.eventually(&format!("rule {id} is {state}"), async || {
            let row = self.rule_row(id).await;
            (row["state"] == state).then_some(row)
        })
        .await
    }

    /// An answer that must not be an error, to any DID's path.
    pub(crate) async fn get_did(&self, name: &str) -> Answer {
        self.ingest.get(&did_path(name)).await
    }
}
