//! What we rely on in Rucio and in the storages, as one suite that runs against the embedded miniature and, in `real.rs`,
//! against the real ones. Where the two differ, the miniature is wrong.
//!
//! Each behaviour is one function over a [`Stack`](stack::Stack). Names are fresh in every test, so that all of them
//! run side by side on one real stack.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod attachments;
#[macro_use]
mod behaviours;
mod client;
mod collections;
mod deletion;
mod login;
mod metadata;
mod ours;
mod replicas;
mod replication;
mod rses;
mod rules;
mod settling;
mod stack;
mod storage;

mod embedded {
    behaviours!(embedded);
}
