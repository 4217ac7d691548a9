//! What can be asked of Rucio, and what can be told it: a file for each of its parts.

mod accounts;
mod dids;
mod keys;
mod metadata;
mod replicas;
mod rses;
mod rule_list;
mod rules;

pub use keys::metadata_key_is_safe;
pub use rule_list::{ListedRule, TakeRules};
