//! The read itself: one pass, blocks that fit the cache, on one thread or two.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;

use rustix::fs::{Advice, fadvise};

use super::decode::Decoders;
use super::digests::Digests;
use super::{Depth, Fixity, Options};
use crate::fits::{Walk, Walker};
use crate::product;

/// Bytes per read: small enough that all digests find the block in the second-level cache, large enough that the
/// system calls do not count.
const BLOCK: usize = 256 * 1024;
/// A file below this size is hashed before a second thread has begun.
const WORTH_A_THREAD: u64 = 4 * 1024 * 1024;
/// Blocks on their way between the two threads: one being read, one being hashed, two to absorb unevenness.
const BLOCKS_IN_FLIGHT: usize = 4;

/// Reads the file once and returns its digests and its walk.
pub(super) fn digest(file: &File, options: &Options) -> io::Result<(Fixity, Walk)> {
    let stat = file.metadata()?;
    if !stat.is_file() {
        let what = "not a regular file; only regular files can be examined";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    // only a hint: a file system that does not know it reads correctly all the same
    let _ = fadvise(file, 0, None, Advice::Sequential);
    let decoders = match options.depth {
        Depth::Decode => Some(Decoders::start(options.decode_threads, options.cancel.clone())?),
        Depth::Checksums | Depth::Structure => None,
    };
    let digests = Digests::new(walker(options, decoders.as_ref()));
    let two = options.parallel_blake3 && stat.len() >= WORTH_A_THREAD;
    let read = if two { on_two_threads } else { on_one_thread };
    let (sums, blake3) = read(file, options, digests)?;
    let mut sums = sums.finish();
    if let Some(decoders) = decoders {
        decoders.finish()?.tell(&mut sums.walk.problems, &mut sums.walk.warnings);
    }
    let blake3 = *blake3.finalize().as_bytes();
    Ok((Fixity { bytes: sums.bytes, adler32: sums.adler32, crc32c: sums.crc32c, blake3 }, sums.walk))
}

fn walker(options: &Options, decoders: Option<&Decoders>) -> Walker {
    let walker = Walker::new(product::MARKER);
    match (options.depth, decoders) {
        (Depth::Checksums, _) => walker.checksums_only(),
        (_, Some(decoders)) => walker.giving_blocks(decoders.taker()),
        (_, None) => walker,
    }
}

fn on_one_thread(file: &File, options: &Options, mut digests: Digests) -> io::Result<(Digests, blake3::Hasher)> {
    let mut blake3 = blake3::Hasher::new();
    let mut block = vec![0; BLOCK];
    let mut offset = 0;
    loop {
        let filled = fill(file, &mut block, offset, options)?;
        if filled == 0 {
            return Ok((digests, blake3));
        }
        let bytes = &block[..filled];
        digests.update(bytes);
        blake3.update(bytes);
        offset += filled as u64;
    }
}

/// The reader hashes with everything but BLAKE3 while a second thread does BLAKE3 over the same block. Blocks go round
/// between the two, so their number bounds the memory.
fn on_two_threads(file: &File, options: &Options, mut digests: Digests) -> io::Result<(Digests, blake3::Hasher)> {
    thread::scope(|scope| {
        let (send, blocks) = mpsc::sync_channel::<(Arc<Vec<u8>>, usize)>(BLOCKS_IN_FLIGHT);
        let (give_back, returned) = mpsc::channel();
        let second = thread::Builder::new().name("blake3".to_owned()).spawn_scoped(scope, move || {
            let mut blake3 = blake3::Hasher::new();
            for (block, filled) in blocks {
                blake3.update(&block[..filled]);
                if give_back.send(block).is_err() {
                    break;
                }
            }
            blake3
        })?;
        let mut made = 0;
        let mut offset = 0;
        loop {
            let recycled = if made < BLOCKS_IN_FLIGHT { returned.try_recv().ok() } else { returned.recv().ok() };
            // nobody else holds a returned block; if somebody did, a fresh one would do
            let mut block = recycled.and_then(|block| Arc::try_unwrap(block).ok()).unwrap_or_else(|| {
                made += 1;
                vec![0; BLOCK]
            });
            let filled = fill(file, &mut block, offset, options)?;
            if filled == 0 {
                break;
            }
            let block = Arc::new(block);
            if send.send((Arc::clone(&block), filled)).is_err() {
                break;
            }
            digests.update(&block[..filled]);
            offset += filled as u64;
        }
        drop(send);
        match second.join() {
            Ok(blake3) => Ok((digests, blake3)),
            Err(_) => Err(io::Error::other("the BLAKE3 thread panicked")),
        }
    })
}

/// Reads until the block is full or the file ends.
fn fill(file: &File, block: &mut [u8], offset: u64, options: &Options) -> io::Result<usize> {
    if options.cancel.as_ref().is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
        return Err(io::Error::new(io::ErrorKind::Interrupted, "the examination was cancelled"));
    }
    let mut filled = 0;
    while filled < block.len() {
        match file.read_at(&mut block[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if let Some(progress) = &options.progress {
        progress.fetch_add(filled as u64, Ordering::Relaxed);
    }
    Ok(filled)
}
