//! Client of [Rucio](https://rucio.cern.ch)'s REST API: registering files, placing and ending rules, looking at replicas
//! and locks; and what the failures of all that mean.
//!
//! Every call either succeeds, or fails with an [`Error`] whose [`Kind`] says what the caller can do. What is safe to
//! repeat is repeated within a budget; an outage opens the [`Circuit`], and then calls fail at once until it ends. All
//! futures may be dropped at any point.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use rucio_client::login::{Secret, Userpass};
//! use rucio_client::{Client, Did, ReplicaQuery, Settings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let login = Userpass { username: "me".to_owned(), password: Secret::new("…") };
//! let settings = Settings::new("https://rucio.example.org".parse()?, "me", login);
//! let rucio = Client::new(settings, Arc::new(()))?;
//! let dids = [Did::new("test", "/my/file")];
//! let query = ReplicaQuery { dids: &dids, rse_expression: None, all_states: false, schemes: &[] };
//! for listing in rucio.replicas(&query).await? {
//!     println!("{} lies at {:?}", listing.did, listing.states.keys());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A client needs a Tokio runtime. It speaks as one account; clones share its login, its connections and its circuit.

mod adler32;
mod answer;
mod calls;
mod circuit;
mod client;
mod did;
mod errors;
pub mod login;
mod ndjson;
mod observer;
mod request;
mod retry;
mod session;
mod settings;
mod transport;
pub mod trust;
mod types;

pub use adler32::{Adler32, NotAdler32};
pub use calls::{ListedRule, TakeRules, metadata_key_is_safe};
pub use circuit::Circuit;
pub use client::Client;
pub use did::Did;
pub use errors::{Error, Kind};
pub use observer::{ChangeHook, Observer};
pub use retry::Retry;
pub use settings::{SettingNames, Settings};
pub use types::{
    Analysis, Attachment, BadReplica, Child, CollectionKind, Declared, DidEnd, DidInfo, DidKind, DidStatus, Grouping,
    LIST_MAX, Lock, LockState, NewCollection, NewRule, ReplicaListing, ReplicaQuery, ReplicaState, RseProtocol,
    RseSettings, Rule, RuleId, RuleState, StuckTransfer,
};

#[cfg(test)]
mod tests;
