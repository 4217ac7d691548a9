//! Checksums of files as an `XRootD` storage answers them, stale ones included.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use crc_fast::CrcAlgorithm;
use md5::{Digest, Md5};

/// Bytes read at a time.
const CHUNK: usize = 1 << 18;

/// Algorithms a storage knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Algorithm {
    Adler32,
    Crc32c,
    Md5,
}

impl Algorithm {
    /// The one asked for by `Want-Digest`; anything not understood is answered with the default, adler32.
    pub(crate) fn wanted(header: &str) -> Self {
        match header.trim().to_ascii_lowercase().as_str() {
            "crc32c" => Self::Crc32c,
            "md5" => Self::Md5,
            _ => Self::Adler32,
        }
    }

    fn name(self) -> &'static str {
        self.into()
    }

    /// The digest of a stream, in the bytes it is encoded from.
    pub(crate) fn of(self, from: &mut impl Read) -> io::Result<Vec<u8>> {
        let mut adler32 = simd_adler32::Adler32::new();
        let mut crc32c = crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi);
        let mut md5 = Md5::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = from.read(&mut chunk)?;
            let Some(bytes) = chunk.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            match self {
                Self::Adler32 => adler32.write(bytes),
                Self::Crc32c => crc32c.update(bytes),
                Self::Md5 => md5.update(bytes),
            }
        }
        Ok(match self {
            Self::Adler32 => adler32.finish().to_be_bytes().to_vec(),
            // the CRC is computed in 64 bits and lies in the lower half
            Self::Crc32c => crc32c.finalize().to_be_bytes()[4..].to_vec(),
            Self::Md5 => md5.finalize().to_vec(),
        })
    }

    /// The value of a `Digest` header: hex for adler32, base64 for the others.
    fn header(self, digest: &[u8]) -> String {
        let value = match self {
            Self::Adler32 => hex(digest),
            Self::Crc32c | Self::Md5 => base64::engine::general_purpose::STANDARD.encode(digest),
        };
        format!("{}={value}", self.name())
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // writing to a String cannot fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A file as the cache knows it; the real one is an extended attribute, and so goes with the inode.
type Key = (u64, u64, Algorithm);

/// A digest and the file's mtime when it was computed, in seconds and nanoseconds.
type Known = ((i64, i64), Vec<u8>);

/// Digests computed before, valid as long as the file's mtime is the same: whoever changes bytes and keeps the mtime
/// gets the old digest, as from a real storage.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    known: Mutex<HashMap<Key, Known>>,
}

impl Digests {
    /// The digest of a file, from the cache when the mtime has not changed.
    pub(crate) fn of(&self, path: &Path, algorithm: Algorithm) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let status = file.metadata()?;
        let key = (status.dev(), status.ino(), algorithm);
        let cached = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((_, digest)) = cached.filter(|(at, _)| *at == mtime(&status)) {
            return Ok(digest);
        }
        let digest = algorithm.of(&mut file)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, (mtime(&status), digest.clone()));
        Ok(digest)
    }

    /// The whole value of a `Digest` header.
    pub(crate) fn header(&self, path: &Path, algorithm: Algorithm) -> io::Result<String> {
        Ok(algorithm.header(&self.of(path, algorithm)?))
    }
}

fn mtime(status: &Metadata) -> (i64, i64) {
    (status.mtime(), status.mtime_nsec())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn digests_are_encoded_as_xrootd_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "123456789").unwrap();
        let digests = Digests::default();
        let header = |wanted: &str| digests.header(&path, Algorithm::wanted(wanted)).unwrap();
        assert_eq!(header("adler32"), "adler32=091e01de");
        assert_eq!(header("crc32c"), "crc32c=4waSgw==");
        assert_eq!(header("md5"), "md5=JfnnlDI7RTiF9RgfG2JNCw==");
        assert_eq!(header("sha-512"), "adler32=091e01de");
        assert_eq!(header("crc32c;q=1"), "adler32=091e01de");
    }

    #[test]
    fn bytes_changed_under_an_old_mtime_keep_the_old_digest_of_an_algorithm_asked_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "right").unwrap();
        let digests = Digests::default();
        let before = digests.of(&path, Algorithm::Adler32).unwrap();
        let mtime = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "wrong").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(mtime).unwrap();
        assert_eq!(digests.of(&path, Algorithm::Adler32).unwrap(), before);
        let fresh = Algorithm::Crc32c.of(&mut "wrong".as_bytes()).unwrap();
        assert_eq!(digests.of(&path, Algorithm::Crc32c).unwrap(), fresh);
    }
}
