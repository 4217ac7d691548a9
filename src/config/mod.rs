//! The operator's file: types, defaults, checks.
//!
//! One YAML file, read once into a tree that knows where everything stands ([`mod@document`]), then into types
//! ([`mod@decode`], [`mod@load`]), then checked as a whole ([`mod@checks`]). All mistakes are gathered, each with line,
//! column and what to write instead, so that an operator needs one round and not ten. Secrets never stand in it.

mod checks;
mod decode;
mod document;
mod durations;
mod load;
mod password;
mod problem;
mod sizes;
mod types;

pub use checks::Severity;
pub use durations::{format as format_duration, parse as parse_duration};
pub use load::Loaded;
pub use password::{CREDENTIAL, PasswordError};
pub use problem::{ConfigError, Place, Problem};
pub use types::{
    Auth, Backoff, Config, Confirm, Deletion, Http, Intake, Leftover, Offsite, Register, Release, Replicate, Rucio,
    StorageCheck, Verify,
};

#[cfg(test)]
mod tests;
