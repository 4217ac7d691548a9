//! The read itself: one pass, blocks that fit the cache, on one thread or two.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, TrySendError};
use std::thread;

use blake3::{Hash, Hasher};
use rustix::fs::{Advice, fadvise};

use super::decode::Decoders;
use super::depth::Depth;
use super::digests::{Digests, Fixity};
use super::options::Options;
use super::tree::{BLOCK, Part, Tree};
use crate::product;
use fits_verify::{Walk, Walker};

/// A file below this size is hashed before a second thread has begun.
const WORTH_A_THREAD: u64 = 4 * 1024 * 1024;
/// Blocks that wait for the second thread.
const QUEUED: usize = 3;

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
    let digests = Digests::new(walker(options, decoders.as_ref()), options.md5);
    let two = options.parallel_blake3 && stat.len() >= WORTH_A_THREAD;
    let read = if two { on_two_threads } else { on_one_thread };
    let (sums, blake3) = read(file, options, digests)?;
    let mut sums = sums.finish();
    if let Some(decoders) = decoders {
        decoders.finish()?.append_to(&mut sums.walk);
    }
    let fixity = Fixity {
        bytes: sums.bytes,
        adler32: sums.adler32,
        crc32c: sums.crc32c,
        blake3: *blake3.as_bytes(),
        md5: sums.md5,
    };
    Ok((fixity, sums.walk))
}

fn walker(options: &Options, decoders: Option<&Decoders>) -> Walker {
    let walker = Walker::new().keeping(product::MARKER);
    match (options.depth, decoders) {
        (Depth::Checksums, _) => walker.checksums_only(),
        (_, Some(decoders)) => walker.reading_cells().giving_blocks(decoders.taker()),
        (_, None) => walker,
    }
}

fn on_one_thread(file: &File, options: &Options, mut digests: Digests) -> io::Result<(Digests, Hash)> {
    let mut blake3 = Hasher::new();
    let mut buffer = vec![0; BLOCK];
    let mut offset = 0;
    loop {
        let filled = fill(file, &mut buffer, offset, options)?;
        let block = &buffer[..filled];
        digests.update(block);
        blake3.update(block);
        offset += filled as u64;
        if filled < BLOCK {
            return Ok((digests, blake3.finalize()));
        }
    }
}

/// A block for BLAKE3.
struct Block {
    index: u64,
    buffer: Vec<u8>,
    filled: usize,
}

impl Block {
    fn part(&self) -> Part {
        Part::of(self.index, &self.buffer[..self.filled])
    }
}

/// The reader hashes with everything but BLAKE3, which a second thread does. BLAKE3 takes longer than all the rest
/// together, and longer still where the block must come from the other core's cache: whenever the second thread is behind,
/// the reader does a block itself, so that both have work until the end.
fn on_two_threads(file: &File, options: &Options, mut digests: Digests) -> io::Result<(Digests, Hash)> {
    thread::scope(|scope| {
        let (send, blocks) = mpsc::sync_channel::<Block>(QUEUED);
        let (give_back, done) = mpsc::channel();
        let second = thread::Builder::new().name("blake3".to_owned()).spawn_scoped(scope, move || {
            for block in blocks {
                let part = block.part();
                if give_back.send((block.buffer, part)).is_err() {
                    break;
                }
            }
        })?;
        let mut tree = Tree::default();
        let mut free = Vec::new();
        let mut index = 0;
        loop {
            for (buffer, part) in done.try_iter() {
                free.push(buffer);
                tree.add(part);
            }
            let mut buffer = free.pop().unwrap_or_else(|| vec![0; BLOCK]);
            let filled = fill(file, &mut buffer, index * BLOCK as u64, options)?;
            if filled == 0 {
                break;
            }
            digests.update(&buffer[..filled]);
            if let Err(TrySendError::Full(block) | TrySendError::Disconnected(block)) =
                send.try_send(Block { index, buffer, filled })
            {
                tree.add(block.part());
                free.push(block.buffer);
            }
            index += 1;
            if filled < BLOCK {
                break;
            }
        }
        drop(send);
        for (_, part) in done {
            tree.add(part);
        }
        // if it panicked, blocks are missing
        let _ = second.join();
        let hash = tree.finish(index).ok_or_else(|| io::Error::other("the BLAKE3 thread left blocks undone"))?;
        Ok((digests, hash))
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
