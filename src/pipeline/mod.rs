//! The road: one stage a state, each claiming due files from the ledger and committing what became of them; and the jobs
//! that run beside it.
//!
//! Stages know nothing of each other. The ledger is the only queue; a wake-up merely spares the next stage its poll.

pub mod confirm;
pub mod intake;
pub mod protection;
pub mod redelivery;
pub mod register;
pub mod release;
pub mod replicate;
pub mod settle;
pub mod verify;
