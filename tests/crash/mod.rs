//! The daemon is killed at every point it has, and at random under load; whatever was delivered must end as two copies or
//! in `invalid/`, and never be in danger in between.
//!
//! The embedded Rucio lives in the test's process and survives; the daemon is a process of its own.
mod kills;
mod load;
mod lost;
mod points;
mod scenario;
mod soak;
mod source;
