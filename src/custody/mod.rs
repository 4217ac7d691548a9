//! What custody of a file means: states, legal moves, evidence and invariants. Pure, no I/O.

mod copies;

pub use copies::{Copies, TooFewCopies};
