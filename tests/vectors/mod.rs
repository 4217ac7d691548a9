//! Damaged files and variants of headers, with their known verdicts.

mod product;
mod verify;
