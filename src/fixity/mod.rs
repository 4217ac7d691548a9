//! One read of a file, and all there is to know about it.
//!
//! [`examine`] reads a file once from its first to its last byte and feeds every block to adler32, CRC-32C, BLAKE3 and
//! the FITS walker while it is in the processor's cache. Files are read, never mapped: one that is cut while it is read
//! must not kill the process. Memory does not depend on the file's size.

mod decode;
mod depth;
mod digests;
pub mod findings;
mod options;
mod read;
mod report;
mod tree;

use std::fs::File;
use std::io;

pub use depth::{Depth, UnknownDepth};
pub use digests::Fixity;
pub use findings::Finding;
pub use fits_verify::Checksum;
pub use options::{CancelFlag, Options};
pub use report::{HduReport, Report};

/// Reads the whole file once, from offset 0 to its end, and reports.
///
/// The position of `file` is neither used nor changed. Whether the file changed meanwhile is for the caller to find out,
/// by comparing its metadata before and after; the report is about the bytes that were read.
///
/// # Errors
/// [`io::ErrorKind::Interrupted`] when cancelled, [`io::ErrorKind::InvalidInput`] if it is not a regular file, or
/// whatever reading it gives.
pub fn examine(file: &File, options: &Options) -> io::Result<Report> {
    let (fixity, walk) = read::digest(file, options)?;
    Ok(Report::of(fixity, &walk, options))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::io::{Seek as _, SeekFrom, Write as _};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn options(parallel_blake3: bool) -> Options {
        Options { parallel_blake3, ..Options::default() }
    }

    #[test]
    fn digests_equal_their_published_check_values() {
        for parallel in [false, true] {
            let fixity = examine(&file(b"123456789"), &options(parallel)).unwrap().fixity;
            assert_eq!(
                (fixity.bytes, fixity.adler32_hex(), fixity.crc32c_hex()),
                (9, "091e01de".into(), "e3069283".into())
            );
            let empty = examine(&file(b""), &options(parallel)).unwrap().fixity;
            assert_eq!((empty.adler32_hex(), empty.crc32c_hex()), ("00000001".into(), "00000000".into()));
            assert!(empty.blake3_hex().starts_with("af1349b9f5f9a1a6"));
        }
    }

    #[test]
    fn md5_is_computed_in_the_same_read_if_it_is_asked_for() {
        for parallel in [false, true] {
            let with = Options { md5: true, ..options(parallel) };
            let bytes = vec![b'x'; 5_000_000];
            let (asked, not_asked) =
                (examine(&file(&bytes), &with).unwrap(), examine(&file(&bytes), &options(parallel)).unwrap());
            assert_eq!(not_asked.fixity.md5_hex(), None);
            assert_eq!(Fixity { md5: None, ..asked.fixity }, not_asked.fixity);
            let short = examine(&file(b"123456789"), &with).unwrap().fixity;
            assert_eq!(short.md5_hex().as_deref(), Some("25f9e794323b453885f5181f1b624d0b"));
            let empty = examine(&file(b""), &with).unwrap().fixity;
            assert_eq!(empty.md5_hex().as_deref(), Some("d41d8cd98f00b204e9800998ecf8427e"));
        }
    }

    #[test]
    fn one_thread_and_two_agree_over_many_blocks() {
        let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
        let (one, two) =
            (examine(&file(&bytes), &options(false)).unwrap(), examine(&file(&bytes), &options(true)).unwrap());
        assert_eq!(one, two);
        assert_eq!(one.fixity.blake3, *blake3::hash(&bytes).as_bytes());
        assert_eq!(one.fixity.bytes, bytes.len() as u64);
    }

    #[test]
    fn every_byte_is_read_once_and_the_position_is_left_alone() {
        // characters read by this thread, as the kernel counts them
        let read = || {
            let counters = fs::read_to_string("/proc/thread-self/io").unwrap();
            counters.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse::<u64>().unwrap()
        };
        let size = 3_000_000;
        let mut file = file(&vec![b'x'; 3_000_000]);
        file.seek(SeekFrom::Start(17)).unwrap();
        let before = read();
        let counting = read() - before;
        let before = read();
        examine(&file, &options(false)).unwrap();
        let bytes = read() - before - counting;
        assert!((size..size + 1000).contains(&bytes), "{bytes} bytes read of a file of {size}");
        assert_eq!(file.stream_position().unwrap(), 17);
    }

    #[test]
    fn a_cancelled_examination_stops() {
        for parallel_blake3 in [false, true] {
            let cancel = Some(Arc::new(AtomicBool::new(true)));
            let error =
                examine(&file(&[0; 10]), &Options { parallel_blake3, cancel, ..Options::default() }).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        }
    }

    #[test]
    fn a_sparse_terabyte_is_read_block_by_block_and_can_be_stopped() {
        let file = file(b"SIMPLE  =                    T");
        file.set_len(1 << 40).unwrap();
        let (cancel, progress) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let options =
            Options { cancel: Some(Arc::clone(&cancel)), progress: Some(Arc::clone(&progress)), ..Options::default() };
        let error = std::thread::scope(|scope| {
            scope.spawn(|| {
                while progress.load(Ordering::Relaxed) < 1 << 26 {
                    std::thread::yield_now();
                }
                cancel.store(true, Ordering::Relaxed);
            });
            examine(&file, &options).unwrap_err()
        });
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        assert!(progress.load(Ordering::Relaxed) < 1 << 36);
    }

    #[test]
    fn only_regular_files_are_examined() {
        for path in ["/", "/dev/zero"] {
            let error = examine(&File::open(path).unwrap(), &Options::default()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
        }
    }
}
