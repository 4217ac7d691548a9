//! How Rucio and the storages of its grid behave, as one suite that runs against the miniature and, in `real.rs`, against
//! real ones. Where the two differ, the miniature is wrong.
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
mod replicas;
mod replication;
mod rses;
mod rules;
mod settling;
mod stack;
mod storage;
mod through_the_client;

mod miniature {
    behaviours!(miniature);
}
