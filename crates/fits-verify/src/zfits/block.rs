//! A block: the values of one column over the rows of one tile.

use std::fmt;
use std::sync::Arc;

use super::column::Column;
use super::table::Table;

/// Largest block that is kept to be decoded, in bytes. Those in use are below 10 MB.
pub const BLOCK_MAX: u64 = 64 << 20;

/// A whole block.
#[derive(Clone, Debug)]
pub struct Block {
    /// The table it belongs to.
    pub table: Arc<Table>,
    /// Index of its column.
    pub column: usize,
    /// Index of its tile.
    pub tile: u64,
    /// Rows of its tile.
    pub rows: u32,
    /// Byte offset of the block in the file.
    pub offset: u64,
    /// What was done to the values, in this order.
    pub processes: Vec<u16>,
    /// The compressed values.
    pub payload: Vec<u8>,
}

impl Block {
    /// Its column.
    pub fn column(&self) -> &Column {
        &self.table.columns[self.column]
    }
}

/// Where blocks go once they are whole. Without a taker their payloads are not even kept.
#[derive(Default)]
pub(crate) struct BlockSink(Option<Taker>);

type Taker = Box<dyn FnMut(Block) + Send>;

impl BlockSink {
    pub(crate) fn to(taker: Taker) -> Self {
        Self(Some(taker))
    }

    pub(super) fn wanted(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn take(&mut self, block: Block) {
        if let Some(taker) = &mut self.0 {
            taker(block);
        }
    }
}

impl fmt::Debug for BlockSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockSink").field(&self.wanted()).finish()
    }
}
