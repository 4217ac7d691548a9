//! A block: the values of one column over the rows of one tile.

use std::fmt;
use std::sync::Arc;

use super::column::Column;
use super::table::Table;

/// Process ids of the format, by what they do.
pub(super) mod process {
    pub(in super::super) const RAW: u16 = 0;
    pub(in super::super) const SMOOTHING: u16 = 1;
    pub(in super::super) const HUFFMAN16: u16 = 2;
    pub(in super::super) const DIFF: u16 = 3;
    pub(in super::super) const ZSTD: u16 = 0x17;
    /// All that the format knows.
    pub(in super::super) const KNOWN: [u16; 18] =
        [0, 1, 2, 3, 4, 5, 7, 9, 0x0a, 0x0c, 0x0e, 0x10, 0x11, 0x12, 0x13, 0x15, 0x16, 0x17];
}

/// Bytes of a block's header before its process ids.
pub(super) const START: usize = 10;
/// Values in order of columns, the only order in use.
pub(super) const BY_COLUMN: u8 = b'C';
/// The other order that the format knows.
pub(super) const BY_ROW: u8 = b'R';
/// Bytes at the start of a payload that are looked at.
const PEEK: usize = 20;
/// What is collected at once: the header of a block with one process, and what is looked at behind it.
pub(super) const USUAL: usize = START + 2 + PEEK;
/// Largest block that is kept to be decoded, in bytes. ACADA's are below 10 MB.
pub const BLOCK_MAX: u64 = 64 << 20;
/// What every zstd frame begins with (RFC 8878, section 3.1.1).
pub(super) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Fewest bytes of a block within a zstd frame, and the most that one can stand for (RFC 8878, section 3.1.1.2).
const ZSTD_BLOCK_MIN: u64 = 4;
const ZSTD_BLOCK_MAX: u64 = 128 << 10;

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
pub(crate) struct Blocks(Option<Taker>);

type Taker = Box<dyn FnMut(Block) + Send>;

impl Blocks {
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

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Blocks").field(&self.wanted()).finish()
    }
}

/// A block's header with the first bytes of its payload.
#[derive(Debug)]
pub(super) struct Head<'a> {
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
pub(super) enum HeadError {
    /// As many bytes are needed.
    Short(usize),
    /// It contradicts itself or the catalog.
    Wrong(String),
}

impl<'a> Head<'a> {
    /// Reads the header of a block that has `size` bytes according to the catalog.
    pub(super) fn parse(bytes: &'a [u8], size: u64) -> Result<Self, HeadError> {
        let Some((&[s0, s1, s2, s3, s4, s5, s6, s7, order, count], rest)) = bytes.split_first_chunk::<START>() else {
            return Err(HeadError::Short(START));
        };
        let stated = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        if stated != size {
            return Err(HeadError::Wrong(format!("the block says {stated} bytes, but the catalog says {size}")));
        }
        let ids = 2 * usize::from(count);
        let length = START + ids;
        let Some(payload) = size.checked_sub(length as u64).filter(|_| count > 0) else {
            return Err(HeadError::Wrong(format!("{count} processes in a block of {size} bytes")));
        };
        let goal = length + usize::try_from(payload).map_or(PEEK, |payload| payload.min(PEEK));
        if bytes.len() < goal {
            return Err(HeadError::Short(goal));
        }
        let (ids, start) = rest.split_at(ids);
        Ok(Self { order, ids: ids.as_chunks::<2>().0, length, start })
    }

    /// What was done to the values, in this order.
    pub(super) fn processes(&self) -> impl Iterator<Item = u16> {
        self.ids.iter().copied().map(u16::from_le_bytes)
    }
}

/// Process ids as messages name them.
pub(super) fn names(processes: &[u16]) -> String {
    let names = processes.iter().map(|id| match *id {
        process::RAW => "raw".to_owned(),
        process::SMOOTHING => "smoothing".to_owned(),
        process::HUFFMAN16 => "huffman16".to_owned(),
        process::DIFF => "diff".to_owned(),
        process::ZSTD => "zstd".to_owned(),
        id => format!("0x{id:02x}"),
    });
    names.collect::<Vec<_>>().join(" + ")
}

/// Looks at the first bytes of a payload of `length` bytes: is it what the processes say, and of the right size?
///
/// # Errors
/// What contradicts.
pub(super) fn peek(processes: &[u16], start: &[u8], length: u64, column: &Column, rows: u32) -> Result<(), String> {
    let size = match processes {
        [process::RAW] => Some(length),
        [.., process::ZSTD] => zstd_size(start, length)?,
        [.., process::HUFFMAN16] => Some(huffman_size(start, length)?),
        _ => None,
    };
    // the processes before huffman16 that are known keep the size
    let kept = processes
        .iter()
        .all(|id| [process::RAW, process::SMOOTHING, process::HUFFMAN16, process::DIFF, process::ZSTD].contains(id));
    match size {
        Some(size) if kept && !column.can_be(size, rows) => {
            Err(format!("{} holds {size} bytes, but {}", names(processes), column.expected(rows)))
        }
        _ => Ok(()),
    }
}

/// The content size that a zstd frame of `length` bytes states, if it does and can have it.
pub(super) fn zstd_size(start: &[u8], length: u64) -> Result<Option<u64>, String> {
    let size = zstd_content_size(start)?;
    match size.filter(|&size| size > (length / ZSTD_BLOCK_MIN + 1).saturating_mul(ZSTD_BLOCK_MAX)) {
        Some(size) => Err(format!("the zstd frame states {size} bytes, more than {length} compressed ones can hold")),
        None => Ok(size),
    }
}

/// The content size that a zstd frame states (RFC 8878, section 3.1.1.1), if it does.
pub(super) fn zstd_content_size(start: &[u8]) -> Result<Option<u64>, String> {
    let Some(frame) = start.strip_prefix(&ZSTD_MAGIC) else {
        return Err(format!(
            "the payload begins with {} and is no zstd frame",
            start[..start.len().min(4)].escape_ascii()
        ));
    };
    let cut = || "the payload ends inside the zstd frame's header".to_owned();
    let (&descriptor, fields) = frame.split_first().ok_or_else(cut)?;
    if descriptor & 0x08 != 0 {
        return Err("the reserved bit of the zstd frame's header is set".to_owned());
    }
    let single = descriptor & 0x20 != 0;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let fields = fields.get(usize::from(!single) + dictionary..).ok_or_else(cut)?;
    let width = match descriptor >> 6 {
        0 => usize::from(single),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let field = fields.get(..width).ok_or_else(cut)?;
    let value = field.iter().rev().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
    Ok(match width {
        0 => None,
        2 => Some(value + 256),
        _ => Some(value),
    })
}

/// Bytes that a huffman16 payload of `length` bytes gives: it begins with the length of what follows (u32), the number of
/// 16-bit values (u64) and that of the symbols (u64).
pub(super) fn huffman_size(start: &[u8], length: u64) -> Result<u64, String> {
    let [a, b, c, d, rest @ ..] = start else { return Err("huffman16 data of less than 4 bytes".to_owned()) };
    let stated = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
    if stated + 4 != length {
        return Err(format!("huffman16 states {stated} bytes, but {} follow", length - 4));
    }
    let (Some((values, rest)), true) = (rest.split_first_chunk::<8>(), rest.len() >= 16) else {
        return Err(format!("huffman16 data of {length} bytes, which is less than its header"));
    };
    let symbols = rest.first_chunk::<8>().copied().map_or(0, u64::from_le_bytes);
    let values = u64::from_le_bytes(*values);
    // one bit is the shortest code; a single symbol needs none
    if symbols > 1 && values > length.saturating_mul(8) {
        return Err(format!("huffman16 states {values} values, more than {length} bytes can hold"));
    }
    if symbols > 1 << 16 || symbols > values || (symbols == 0) != (values == 0) {
        return Err(format!("huffman16 states {symbols} different symbols among {values} of 16 bits"));
    }
    values.checked_mul(2).ok_or_else(|| format!("huffman16 states {values} values"))
}
