//! The functions that see every byte.

use crc_fast::{CrcAlgorithm, Digest};
use md5::{Digest as _, Md5};
use simd_adler32::Adler32;

use fits_verify::{Walk, Walker};

/// The digests of a file, all from the same read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixity {
    /// Bytes read.
    pub bytes: u64,
    /// Adler-32, Rucio's checksum.
    pub adler32: u32,
    /// CRC-32C (Castagnoli), which storages can compute afresh.
    pub crc32c: u32,
    /// BLAKE3, the one that no accidental or deliberate change escapes.
    pub blake3: [u8; 32],
    /// MD5, if it was asked for: of all algorithms the one that a storage is the least likely to have been asked for.
    pub md5: Option<[u8; 16]>,
}

impl Fixity {
    /// Adler-32 as 8 hexadecimal digits, lower case.
    pub fn adler32_hex(&self) -> String {
        format!("{:08x}", self.adler32)
    }

    /// CRC-32C as 8 hexadecimal digits, lower case.
    pub fn crc32c_hex(&self) -> String {
        format!("{:08x}", self.crc32c)
    }

    /// BLAKE3 as 64 hexadecimal digits, lower case.
    pub fn blake3_hex(&self) -> String {
        blake3::Hash::from_bytes(self.blake3).to_hex().to_string()
    }

    /// MD5 as 32 hexadecimal digits, lower case.
    pub fn md5_hex(&self) -> Option<String> {
        self.md5.map(|md5| format!("{:032x}", u128::from_be_bytes(md5)))
    }
}

/// Everything that is computed on the reading thread: both Rucio's and the storages' checksum, and the FITS walk.
pub(super) struct Digests {
    bytes: u64,
    adler32: Adler32,
    crc32c: Digest,
    md5: Option<Md5>,
    walker: Walker,
}

/// Their results.
pub(super) struct Sums {
    pub(super) bytes: u64,
    pub(super) adler32: u32,
    pub(super) crc32c: u32,
    pub(super) md5: Option<[u8; 16]>,
    pub(super) walk: Walk,
}

impl Digests {
    pub(super) fn new(walker: Walker, md5: bool) -> Self {
        Self {
            bytes: 0,
            adler32: Adler32::new(),
            crc32c: Digest::new(CrcAlgorithm::Crc32Iscsi),
            md5: md5.then(Md5::new),
            walker,
        }
    }

    pub(super) fn update(&mut self, block: &[u8]) {
        self.bytes += block.len() as u64;
        self.adler32.write(block);
        self.crc32c.update(block);
        if let Some(md5) = &mut self.md5 {
            md5.update(block);
        }
        self.walker.feed(block);
    }

    pub(super) fn finish(self) -> Sums {
        Sums {
            bytes: self.bytes,
            adler32: self.adler32.finish(),
            // the crate widens every CRC to 64 bits
            crc32c: u32::try_from(self.crc32c.finalize() & u64::from(u32::MAX)).unwrap_or_default(),
            md5: self.md5.map(|md5| md5.finalize().into()),
            walk: self.walker.finish(),
        }
    }
}
