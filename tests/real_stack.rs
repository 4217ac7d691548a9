//! What needs the real stack that `tests/testbed` brings up; a plain `cargo test` leaves it out, `make test` has it.
#![allow(clippy::too_many_lines, reason = "a story is read from top to bottom")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)]

mod e2e;
mod references;
mod testkit;
