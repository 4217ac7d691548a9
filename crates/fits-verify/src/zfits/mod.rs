//! ZFITS, the compressed tables of ACADA's DL0 files.
//!
//! A table's data unit is a catalog, a gap of zeros, and a heap. The heap is a sequence of tiles, a tile one block for
//! each column, a block the column's values over the tile's rows, compressed:
//!
//! ```text
//! catalog   NAXIS2 tiles × TFIELDS × (i64 size, i64 offset in the heap), big-endian; a block of size 0 is not there
//! gap       zeros up to ZHEAPPTR: catalog rows that were reserved
//! heap      tile, tile, …
//! tile      "TILE", u32 rows, u64 size of its blocks, blocks; from here on little-endian
//! block     u64 size with this header, 'C', u8 n, n × u16 process ids, payload
//! ```
//!
//! `Structure` follows all this while the bytes go by, without a look into the payloads but for their first bytes. [`Block::decode`] undoes the
//! compression of one block; blocks are independent of each other.

mod block;
mod catalog;
mod column;
mod decode;
mod findings;
mod structure;
mod table;

pub(super) use block::Blocks;
pub use block::{BLOCK_MAX, Block};
pub use column::Column;
pub use decode::{DECODED_MAX, Rows, Undecoded};
pub(super) use findings::Findings;
pub use findings::TOLD;
pub(super) use structure::Structure;
pub use table::Table;

/// Bytes of a catalog entry: size and offset.
const ENTRY: u64 = 16;
/// Most blocks that a table may have. A 1 GB shower file has some 40,000; the sizes of all are remembered, in 8 bytes
/// each and only as they arrive.
pub const CATALOG_ENTRIES_MAX: u64 = 4 << 20;
