//! What custody of a file means: states and legal moves, evidence, brakes for copies, and the invariants. Pure, no I/O.

pub mod brakes;
mod copies;
mod evidence;
mod hold_code;
pub mod invariants;
mod on_site;
mod order;
mod rules;
pub mod settling;
mod state;
mod way_back;

use std::time::Duration;

pub use copies::{Copies, TooFewCopies};
pub use evidence::{
    Availability, Contents, CopyFacts, CopyProof, Doubt, Evidence, FirstLook, LockFacts, StorageAnswer, StoragePolicy,
    sites_on_record,
};
pub use hold_code::HoldCode;
pub use on_site::OnSiteFile;
pub use order::{KeepReason, ReleaseOrder, is_fresh};
pub use rules::RuleStanding;
pub use state::{IllegalMove, State};
pub use way_back::{HeldFile, NoWayBack, UnderItsName};

/// Milliseconds since 1970-01-01T00:00:00 UTC.
pub type UnixMillis = i64;

/// A span of time in the unit of [`UnixMillis`]; at most half its range, which leaves room for a sum.
pub fn in_millis(span: Duration) -> UnixMillis {
    UnixMillis::try_from(span.as_millis()).unwrap_or(UnixMillis::MAX / 2)
}

/// What identifies one delivery of a file on disk. Inode numbers are reused, so all parts count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileIdentity {
    /// Size in bytes.
    pub bytes: u64,
    /// Last modification, nanoseconds since 1970 UTC.
    pub mtime_ns: i64,
    /// Inode number.
    pub inode: u64,
}
