//! What others do to a site beside ACADA and the daemon: somebody at Rucio, an operator, whoever loses a disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;

use dl0_ingest::ledger::Ledger;
use dl0_ingest::names::Did;
use serde_json::{Value, json};

use super::command::command;
use super::deliveries::Delivery;
use super::rucio::Rucio;
use super::site::Site;

impl Site {
    /// The site's Rucio, asked directly.
    pub(crate) async fn at_rucio(&self) -> Rucio {
        let _ = rustls::crypto::ring::default_provider().install_default(); // already there in a second test
        Rucio::log_in(reqwest::Client::builder().no_proxy(), self.rucio.url().as_str(), "ingestpw").await
    }

    /// A rule as Rucio has it.
    pub(crate) async fn rule(&self, id: &str) -> Value {
        self.at_rucio().await.rule(id).await
    }

    /// Where the first copies of a dataset are, or will be.
    pub(crate) async fn first_copies(&self, dataset: &Did) -> String {
        let rucio = self.at_rucio().await;
        let rules = rucio.rules(&dataset.name).await;
        let first = rules.iter().find(|rule| rule["rse_expression"] == "OFFSITE").unwrap();
        rucio.locks(first["id"].as_str().unwrap()).await.remove(0).1
    }

    /// Somebody ends a rule at once and has nothing deleted.
    pub(crate) async fn end_rule(&self, id: &str) {
        self.ended_by_others.lock().unwrap().insert(id.to_owned());
        self.at_rucio().await.change_rule(id, &json!({ "lifetime": 0, "purge_replicas": false })).await;
    }

    pub(super) fn is_ended_by_others(&self, id: &str) -> bool {
        self.ended_by_others.lock().unwrap().contains(id)
    }

    /// Somebody has a file in Rucio's catalogue that is not delivered yet, on site and without metadata. Its dataset exists.
    pub(crate) async fn register_by_hand(&self, dataset: &Did, name: &str, content: &[u8]) {
        self.register_by_hand_as(dataset, name, content, |adler32| format!("{adler32:08x}")).await;
    }

    /// The same, with the adler32 in letters of theirs.
    pub(crate) async fn register_by_hand_as(
        &self,
        dataset: &Did,
        name: &str,
        content: &[u8],
        written: impl Fn(u32) -> String,
    ) {
        let mut sum = simd_adler32::Adler32::new();
        sum.write(content);
        let adler32 = written(sum.finish());
        let file = json!({ "scope": dataset.scope, "name": name, "bytes": content.len(), "adler32": adler32 });
        let (scope, name) = (&dataset.scope, &dataset.name);
        let attachment = json!({ "scope": scope, "name": name, "rse": "STORAGE-1", "dids": [file] });
        self.at_rucio().await.attach(&attachment).await;
    }

    /// Another file takes the place of this one, at once; from now on that is what is expected there. No trigger tells of it.
    pub(crate) fn exchange(&self, delivery: &Delivery, content: Vec<u8>) -> Delivery {
        let arriving = self.storage(1).join("arriving");
        fs::write(&arriving, &content).unwrap();
        let inodes = vec![fs::metadata(&arriving).unwrap().ino()];
        let exchanged = Delivery { content: Arc::new(content), inodes, ..delivery.clone() };
        // so that nobody asks what is expected in between
        let mut deliveries = self.deliveries.lock().unwrap();
        fs::rename(&arriving, self.storage(1).join(&delivery.path)).unwrap();
        deliveries.insert(delivery.path.clone(), exchanged.clone());
        exchanged
    }

    /// Waits until the daemon has told why a dataset cannot be settled.
    pub(crate) async fn until_unsettled(&self, dataset: &Did) {
        let path = self.ledger_file();
        let told = || async {
            let ledger = Ledger::open_read_only(&path).await.unwrap();
            let known = ledger.settlement(dataset).await;
            ledger.close().await;
            known.is_ok_and(|known| known.unsettled.is_some())
        };
        self.until("a dataset to be left unsettled", told).await;
    }

    /// An operator's command, which may be made to die; then it is given once more. Tells whether it died.
    pub(crate) async fn operate(&self, environment: &[(String, String)], words: &[&str]) -> bool {
        let config = self.config_file();
        let all = [words, &["--reason", "it was looked at", "--config", config.to_str().unwrap()]].concat();
        let mut died = false;
        loop {
            let mut command = command(&all);
            command.envs(environment.iter().filter(|_| !died).cloned());
            let said = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
            match (said.status.code(), said.status.signal()) {
                (Some(0), _) => return died,
                // it had done its work before it died, and finds nothing more to do
                (Some(1), _) if died => return died,
                (_, Some(9)) if !died => died = true,
                _ => panic!("{words:?}: {said:?}"),
            }
        }
    }

    /// The ledger is gone, with all that was in it.
    pub(crate) fn lose_ledger(&self) {
        for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
            match fs::remove_file(self.state().join(file)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{file}: {error}"),
                _ => {}
            }
        }
    }

    /// The ledger does not know this file any more, which has left or is leaving.
    pub(crate) fn forget(&self, delivery: &Delivery) {
        self.forgotten.lock().unwrap().insert(delivery.path.clone());
    }

    /// It comes back, as if for the first time.
    pub(crate) fn remember(&self, delivery: &Delivery) {
        self.forgotten.lock().unwrap().remove(&delivery.path);
    }

    pub(super) fn is_forgotten(&self, delivery: &Delivery) -> bool {
        self.forgotten.lock().unwrap().contains(&delivery.path)
    }
}
