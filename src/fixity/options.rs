//! How to examine a file.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::depth::Depth;

/// Set to `true` by another thread to stop an examination at the next block.
pub type CancelFlag = Arc<AtomicBool>;

/// How to examine a file.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // independent of each other, each asked by its name
pub struct Options {
    /// How closely tables are looked at.
    pub depth: Depth,
    /// Threads that decompress blocks beside the read at [`Depth::Decode`]; one per core if not given.
    pub decode_threads: Option<NonZeroUsize>,
    /// Compute BLAKE3 on a second thread: nearly twice as fast, for nearly twice the processor.
    pub parallel_blake3: bool,
    /// Compute MD5 as well, which takes longer than all the rest together.
    pub md5: bool,
    /// Reject a file with an HDU that has no CHECKSUM, or a blank one, instead of warning.
    pub require_checksum: bool,
    /// Accept a file without valid product metadata, with a warning.
    pub accept_missing_metadata: bool,
    /// Stops the examination when set.
    pub cancel: Option<CancelFlag>,
    /// Bytes are added here as they are read.
    pub progress: Option<Arc<AtomicU64>>,
}
