//! Plain FITS: what readers would miss or read differently is rejected, what is only odd is said.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bytes;
mod cases;
mod cells;
mod flips;
mod headers;
