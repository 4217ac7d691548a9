//! The header of a block: its size, the order of its values, and what was done to them.

/// Bytes of a block's header before its process ids.
pub(super) const START: usize = 10;
/// Bytes of the shortest header: one process.
pub(super) const SHORTEST: u64 = 12;
/// Values in order of columns, the only order in use.
pub(super) const BY_COLUMN: u8 = b'C';
/// The other order that the format knows.
pub(super) const BY_ROW: u8 = b'R';
/// Bytes at the start of a payload that are looked at.
const PEEK: usize = 20;
/// What is collected at once: the header of a block with one process, and what is looked at behind it.
pub(super) const USUAL: usize = START + 2 + PEEK;

/// A block's header with the first bytes of its payload.
#[derive(Debug)]
pub(super) struct BlockHeader<'a> {
    pub(super) order: u8,
    /// The process ids, little-endian.
    ids: &'a [[u8; 2]],
    /// Bytes of the header.
    pub(super) length: usize,
    /// The first bytes of the payload.
    pub(super) start: &'a [u8],
}

/// Why there is no header.
#[derive(Debug)]
pub(super) enum HeaderError {
    /// As many bytes are needed.
    Short(usize),
    /// It contradicts itself or the catalog.
    Wrong(String),
}

impl<'a> BlockHeader<'a> {
    /// Reads the header of a block that has `size` bytes according to the catalog.
    pub(super) fn parse(bytes: &'a [u8], size: u64) -> Result<Self, HeaderError> {
        let Some((&[s0, s1, s2, s3, s4, s5, s6, s7, order, count], rest)) = bytes.split_first_chunk::<START>() else {
            return Err(HeaderError::Short(START));
        };
        let stated = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        if stated != size {
            return Err(HeaderError::Wrong(format!("the block says {stated} bytes, but the catalog says {size}")));
        }
        let ids = 2 * usize::from(count);
        let length = START + ids;
        let Some(payload) = size.checked_sub(length as u64).filter(|_| count > 0) else {
            return Err(HeaderError::Wrong(format!("{count} processes in a block of {size} bytes")));
        };
        let goal = length + usize::try_from(payload).map_or(PEEK, |payload| payload.min(PEEK));
        if bytes.len() < goal {
            return Err(HeaderError::Short(goal));
        }
        let (ids, start) = rest.split_at(ids);
        Ok(Self { order, ids: ids.as_chunks::<2>().0, length, start })
    }

    /// What was done to the values, in this order.
    pub(super) fn processes(&self) -> impl Iterator<Item = u16> {
        self.ids.iter().copied().map(u16::from_le_bytes)
    }
}
