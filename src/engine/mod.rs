//! What every stage stands on: the context, the stage's shape, what can go wrong, the runners, when to look again, the
//! brakes, what precedes an effect that cannot be undone, and what is remembered from one turn to the next.

mod announce;
mod backoff;
mod batches;
mod braking;
mod content;
mod context;
mod error;
pub(crate) mod job;
pub(crate) mod memory;
mod replica_list;
pub(crate) mod set_aside;
mod stage;
pub(crate) mod triggers;

pub use announce::check as check_audit_record;
pub(crate) use announce::{Effect, ORDER, RELEASE, announce, announce_settling};
pub(crate) use backoff::{OVERDUE, Pace, STILL_WRITING, after_failures};
pub(crate) use batches::Halves;
pub use braking::watch as watch_brakes;
pub(crate) use braking::{before_going_on, brake_of_dataset, kill_switch, limits, unbraked, wait_for_brake};
pub(crate) use content::{hold_unless_on_site, is_as_verified};
pub use context::{Context, Parts};
pub(crate) use context::{blocking, may_be_acted_upon};
pub use error::StageError;
pub use memory::tell_of_more;
pub(crate) use replica_list::{UNTRUE_LIST, is_known};
pub use stage::{Stage, run};
