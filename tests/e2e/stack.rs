//! Where the testbed is, and its services.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

use crate::testkit::proxy::Proxy;
use crate::testkit::rucio::Rucio;

/// `endpoints.json` of the testbed.
#[derive(Deserialize)]
pub(crate) struct Stack {
    pub(crate) rucio_url: String,
    pub(crate) ca_file: PathBuf,
    pub(crate) accounts: BTreeMap<String, String>,
    pub(crate) rses: BTreeMap<String, Storage>,
    pub(crate) fts_url: String,
    database_url: String,
    /// Has ACADA's mock and the reference implementation; none on a machine without Python 3.12.
    pub(crate) python: Option<PathBuf>,
    ctl: PathBuf,
    testbed: PathBuf,
}

/// One storage as the local file system shows it.
#[derive(Deserialize)]
pub(crate) struct Storage {
    pub(crate) directory: PathBuf,
    /// The name of its service for `ctl`.
    pub(crate) service: String,
    pub(crate) onsite: bool,
}

impl Storage {
    /// Where a logical file name lies on this storage.
    pub(crate) fn path(&self, lfn: &str) -> PathBuf {
        self.directory.join(lfn.trim_start_matches('/'))
    }
}

impl Stack {
    /// The testbed of `$TESTBED`, which must be up.
    pub(crate) fn find() -> Self {
        let testbed = std::env::var("TESTBED").unwrap_or_else(|_| "/var/tmp/dl0-testbed".to_owned());
        let path = Path::new(&testbed).join("endpoints.json");
        let text = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("no testbed: {}: {error}; start it with `make testbed-up`", path.display()));
        serde_json::from_slice(&text)
            .expect("endpoints.json is of another version of the testbed; run `make testbed-up`")
    }

    /// Name and storage of the on-site RSE.
    pub(crate) fn onsite(&self) -> (&str, &Storage) {
        self.rses.iter().find(|(_, storage)| storage.onsite).map(|(name, storage)| (name.as_str(), storage)).unwrap()
    }

    /// Names and storages of the data centres.
    pub(crate) fn offsite(&self) -> impl Iterator<Item = (&str, &Storage)> {
        self.rses.iter().filter(|(_, storage)| !storage.onsite).map(|(name, storage)| (name.as_str(), storage))
    }

    /// ACADA's base directory in the interface directory.
    pub(crate) fn acada_base(&self) -> PathBuf {
        self.onsite().1.path("/ctao/acada")
    }

    /// The logical name of a file in the interface directory.
    pub(crate) fn lfn(&self, path: &Path) -> String {
        format!("/{}", path.strip_prefix(&self.onsite().1.directory).unwrap().to_str().unwrap())
    }

    /// The beginnings of a client that trusts the testbed's CA alone.
    pub(crate) fn http(&self) -> reqwest::ClientBuilder {
        let _ = rustls::crypto::ring::default_provider().install_default(); // already there in a second test
        let ca = reqwest::Certificate::from_pem(&std::fs::read(&self.ca_file).unwrap()).unwrap();
        reqwest::Client::builder().tls_certs_only([ca]).no_proxy()
    }

    /// Rucio, asked as account `ingest`.
    pub(crate) async fn rucio(&self) -> Rucio {
        Rucio::log_in(self.http(), &self.rucio_url, &self.accounts["ingest"]).await
    }

    /// Rucio as its administrators see it.
    pub(crate) async fn root(&self) -> Rucio {
        Rucio::log_in_as(self.http(), &self.rucio_url, "root", &self.accounts["root"]).await
    }

    /// A proxy before Rucio, with the certificate of Rucio itself.
    pub(crate) fn proxy(&self) -> Proxy {
        let http = self.http();
        let file = |name: &str| self.testbed.join("tls").join(name);
        let chain = CertificateDer::pem_file_iter(file("server.crt")).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
        let tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        Proxy::start(tls, &self.rucio_url, http).unwrap()
    }

    /// Where a witness writes down what must never happen. `make testbed-up` begins anew.
    pub(crate) fn violations(&self) -> PathBuf {
        self.testbed.join("violations")
    }

    /// Runs a statement in Rucio's database; tells how many rows it changed.
    pub(crate) fn database(&self, statement: &str) -> u64 {
        let output = Command::new("psql").args([&self.database_url, "-c", statement]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let rows = said.trim().rsplit(' ').next().and_then(|rows| rows.parse().ok());
        rows.unwrap_or_else(|| panic!("{statement}: {said} {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Runs `ctl`, as `["stop", "rest"]`.
    pub(crate) fn ctl(&self, words: &[&str]) {
        let status = Command::new(&self.ctl).args(words).status().unwrap();
        assert!(status.success(), "ctl {words:?} failed");
    }

    /// Stops services until the guard goes, even when the test fails.
    pub(crate) fn without<'a>(&'a self, service: &'a str) -> Stopped<'a> {
        self.ctl(&["stop", service]);
        Stopped { stack: self, service }
    }

    /// This part of all transfers fails until the guard goes, even when the test fails.
    pub(crate) fn failing_transfers(&self, percent: u8, seed: u64) -> FailingTransfers<'_> {
        self.fault(&format!(r#"{{"fail_percent": {percent}, "seed": {seed}}}"#));
        FailingTransfers(self)
    }

    /// How many transfers the FTS stand-in has made fail since it was started.
    pub(crate) fn failed_transfers(&self) -> u64 {
        let output = Command::new("curl").args(["-sf", &format!("{}/_faults", self.fts_url)]).output().unwrap();
        let settings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        settings["failed"].as_u64().unwrap()
    }

    /// Tells the FTS stand-in what to do wrong, as `{"fail_next": 1}`.
    pub(crate) fn fault(&self, faults: &str) {
        let url = format!("{}/_faults", self.fts_url);
        let status = Command::new("curl").args(["-sf", "-o", "/dev/null", "-d", faults, &url]).status().unwrap();
        assert!(status.success(), "the FTS stand-in refused {faults}");
    }

    /// Removes what an aborted test may have left for the next daemon to find.
    pub(crate) fn remove_old_triggers(&self) {
        let mut directories = vec![self.acada_base()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    directories.push(entry.path());
                } else if entry.path().extension().is_some_and(|extension| extension == "trigger") {
                    std::fs::remove_file(entry.path()).unwrap();
                }
            }
        }
    }
}

/// A service that is down while this lives.
pub(crate) struct Stopped<'a> {
    stack: &'a Stack,
    service: &'a str,
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.stack.ctl(&["start", self.service]);
    }
}

/// Transfers fail while this lives.
pub(crate) struct FailingTransfers<'a>(&'a Stack);

impl Drop for FailingTransfers<'_> {
    fn drop(&mut self) {
        self.0.fault(r#"{"fail_percent": 0}"#);
    }
}

/// An evening that no storage has seen yet, so that its directories, datasets and names are new.
pub(crate) fn new_night(stack: &Stack) -> jiff::civil::Date {
    let mut night = jiff::civil::date(2026, 3, 1);
    while stack.rses.values().any(|storage| seen(&storage.path("/ctao/acada"), night)) {
        night = night.tomorrow().unwrap();
    }
    night
}

fn seen(base: &Path, night: jiff::civil::Date) -> bool {
    let day = night.strftime("events/%Y/%m/%d").to_string();
    ["dl0", "dl0/array", "invalid/dl0", "invalid/dl0/array"].iter().any(|tree| {
        let instruments = std::fs::read_dir(base.join(tree)).into_iter().flatten().flatten();
        instruments.map(|entry| entry.path().join(&day)).any(|directory| directory.exists())
    })
}
