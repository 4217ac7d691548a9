//! What the first bytes of a payload say about the size of its values.

use super::column::Column;
use super::process;

/// What every zstd frame begins with (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Fewest bytes of a block within a zstd frame, and the most that one can stand for (RFC 8878, section 3.1.1.2).
const ZSTD_BLOCK_MIN: u64 = 4;
const ZSTD_BLOCK_MAX: u64 = 128 << 10;

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
            Err(format!("{} holds {size} bytes, but {}", process::names(processes), column.expected(rows)))
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
