//! The functions that see every byte.

use crc_fast::{CrcAlgorithm, Digest};
use md5::{Digest as _, Md5};
use simd_adler32::Adler32;

use fits_verify::{Walk, Walker};

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
