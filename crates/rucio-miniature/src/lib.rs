//! A [Rucio](https://rucio.cern.ch) in miniature, in process: the REST calls that a client makes to register files and
//! to have them replicated, a judge, a conveyor that really copies bytes between directories, a reaper that really
//! deletes files, and a WebDAV-like face for each storage.
//!
//! It serves demonstrations and fault injection. What it answers is held against a real Rucio by `tests/contract`; where
//! they differ, this one is wrong. State lives in memory behind one lock (`catalog`); HTTP and the daemons are thin around
//! it. Everything listens on 127.0.0.1.
//!
//! What can be made to go wrong between it and its clients ([`Faults`]) is public, for a proxy that does the same in front
//! of a real Rucio: [`Listener`], [`Reply`], [`with_faults`].
//!
//! ```
//! use rucio_miniature::{Miniature, Options};
//!
//! # #[tokio::main]
//! # async fn main() -> std::io::Result<()> {
//! # let directory = tempfile::tempdir()?;
//! let rucio = Miniature::start(Options::new(directory.path())).await?;
//! println!("Rucio at {}, a storage at {:?}", rucio.url(), rucio.storage_url("STORAGE-2"));
//! rucio.faults().fail_transfers(3);
//! rucio.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod catalog;
mod conveyor;
mod dates;
mod digests;
mod endpoint;
mod expression;
mod faults;
mod http;
mod journal;
mod judge;
mod listener;
mod miniature;
mod options;
mod reaper;
mod refusal;
mod shared;
mod storage_face;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use catalog::records::ReplicaState;
pub use endpoint::Endpoint;
pub use faults::{Answer, Daemon, Faults, Outage};
pub use http::{Reply, with_faults};
pub use journal::{Entry, Event};
pub use listener::{Connection, Listener, Scissors};
pub use miniature::Miniature;
pub use options::{AccountOptions, Options, Pace, RseOptions};
