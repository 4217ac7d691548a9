//! FITS as bytes: cards, headers, data-unit lengths and checksums, walked as a stream.
//!
//! Nothing here opens a file. [`Walker`] is fed byte slices of any size and in the end says what the file holds
//! ([`Walk`]); the answer does not depend on how the file was cut into slices, and memory is bounded by the longest
//! header allowed, not by what a header claims. Section numbers are those of the FITS Standard 4.0.

mod card;
mod checksum;
mod columns;
pub mod findings;
mod header;
mod layout;
mod problem;
mod structure;
mod verdict;
mod walker;
pub mod zfits;

pub use card::{Card, Content, Fault, Value};
pub use checksum::{Sum, encode as encode_checksum};
pub use header::Header;
pub use layout::{Kind, Layout};
pub use problem::REDELIVER;
pub use problem::{Place, Problem};
pub use walker::{Checksum, Hdu, Walk, Walker};

/// Length of a FITS block in bytes: headers and data units are multiples of it (section 3.1).
pub const BLOCK: usize = 2880;
/// Length of a header card in bytes (section 4.1).
pub const CARD: usize = 80;
/// Longest header that is read, in bytes. ACADA's are below 30 kB; a header without END must not fill the memory.
pub const HEADER_MAX: usize = 2880 * 2912;
/// Most findings that are listed of all headers of a file, rejections and warnings each.
pub const FINDINGS_MAX: usize = 1000;
/// Most HDUs that are walked in one file.
pub const HDUS_MAX: usize = 65_536;
