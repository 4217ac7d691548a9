//! From ACADA's trigger to a freed buffer: the on-site ingest daemon of CTAO.
//!
//! The binary is a thin shell around this library; tests and benchmarks reach the same modules.
//! `docs/architecture.md` is the map.

mod apart;
pub mod audit_log;
pub mod cli;
mod clock;
pub mod config;
mod crash;
#[cfg(feature = "cfitsio-system")]
pub mod crosscheck;
pub mod custody;
pub mod daemon;
pub mod datadir;
pub mod engine;
pub mod fixity;
pub mod kill_switch;
pub mod ledger;
pub mod look;
pub mod names;
pub mod pipeline;
mod printable;
pub mod product;
mod reading;
pub mod reconcile;
pub mod rules;
pub mod storage;
pub mod telemetry;
