//! The command line, as a shell sees it.

mod audit_log;
mod audit_memory;
mod config;
#[cfg(feature = "cfitsio-system")]
mod cross_check;
mod demo;
mod health;
mod ledger;
mod operator;
mod reconcile;
mod run;
mod verify;
