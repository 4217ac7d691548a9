//! What is done to a block's values, one process after the other.

pub(super) const RAW: u16 = 0;
pub(super) const SMOOTHING: u16 = 1;
pub(super) const HUFFMAN16: u16 = 2;
pub(super) const DIFF: u16 = 3;
pub(super) const ZSTD: u16 = 0x17;
/// All process ids that the format knows.
pub(super) const KNOWN: [u16; 18] =
    [0, 1, 2, 3, 4, 5, 7, 9, 0x0a, 0x0c, 0x0e, 0x10, 0x11, 0x12, 0x13, 0x15, 0x16, 0x17];

/// Process ids as messages name them.
pub(super) fn names(processes: &[u16]) -> String {
    let names = processes.iter().map(|id| match *id {
        RAW => "raw".to_owned(),
        SMOOTHING => "smoothing".to_owned(),
        HUFFMAN16 => "huffman16".to_owned(),
        DIFF => "diff".to_owned(),
        ZSTD => "zstd".to_owned(),
        id => format!("0x{id:02x}"),
    });
    names.collect::<Vec<_>>().join(" + ")
}
