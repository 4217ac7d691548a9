//! What custody of a file means: states and legal moves, evidence, brakes for copies, and the invariants. Pure, no I/O.

pub mod brakes;
mod copies;
mod evidence;
mod hold_code;
mod identity;
pub mod invariants;
mod on_site;
mod order;
mod rules;
pub mod settling;
mod site;
mod state;
mod time;
mod way_back;

pub use copies::{Copies, TooFewCopies};
pub use evidence::{
    Availability, Carrier, Contents, CopyFacts, CopyProof, Doubt, Evidence, FirstLook, LockFacts, StorageAnswer,
    StoragePolicy, sites_on_record,
};
pub use hold_code::HoldCode;
pub use identity::FileIdentity;
pub use on_site::OnSiteFile;
pub use order::{KeepReason, ReleaseOrder, is_fresh};
pub use rules::RuleStanding;
pub use site::{folded, look_alike};
pub use state::{IllegalMove, State};
pub use time::{UnixMillis, in_millis};
pub use way_back::{HeldFile, NoWayBack, UnderItsName};
