//! Blocks decoded beside the read: the reading thread hands them over, as many threads as there are cores check them.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::{io, mem};

use super::options::CancelFlag;
use fits_verify::zfits::{Block, DECODED_MAX, DecodeFindings};

/// Bytes of blocks, compressed and decompressed together, that may wait or be decoded at one time. A single block that
/// needs more is let through alone.
const IN_FLIGHT_MAX: u64 = 256 << 20;

/// The threads, and the blocks on their way to them.
pub(super) struct Decoders {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// A block is waiting, or no more will come.
    work: Condvar,
    /// A block is done.
    room: Condvar,
    cancel: Option<CancelFlag>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Block, u64)>,
    in_flight: u64,
    closed: bool,
    findings: DecodeFindings,
}

impl Decoders {
    /// Starts the threads; without a number one per core.
    pub(super) fn start(threads: Option<NonZeroUsize>, cancel: Option<CancelFlag>) -> io::Result<Self> {
        let count = threads.map_or_else(thread::available_parallelism, Ok).map_or(1, NonZeroUsize::get);
        let shared = Shared { state: Mutex::default(), work: Condvar::new(), room: Condvar::new(), cancel };
        let mut decoders = Self { shared: Arc::new(shared), threads: Vec::new() };
        for _ in 0..count {
            let shared = Arc::clone(&decoders.shared);
            let thread = thread::Builder::new().name("decode".to_owned()).spawn(move || shared.work_off())?;
            decoders.threads.push(thread);
        }
        Ok(decoders)
    }

    /// What takes the blocks: waits while too much is on its way.
    pub(super) fn taker(&self) -> impl FnMut(Block) + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move |block| shared.push(block)
    }

    /// Waits until all blocks are decoded.
    ///
    /// # Errors
    /// A thread panicked.
    pub(super) fn finish(mut self) -> io::Result<DecodeFindings> {
        if self.close().into_iter().any(|thread| thread.join().is_err()) {
            return Err(io::Error::other("a decoding thread panicked"));
        }
        Ok(mem::take(&mut self.shared.lock().findings))
    }

    fn close(&mut self) -> Vec<JoinHandle<()>> {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
        mem::take(&mut self.threads)
    }
}

impl Drop for Decoders {
    /// After an error nobody waits for the blocks that are left.
    fn drop(&mut self) {
        let left = mem::take(&mut self.shared.lock().waiting);
        drop(left);
        for thread in self.close() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // a panic elsewhere is reported by the join; the state is whole between two statements
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, block: Block) {
        let cost = cost(&block);
        let state = self.lock();
        let full = |state: &mut State| state.in_flight > 0 && state.in_flight.saturating_add(cost) > IN_FLIGHT_MAX;
        let mut state = self.room.wait_while(state, full).unwrap_or_else(PoisonError::into_inner);
        state.in_flight += cost;
        state.waiting.push_back((block, cost));
        self.work.notify_one();
    }

    fn work_off(&self) {
        loop {
            let idle = |state: &mut State| state.waiting.is_empty() && !state.closed;
            let mut state = self.work.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
            let Some((block, cost)) = state.waiting.pop_front() else { return };
            drop(state);
            let _room = Room { shared: self, cost };
            if !self.cancel.as_ref().is_some_and(|cancel| cancel.load(Ordering::Relaxed))
                && let Err(error) = block.check()
            {
                self.lock().findings.note(&block, &error);
            }
        }
    }
}

/// The room that a block takes, given back even if its decoding panics: the reader must not wait for ever.
struct Room<'a> {
    shared: &'a Shared,
    cost: u64,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.shared.lock().in_flight -= self.cost;
        self.shared.room.notify_all();
    }
}

/// Bytes that a block takes while it is decoded, as it claims itself. Raw values are copied; what claims more than is
/// decoded takes nothing.
fn cost(block: &Block) -> u64 {
    let decoded = block.decoded_size().filter(|&size| size <= DECODED_MAX).unwrap_or_default();
    block.payload.capacity() as u64 + decoded
}

#[cfg(test)]
mod tests;
