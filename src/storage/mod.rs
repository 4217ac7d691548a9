//! What a storage itself says about a file: size and digest, over HTTP or its extension `WebDAV`.
//!
//! Rucio's catalogue knows what a copy should be; only the storage knows what it is. See RFC 3230 for `Want-Digest` and
//! `Digest`.

mod client;
mod digest;
mod error;
mod lacking;
mod pfn;
mod servers;

pub use client::{Client, Found, QUESTIONS, ReadBack, Settings};
pub use digest::Algorithm;
pub use error::Error;
pub use pfn::{best_url, can_be_asked, is_open_to_others};
pub use servers::{Source, door, doors};

#[cfg(test)]
mod tests;
