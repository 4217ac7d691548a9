//! Durable custody: one row a file, one append-only event a move, and the only queue of the pipeline.
//!
//! A stage claims due files in its state, works, and commits the outcome in one transaction; a restart is therefore
//! nothing special. The statements keep to what SQLite and PostgreSQL share.

mod audit_head;
mod claims;
mod clock;
mod collections;
mod columns;
mod deliveries;
mod error;
mod identity;
mod moves;
mod operators;
mod queries;
mod reconciliation;
mod refused;
mod releases;
mod rows;
mod settling;
mod statements;
mod stops;
mod storages;
mod store;
#[cfg(test)]
mod tests;
mod trouble;

pub use claims::{Claim, Postpone};
pub use columns::EndOfRule;
pub use deliveries::{Delivered, Delivery, Redelivery, WrongTrigger};
pub use error::Error;
pub use identity::UNSIGNED;
pub use moves::{Registration, Sentence, Verified};
pub use operators::{Operator, Retried, TooLate};
pub use queries::{Filter, StateSummary};
pub use reconciliation::{OnRecord, Proven, Restored};
pub use rows::{EventRow, FileRow, iso};
pub use settling::{Ending, OwnRule, Resting, Settlement, Watched};
pub use stops::IntentOutcome;
pub use store::Ledger;

pub use crate::clock::now;
