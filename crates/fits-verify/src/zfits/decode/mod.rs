//! A block's values: what was done to them is undone, the last step first.

mod huffman;
mod rows;
mod transform;

use zstd::zstd_safe;

use super::block::Block;
use super::payload::{huffman_size, zstd_content_size, zstd_size};
use super::process;

pub use rows::Rows;

/// Most bytes that a block may decompress to. Those in use stay below 40 MB; what claims more is not decoded.
pub const DECODED_MAX: u64 = 256 << 20;

/// Why a block has no values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecoded {
    /// It may be right, but cannot be decoded here.
    #[error("{0}")]
    Unknown(String),
    /// No reader can decode it.
    #[error("{0}")]
    Broken(String),
}

impl Undecoded {
    fn broken(what: impl Into<String>) -> Self {
        Self::Broken(what.into())
    }
}

impl Block {
    /// Bytes of the values once decompressed, as the block itself says; `None` if it does not say or is broken.
    pub fn decoded_size(&self) -> Option<u64> {
        self.stated_size().ok().flatten()
    }

    fn stated_size(&self) -> Result<Option<u64>, String> {
        let length = self.payload.len() as u64;
        match self.processes.last() {
            None => Ok(None),
            Some(&process::ZSTD) => zstd_size(&self.payload, length),
            Some(&process::HUFFMAN16) => huffman_size(&self.payload, length).map(Some),
            Some(_) => Ok(Some(length)),
        }
    }

    /// The values as they were before compression: little-endian, in the layout of [`Rows`].
    ///
    /// Takes at most [`DECODED_MAX`] bytes for them and, for huffman16, 24 MB for the code.
    ///
    /// # Errors
    /// The block is broken, of a process that is not known here, or larger than [`DECODED_MAX`].
    pub fn decode(&self) -> Result<Vec<u8>, Undecoded> {
        let unknown = || Undecoded::Unknown(format!("{} is not decoded here", process::names(&self.processes)));
        let (last, before) = self.processes.split_last().ok_or_else(unknown)?;
        // a compression before another process would have made bytes of the values
        if !before.iter().all(|id| [process::RAW, process::SMOOTHING, process::DIFF].contains(id)) {
            return Err(unknown());
        }
        let stated = self.stated_size().map_err(Undecoded::Broken)?;
        if let Some(size) = stated.filter(|&size| size > DECODED_MAX) {
            return Err(Undecoded::Unknown(format!(
                "{size} bytes of values are not decoded, the limit being {DECODED_MAX}"
            )));
        }
        let (mut values, before) = match *last {
            process::ZSTD => (unzstd(&self.payload)?, before),
            process::HUFFMAN16 => (huffman::decode(&self.payload).map_err(Undecoded::Broken)?, before),
            process::RAW | process::SMOOTHING | process::DIFF => (self.payload.clone(), self.processes.as_slice()),
            _ => return Err(unknown()),
        };
        for id in before.iter().rev() {
            match *id {
                process::DIFF => transform::undo_diff(&mut values),
                process::SMOOTHING => transform::undo_smoothing(&mut values),
                _ => {}
            }
        }
        Ok(values)
    }

    /// Decodes the block and holds the size of its values against rows and column type.
    ///
    /// # Errors
    /// As [`Block::decode`], or the values are not such rows.
    pub fn check(&self) -> Result<(), Undecoded> {
        let values = self.decode()?;
        let rows = Rows::of(self.column(), self.rows, &values).map_err(Undecoded::Broken)?;
        rows.check().map_err(Undecoded::Broken)
    }
}

/// Decompresses a payload that must be one zstd frame and nothing else.
fn unzstd(payload: &[u8]) -> Result<Vec<u8>, Undecoded> {
    let code = |code| Undecoded::Broken(format!("zstd: {}", zstd_safe::get_error_name(code)));
    let length = zstd_safe::find_frame_compressed_size(payload).map_err(code)?;
    if length != payload.len() {
        let more = payload.len() - length;
        return Err(Undecoded::Broken(format!("{more} bytes follow the zstd frame in its block")));
    }
    let Some(size) = zstd_content_size(payload).map_err(Undecoded::Broken)? else {
        return Err(Undecoded::Unknown("a zstd frame that does not state its size is not decoded".to_owned()));
    };
    let capacity = usize::try_from(size).map_err(|_| Undecoded::broken("zstd: too large"))?;
    // only what is written to is really taken
    let mut values = Vec::with_capacity(capacity);
    let written = zstd_safe::decompress(&mut values, payload).map_err(code)?;
    if written as u64 != size {
        return Err(Undecoded::Broken(format!("zstd gives {written} bytes instead of {size}")));
    }
    Ok(values)
}
