//! What of a cell goes by.

/// A piece of a cell.
pub(super) struct Cell<'a> {
    pub(super) row: u64,
    /// Of the piece in the file.
    pub(super) offset: u64,
    /// Of the piece in the cell.
    pub(super) from: u64,
    pub(super) part: &'a [u8],
}
