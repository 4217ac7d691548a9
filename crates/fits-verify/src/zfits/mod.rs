//! ZFITS, the compressed tables in which Cherenkov telescopes write their events.
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
//! A [`Walker`](crate::Walker) follows all this while the bytes go by, without a look into the payloads but for their first
//! bytes. [`Block::decode`] undoes the compression of one block; blocks are independent of each other, and may be decoded
//! in any order on any thread. [`DecodeFindings`] puts what is found in them in the order of the file again.

mod block;
mod block_header;
mod catalog;
mod column;
mod decode;
mod decode_findings;
mod follower;
mod payload;
mod process;
mod short_list;
mod table;

pub(crate) use block::BlockSink;
pub use block::{BLOCK_MAX, Block};
pub use catalog::CATALOG_ENTRIES_MAX;
pub use column::Column;
pub use decode::{DECODED_MAX, Rows, Undecoded};
pub use decode_findings::DecodeFindings;
pub(crate) use follower::Follower;
pub use table::Table;
