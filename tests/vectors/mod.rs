//! Damaged files and variants of headers, with their known verdicts.

mod columns;
mod product;
mod verify;
