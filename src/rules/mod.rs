//! Our rules in Rucio: one file for each, and what they have in common. No rule is placed, kept, boosted or ended with
//! another one's help from anywhere else, but for the end of the on-site rule, which is the release.
//!
//! | rule | on | holds | placed |
//! |---|---|---|---|
//! | first-copy | dataset | one copy off site | when the dataset is made |
//! | further-copies | file | the other copies, read from the first | when the first copy is there |
//! | on-site | file | the copy on site | at registration; its end is the release |
//! | settled | dataset | the further copies of all files | when the dataset is quiet; the files' own further-copies rules then end |

mod ending;
pub(crate) mod first_copy;
pub(crate) mod further_copies;
mod mend;
pub(crate) mod on_site;
mod ours;
mod placing;
mod seen;
pub(crate) mod settled;
mod signature;
mod sites;
mod standing;
mod survey;
mod trouble;

pub(crate) use ending::retire;
pub(crate) use mend::mend;
pub use on_site::no_tombstone_delay;
pub(crate) use ours::{is_first_copy_rule, is_further_copies_rule, is_on_site_rule, is_settled_rule};
pub(crate) use seen::{OkLocks, RulesSeen};
pub(crate) use signature::{OwnLedgers, in_the_way};
pub use sites::{Offsite, no_site, on_site_matched, with_on_site};
pub(crate) use standing::{find, standing, standing_of, stands};
pub(crate) use survey::Survey;
