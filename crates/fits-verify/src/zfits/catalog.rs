//! The catalog: where every block is, said before the blocks themselves.

use super::block_header::SHORTEST;

/// Bytes of a catalog entry: size and offset.
pub(super) const ENTRY_BYTES: u64 = 16;
/// Most blocks that a table may have. A 1 GB file of events has some 40,000; the sizes of all are remembered, in 8 bytes
/// each and only as they arrive.
pub const CATALOG_ENTRIES_MAX: u64 = 4 << 20;
/// Bytes of a tile's header.
pub(super) const TILE_HEADER: u64 = 16;

/// The sizes of all blocks, in the order of the heap.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    sizes: Vec<u64>,
    /// Where in the heap the next block must begin, tile headers counted.
    next: u64,
}

/// What is wrong with a catalog entry.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EntryError {
    #[error("the catalog says size {0}, which is less than a block's header")]
    Size(i64),
    #[error("the catalog says offset {offset}, but the blocks before it end at {expected} of the heap")]
    Offset { offset: i64, expected: u64 },
    #[error("the catalog says size {size} at offset {offset}, but the heap has {heap} bytes")]
    Beyond { size: i64, offset: i64, heap: u64 },
    #[error("the catalog says offset {0} for a block of size 0, which has none")]
    OffsetOfNothing(i64),
}

impl Catalog {
    /// Entries seen so far.
    pub(super) fn len(&self) -> u64 {
        self.sizes.len() as u64
    }

    /// Takes the next entry, the first of its tile or not. After a wrong one the next is judged by what this one says, so
    /// that one wrong entry is not a hundred.
    pub(super) fn push(&mut self, entry: [u8; 16], first: bool, heap: u64) -> Result<(), EntryError> {
        if first {
            self.next = self.next.saturating_add(TILE_HEADER);
        }
        let [size, offset] = halves(entry);
        let (Ok(bytes), Ok(begin)) = (u64::try_from(size), u64::try_from(offset)) else {
            self.sizes.push(0);
            return Err(EntryError::Beyond { size, offset, heap });
        };
        self.sizes.push(bytes);
        if bytes == 0 {
            return if offset == 0 { Ok(()) } else { Err(EntryError::OffsetOfNothing(offset)) };
        }
        let end = begin.saturating_add(bytes);
        let expected = self.next;
        if end > heap {
            self.next = self.next.saturating_add(bytes).min(heap);
            return Err(EntryError::Beyond { size, offset, heap });
        }
        self.next = end;
        if bytes < SHORTEST {
            return Err(EntryError::Size(size));
        }
        if begin == expected { Ok(()) } else { Err(EntryError::Offset { offset, expected }) }
    }

    /// The size of a block; 0 where there is none.
    pub(super) fn size(&self, tile: u64, column: usize, columns: usize) -> u64 {
        usize::try_from(tile).ok().and_then(|tile| self.sizes.get(tile * columns + column)).copied().unwrap_or(0)
    }

    /// The size of all blocks of a tile.
    pub(super) fn tile_size(&self, tile: u64, columns: usize) -> u64 {
        (0..columns).map(|column| self.size(tile, column, columns)).fold(0, u64::saturating_add)
    }
}

fn halves(entry: [u8; 16]) -> [i64; 2] {
    let both = u128::from_be_bytes(entry);
    // the two halves of 128 bits
    #[allow(clippy::cast_possible_truncation)]
    [(both >> 64) as u64, both as u64].map(u64::cast_signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(size: i64, offset: i64) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&size.to_be_bytes());
        bytes[8..].copy_from_slice(&offset.to_be_bytes());
        bytes
    }

    #[test]
    fn blocks_follow_each_other_with_a_header_before_each_tile() {
        let mut catalog = Catalog::default();
        for (size, offset, first) in [(25, 16, true), (30, 41, false), (0, 0, false), (40, 87, true)] {
            assert_eq!(catalog.push(entry(size, offset), first, 127), Ok(()));
        }
        assert_eq!((catalog.len(), catalog.size(0, 1, 3), catalog.tile_size(0, 3)), (4, 30, 55));
        assert_eq!(catalog.size(9, 0, 3), 0);
    }

    #[test]
    fn one_wrong_entry_is_not_many() {
        let mut catalog = Catalog::default();
        let results: Vec<_> = [(25, 17, true), (25, 42, false), (i64::MAX, 67, false), (-1, 0, false), (5, 100, false)]
            .map(|(size, offset, first)| catalog.push(entry(size, offset), first, 105).err())
            .into();
        let expected = [
            Some(EntryError::Offset { offset: 17, expected: 16 }),
            None,
            Some(EntryError::Beyond { size: i64::MAX, offset: 67, heap: 105 }),
            Some(EntryError::Beyond { size: -1, offset: 0, heap: 105 }),
            Some(EntryError::Size(5)),
        ];
        assert_eq!(results, expected);
    }

    #[test]
    fn nothing_is_nowhere() {
        assert_eq!(Catalog::default().push(entry(0, 5), true, 100), Err(EntryError::OffsetOfNothing(5)));
    }
}
