//! From ACADA's trigger to a freed buffer: the on-site ingest daemon of CTAO.
//!
//! The binary is a thin shell around this library; tests and benchmarks reach the same modules.
//! `docs/architecture.md` is the map.

pub mod audit_log;
pub mod cli;
mod clock;
pub mod config;
mod crash;
#[cfg(feature = "cfitsio")]
pub mod crosscheck;
pub mod custody;
pub mod daemon;
pub mod datadir;
pub mod embedded;
pub mod fits;
pub mod fixity;
pub mod kill_switch;
pub mod ledger;
pub mod names;
pub mod pipeline;
mod printable;
pub mod product;
pub mod reconcile;
pub mod rucio;
pub mod storage;
pub mod telemetry;
#[cfg(test)]
mod testing;
mod tls;
