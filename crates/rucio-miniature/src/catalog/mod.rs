//! The state of the miniature Rucio, and its rules of change. Pure: no files, no network, no clock of its own.
//!
//! Every change is checked in full before anything is written, which stands in for Rucio's database transactions.

pub(crate) mod attach;
pub(crate) mod declared;
pub(crate) mod deletion;
pub(crate) mod dids;
pub(crate) mod evaluation;
pub(crate) mod metadata;
pub(crate) mod records;
pub(crate) mod replicas;
pub(crate) mod rules;
pub(crate) mod schema;
mod tables;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
pub(crate) mod transfers;

pub(crate) use tables::Catalog;
