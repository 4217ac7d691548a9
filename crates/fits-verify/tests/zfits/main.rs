//! ZFITS tables, followed tile by tile: what is accepted, and what no change of a byte gets past.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bytes;
mod decode;
mod structure;
