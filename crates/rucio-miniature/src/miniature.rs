//! The whole: servers and daemons around one catalogue.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::catalog::Catalog;
use crate::catalog::records::{ROOT, ReplicaState};
use crate::catalog::rules::RuleChange;
use crate::endpoint::Endpoint;
use crate::faults::{self, Faults};
use crate::journal::Entry;
use crate::listener::Listener;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::{conveyor, http, judge, reaper, storage_face};
use rucio_client::Did;

/// A running miniature Rucio. Dropping it stops it too, without waiting.
#[derive(Debug)]
pub struct Miniature {
    url: Url,
    storage: BTreeMap<String, Url>,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Miniature {
    /// Makes the directories, opens the ports, starts the daemons.
    pub async fn start(options: Options) -> io::Result<Self> {
        for rse in &options.rses {
            tokio::fs::create_dir_all(&rse.directory).await?;
        }
        let faults = Faults::new(options.rses.iter().map(|rse| rse.name.as_str()));
        let listener = |server: &str| match faults.watch_outage(server) {
            Some(outage) => Listener::bind(outage),
            None => Err(io::Error::other(format!("no server called '{server}'"))),
        };
        let front = listener(faults::RUCIO)?;
        let mut doors = BTreeMap::new();
        for rse in &options.rses {
            doors.insert(rse.name.clone(), listener(&rse.name)?);
        }
        let url = address_url(&front)?;
        let storage = doors
            .iter()
            .map(|(rse, door)| Ok((rse.clone(), address_url(door)?)))
            .collect::<io::Result<BTreeMap<_, _>>>()?;
        let shared = Arc::new(Shared::new(&options, &storage, faults, SystemTime::now()));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(http::serve(front, Arc::clone(&shared), stop.clone()));
        for (rse, door) in doors {
            tasks.spawn(storage_face::serve(rse, door, Arc::clone(&shared), stop.clone()));
        }
        tasks.spawn(judge::run(Arc::clone(&shared), stop.clone()));
        tasks.spawn(conveyor::run(Arc::clone(&shared), stop.clone()));
        tasks.spawn(reaper::run(Arc::clone(&shared), stop.clone()));
        tasks.close();
        Ok(Self { url, storage, shared, stop, tasks })
    }

    /// Base URL of the REST server.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Base URL of an RSE's storage, as `http://`; `None` for an unknown RSE.
    pub fn storage_url(&self, rse: &str) -> Option<&Url> {
        self.storage.get(rse)
    }

    /// Where the copy of a file lies, or would lie; `None` for an unknown RSE.
    pub fn path(&self, did: &Did, rse: &str) -> Option<PathBuf> {
        self.shared.path(did, rse)
    }

    /// What can be made to go wrong.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Everything that happened since the start, oldest first.
    pub fn history(&self) -> Vec<Entry> {
        self.shared.journal.read()
    }

    /// Waits until the history satisfies a condition.
    pub async fn until(&self, condition: impl FnMut(&[Entry]) -> bool) {
        self.shared.journal.until(condition).await;
    }

    /// The state of a file's copies as the catalogue has it now, by RSE.
    pub fn replicas(&self, did: &Did) -> BTreeMap<String, ReplicaState> {
        let catalog = self.shared.catalog();
        catalog.replicas.get(did).into_iter().flatten().map(|(rse, replica)| (rse.clone(), replica.state)).collect()
    }

    /// Requests answered (or swallowed) so far, by endpoint.
    pub fn requests(&self) -> BTreeMap<Endpoint, u64> {
        self.shared.requests()
    }

    /// All tokens become invalid at once, as after a restart of Rucio with another database.
    pub fn forget_tokens(&self) {
        self.shared.forget_tokens();
    }

    /// Somebody sets an attribute of an RSE, or removes it.
    pub fn set_attribute(&self, rse: &str, key: &str, value: Option<&str>) {
        self.shared.change(|catalog, _| catalog.set_attribute(rse, key, value));
    }

    /// Somebody closes an RSE for writing, or opens it again.
    pub fn close_rse(&self, rse: &str, closed: bool) {
        self.shared.change(|catalog, _| catalog.close(rse, closed));
    }

    /// Somebody takes the attribute `admin` from an account, or gives it.
    pub fn set_admin(&self, account: &str, admin: bool) {
        self.shared.change(|catalog, _| catalog.set_admin(account, admin));
    }

    /// What was placed with the rules is gone from all of them.
    pub fn forget_meta(&self) {
        self.shared.change(|catalog, _| catalog.rules.values_mut().for_each(|rule| rule.meta = None));
    }

    /// A copy vanishes with its row in the catalogue and its locks, as after a declared loss. With the last copy the
    /// DID goes.
    pub fn lose_copy(&self, did: &Did, rse: &str) -> io::Result<()> {
        self.lose_file(did, rse)?;
        self.shared.change(|catalog, _| catalog.lose_replica(did, rse));
        Ok(())
    }

    /// A file vanishes from a storage, and the catalogue does not know.
    pub fn lose_file(&self, did: &Did, rse: &str) -> io::Result<()> {
        match self.path(did, rse) {
            Some(path) => std::fs::remove_file(path),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("no RSE called '{rse}'"))),
        }
    }

    /// An operator of Rucio suspends a rule, or sets a suspended one to STUCK, so that it is tried again.
    pub fn suspend_rule(&self, rule: &str, suspended: bool) {
        let state = Some(if suspended { "suspended" } else { "stuck" }.to_owned());
        let change = RuleChange { state, ..RuleChange::default() };
        self.as_root(|catalog, now| catalog.update_rule(ROOT, rule, &change, now));
    }

    /// An operator of Rucio deletes a rule, which ends in an hour.
    pub fn delete_rule(&self, rule: &str) {
        self.as_root(|catalog, now| catalog.delete_rule(ROOT, rule, None, now));
    }

    /// Somebody gives a DID an end so many seconds from now, as `rucio erase` does, or takes it away.
    pub fn give_end(&self, did: &Did, seconds: Option<f64>) {
        let meta = serde_json::Map::from_iter([("lifetime".to_owned(), serde_json::json!(seconds))]);
        self.as_root(|catalog, now| catalog.set_metadata(ROOT, &[(did.clone(), meta)], now));
    }

    /// An operator of Rucio closes a dataset or container, or opens it again.
    pub fn set_open(&self, did: &Did, open: bool) {
        self.as_root(|catalog, _| catalog.set_open(ROOT, did, open));
    }

    /// An operator of Rucio, or one of its own tools, declares a replica bad.
    pub fn declare_bad(&self, did: &Did, rse: &str) {
        let place = (did.clone(), rse.to_owned());
        self.as_root(|catalog, now| catalog.declare_bad(ROOT, &[place], now));
    }

    /// Rucio's necromancer comes around: what was declared bad is copied again, or given up as lost.
    pub fn bury_the_bad(&self) {
        self.shared.change(Catalog::bury);
    }

    /// Rucio's administrators have a file that was given up as lost AVAILABLE again, in their database.
    pub fn undo_loss(&self, did: &Did) {
        self.shared.change(|catalog, _| catalog.undo_loss(did));
    }

    /// The reaper has taken a replica and not deleted its file yet.
    pub fn condemn(&self, did: &Did, rse: &str) {
        self.shared.change(|catalog, _| catalog.condemn_one(did, rse));
    }

    fn as_root(&self, change: impl FnOnce(&mut Catalog, SystemTime) -> Result<(), Refusal>) {
        if let Err(refusal) = self.shared.change(change) {
            tracing::warn!("the miniature Rucio refuses its own operator: {}", refusal.message);
        }
    }

    /// Stops the servers and the daemons and waits for them; a copy under way is finished.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Miniature {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn address_url(listener: &Listener) -> io::Result<Url> {
    Url::parse(&format!("http://{}/", listener.address())).map_err(io::Error::other)
}
