//! The suite of `main.rs` against a real Rucio and real storages; `TESTBED` names the directory with `endpoints.json`.

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

mod real {
    behaviours!(real);
}
