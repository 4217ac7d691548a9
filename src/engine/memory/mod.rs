//! What is remembered from one turn to the next. A restart forgets it: then it is reported, asked or done once more.

mod boosts;
mod cursor;
mod data_centres;
mod denials;
mod doors;
mod lists;
mod pacing;
mod reported;
mod troubles;

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ledger::Watched;

pub(crate) use boosts::Boosts;
pub(crate) use cursor::Cursor;
pub(crate) use data_centres::{DataCentres, Lately};
pub(crate) use denials::Denials;
pub(crate) use doors::{Doors, Pair, pair};
pub(crate) use lists::LastList;
pub(crate) use pacing::Pacing;
pub(crate) use reported::Reported;
pub(crate) use troubles::Troubles;
pub use troubles::tell_of_more;

/// Entries kept of each kind; beyond that all are forgotten, and some things are reported or asked twice.
const REMEMBERED: usize = 100_000;

/// One of each kind.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Troubles that the log has.
    pub(crate) reported: Reported,
    /// Those that many files or rules have at once.
    pub(crate) troubles: Troubles,
    /// Rules that were boosted.
    pub(crate) boosts: Boosts,
    /// Ordered releases about which Rucio was asked whether they will happen.
    pub(crate) releases_asked: Pacing,
    /// Doors of storages that lead to another copy's server, as reported.
    pub(crate) doors_reported: Pacing,
    /// When new files on site were last asked for off site.
    pub(crate) site_told_apart: Pacing,
    /// Doors that lead to one storage.
    pub(crate) doors: Doors,
    /// What storages are known to have.
    pub(crate) denials: Denials,
    /// The data centres and their sites.
    pub(crate) data_centres: LastList,
    /// The same, for looks that decide no release.
    pub(crate) data_centres_lately: Lately,
    /// Held by the batch that makes datasets and containers: the next one mostly needs the same, and finds them made.
    pub(crate) making_collections: tokio::sync::Mutex<()>,
    /// The settled dataset whose rules were looked at last.
    pub(crate) watched: Cursor<Watched>,
}

/// What a panic interrupted is at worst something that is reported or asked twice.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
