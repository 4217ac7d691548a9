//! The daemon's behaviour, with a Rucio in miniature: what needs no real stack, no rights and little time.
#![allow(clippy::too_many_lines, reason = "a story is read from top to bottom")]
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod cli;
mod docs;
mod fault_proxy;
mod fuzz_targets;
mod road;
mod structure;
mod testkit;
mod vectors;
