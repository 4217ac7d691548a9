//! What goes wrong at a site: the daemon is killed, disks fill, clocks jump, others meddle. The daemon is a process of its
//! own; the Rucio in miniature lives in the test's process.
//!
//! Needs root (mounts, other users) and the Debian packages `faketime` and `e2fsprogs`; therefore a plain `cargo test` leaves
//! it out.
#![allow(clippy::too_many_lines, reason = "a story is read from top to bottom")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

mod as_root;
mod crash;
mod onsite_faults;
mod testkit;
