//! One look at a file: what Rucio and the storages say of its copies, and what lies on site. It asks, and does nothing about
//! the answers.

mod carriers;
mod copies;
mod denial;
mod on_site;
pub(crate) mod read_back;
mod regressed;
mod storages;
mod witness;

pub(crate) use copies::{Looks, off_site_copies};
pub(crate) use on_site::{as_registered, delivered_again, on_disk, on_site, unchanged_for};
pub(crate) use regressed::{first_look, has_regressed, regressed};
pub(crate) use witness::{Witness, witness};

/// Protocols that a storage can be asked over.
const SCHEMES: [&str; 4] = ["davs", "https", "dav", "http"];
