//! Verifies FITS files while their bytes go by: header cards, HDUs, CHECKSUM and DATASUM, and the compressed tables of
//! ZFITS.
//!
//! Nothing here opens a file. [`Walker`] is fed byte slices of any size and in the end says what the file holds
//! ([`Walk`]); the answer does not depend on how the file was cut into slices, and memory is bounded by the longest
//! header allowed, not by what a header claims. Section numbers are those of the FITS Standard 4.0.
//!
//! ```
//! use fits_verify::Walker;
//!
//! # let bytes: Vec<u8> = ["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0", "END"]
//! #     .into_iter().map(|card| format!("{card:80}")).collect::<String>().into_bytes();
//! # let bytes = [&bytes[..], &[b' '; 2880 - 4 * 80]].concat();
//! let mut walker = Walker::new();
//! for slice in bytes.chunks(1000) {
//!     walker.feed(slice);
//! }
//! let walk = walker.finish();
//! assert!(walk.complete && walk.problems.is_empty());
//! assert_eq!(walk.hdus.len(), 1);
//! // a warning: nobody can know whether an HDU without CHECKSUM is as it was written
//! assert_eq!(walk.warnings[0].code, "checksum-absent");
//! ```

#![warn(missing_docs)]

mod card;
mod cells;
pub mod findings;
mod form;
mod hdu;
mod header;
mod layout;
mod problem;
mod sizes;
mod sum;
mod verdict;
mod walk;
mod walker;
pub mod zfits;

pub use card::{Card, Content, Fault, Value};
pub use hdu::{Checksum, Hdu};
pub use header::Header;
pub use layout::{Kind, Layout, LayoutError};
pub use problem::{Place, Problem, Remedy};
pub use sizes::{BLOCK, CARD, FINDINGS_MAX, HDUS_MAX, HEADER_MAX};
pub use sum::{Sum, encode_checksum};
pub use walk::Walk;
pub use walker::Walker;
