//! One read of a file, and all there is to know about it.
//!
//! [`examine`] reads a file once from its first to its last byte and feeds every block to adler32, CRC-32C, BLAKE3 and
//! the FITS walker while it is in the processor's cache. Files are read, never mapped: one that is cut while it is read
//! must not kill the process. Memory does not depend on the file's size.

mod decode;
mod depth;
mod digests;
mod read;
mod tree;

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::product;
use fits_verify::{Problem, Walk};

pub use depth::{Depth, UnknownDepth};
pub use fits_verify::Checksum;

/// Set to `true` by another thread to stop an examination at the next block.
pub type CancelFlag = Arc<AtomicBool>;

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

/// One thing found in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable, kebab-case: for programs.
    pub code: &'static str,
    /// Where, what, and what to do: for people.
    pub message: String,
}

impl From<&Problem> for Finding {
    fn from(problem: &Problem) -> Self {
        Self { code: problem.code, message: problem.to_string() }
    }
}

/// The checksums of one HDU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HduReport {
    /// Index, 0 for the primary HDU.
    pub index: usize,
    /// EXTNAME.
    pub name: Option<String>,
    /// CHECKSUM over header and data unit.
    pub checksum: Checksum,
    /// DATASUM over the data unit.
    pub datasum: Checksum,
}

/// All that one read tells about a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Size and digests.
    pub fixity: Fixity,
    /// Why the file must not be accepted; empty if it may.
    pub reasons: Vec<Finding>,
    /// Odd but safe.
    pub warnings: Vec<Finding>,
    /// The HDUs in order.
    pub hdus: Vec<HduReport>,
    /// Bytes after the last HDU.
    pub trailing_bytes: u64,
    /// Product metadata under flat keys; `None` if there are none or they are invalid.
    pub metadata: Option<Map<String, Value>>,
    /// Whether no CHECKSUM or DATASUM disagrees with the bytes; `None` if the file could not be walked to its end.
    pub valid_fits_checksum: Option<bool>,
}

impl Report {
    /// Whether the file may be accepted.
    pub fn accepted(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// How to examine a file.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // independent of each other, each asked by its name
pub struct Options {
    /// How closely compressed tables are looked at.
    pub depth: Depth,
    /// Threads that decompress blocks beside the read at [`Depth::Decode`]; one per core if not given.
    pub decode_threads: Option<NonZeroUsize>,
    /// Compute BLAKE3 on a second thread: nearly twice as fast, for nearly twice the processor.
    pub parallel_blake3: bool,
    /// Compute MD5 as well, which takes longer than all the rest together.
    pub md5: bool,
    /// Reject a file with an HDU that has no CHECKSUM, instead of warning.
    pub require_checksum: bool,
    /// Accept a file without valid product metadata, with a warning.
    pub accept_missing_metadata: bool,
    /// Stops the examination when set.
    pub cancel: Option<CancelFlag>,
    /// Bytes are added here as they are read.
    pub progress: Option<Arc<AtomicU64>>,
}

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
    Ok(report(fixity, &walk, options))
}

/// Draws the conclusions from what was read.
fn report(fixity: Fixity, walk: &Walk, options: &Options) -> Report {
    let mut reasons: Vec<Finding> = walk.problems.iter().map(Finding::from).collect();
    let (required, odd): (Vec<_>, Vec<_>) =
        walk.warnings.iter().partition(|warning| options.require_checksum && warning.code == "checksum-absent");
    reasons.extend(required.into_iter().map(Finding::from));
    let mut warnings: Vec<Finding> = odd.into_iter().map(Finding::from).collect();

    let mut metadata = None;
    let mut without = None;
    if let Some((index, header)) = &walk.kept {
        let place = walk.hdus.get(*index).map_or_else(|| format!("HDU {index}"), |hdu| hdu.place().to_string());
        match product::metadata(header, &fixity.blake3) {
            Ok(found) => {
                let ignored = found.ignored.iter().map(|ignored| format!("{place}: {ignored}"));
                warnings.extend(ignored.map(|message| Finding { code: "metadata-ignored", message }));
                metadata = Some(found.keys);
            }
            Err(invalid) => {
                without = Some(Finding { code: "invalid-metadata", message: format!("{place}: {invalid}") });
            }
        }
    } else if walk.complete {
        let message = "no HDU has the keyword CTAOMETA, so there is no product metadata; \
                       have the file written with the CTAO data product keywords and delivered again";
        without = Some(Finding { code: "missing-metadata", message: message.to_owned() });
    }
    if options.accept_missing_metadata {
        warnings.extend(without);
    } else {
        reasons.extend(without);
    }
    // a damaged header can hide a table, and then the damage is the reason
    if walk.complete
        && walk.problems.is_empty()
        && let Err(incomplete) = product::has_data(&walk.hdus)
    {
        reasons.push(Finding { code: "no-data-hdu", message: incomplete.to_string() });
    }

    let hdus = walk.hdus.iter().map(|hdu| HduReport {
        index: hdu.index,
        name: hdu.layout.name.clone(),
        checksum: hdu.checksum,
        datasum: hdu.datasum,
    });
    let all_agree =
        |hdus: &[HduReport]| hdus.iter().all(|hdu| hdu.checksum != Checksum::Bad && hdu.datasum != Checksum::Bad);
    let hdus: Vec<_> = hdus.collect();
    Report {
        fixity,
        reasons,
        warnings,
        valid_fits_checksum: (walk.complete && !hdus.is_empty()).then(|| all_agree(&hdus)),
        hdus,
        trailing_bytes: walk.trailing_bytes,
        metadata,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::io::{Seek as _, SeekFrom, Write as _};
    use std::sync::atomic::Ordering;

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
