//! BLAKE3 of a file whose blocks are hashed apart, in any order, by whichever thread has time.
//!
//! BLAKE3 is a binary tree over chunks of 1024 bytes, whose left subtrees are always full (BLAKE3 paper, section 2.1). A
//! block of 2^n chunks is therefore a subtree by itself, and joining the blocks gives the hash of the whole.

use std::collections::BTreeMap;

use blake3::hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};
use blake3::{Hash, Hasher};

/// Bytes of each block but the last. Small enough that all digests find the block in the second-level cache, large enough
/// that neither system calls nor the joining of blocks count.
pub(super) const BLOCK: usize = 256 * 1024;
const _: () = assert!(BLOCK.is_power_of_two() && BLOCK >= blake3::CHUNK_LEN);

/// What a block contributes.
pub(super) struct Part {
    index: u64,
    node: ChainingValue,
    /// Of the first block: the hash of a file that has no other.
    alone: Option<Hash>,
}

impl Part {
    /// Of block number `index`, counted from 0. It is whole, or the last and not empty.
    pub(super) fn of(index: u64, block: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.set_input_offset(index * BLOCK as u64).update(block);
        Self { index, node: hasher.finalize_non_root(), alone: (index == 0).then(|| hasher.finalize()) }
    }
}

/// Joins parts as they come.
#[derive(Default)]
pub(super) struct Tree {
    /// Parts whose predecessors are still being hashed.
    early: BTreeMap<u64, Part>,
    /// Number of parts taken up in order.
    taken: u64,
    /// The latest of those. Whether it is the file's last, and so near the root, shows only when the next one comes.
    latest: Option<ChainingValue>,
    /// Full subtrees of what is before it, from the left, each larger than the next.
    full: Vec<ChainingValue>,
    alone: Option<Hash>,
}

impl Tree {
    pub(super) fn add(&mut self, part: Part) {
        self.early.insert(part.index, part);
        while let Some(part) = self.early.remove(&self.taken) {
            self.alone = self.alone.or(part.alone);
            if let Some(node) = self.latest.replace(part.node) {
                self.join(node);
            }
            self.taken += 1;
        }
    }

    /// The part before the one being taken up: with as many subtrees to its left as the number of parts up to it has
    /// factors of two, it makes a larger one.
    fn join(&mut self, mut node: ChainingValue) {
        let pairs = self.taken.trailing_zeros() as usize;
        for left in self.full.drain(self.full.len() - pairs..).rev() {
            node = merge_subtrees_non_root(&left, &node, Mode::Hash);
        }
        self.full.push(node);
    }

    /// The hash of a file of so many blocks; `None` if some have not come.
    pub(super) fn finish(mut self, blocks: u64) -> Option<Hash> {
        if self.taken != blocks {
            return None;
        }
        let Some(mut node) = self.latest else { return Some(blake3::hash(&[])) };
        while let Some(left) = self.full.pop() {
            if self.full.is_empty() {
                return Some(merge_subtrees_root(&left, &node, Mode::Hash));
            }
            node = merge_subtrees_non_root(&left, &node, Mode::Hash);
        }
        self.alone
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect()
    }

    /// The hash when the blocks are done in the order of these numbers.
    fn hash(bytes: &[u8], order: &[u32]) -> Option<Hash> {
        let mut parts: Vec<(u32, Part)> = (bytes.chunks(BLOCK).enumerate())
            .map(|(index, block)| (order[index % order.len()], Part::of(index as u64, block)))
            .collect();
        let blocks = parts.len() as u64;
        parts.sort_by_key(|(turn, _)| *turn);
        let mut tree = Tree::default();
        for (_, part) in parts {
            tree.add(part);
        }
        tree.finish(blocks)
    }

    #[test]
    fn it_is_the_hash_of_the_whole_for_each_number_of_blocks() {
        let bytes = bytes(20 * BLOCK + 1);
        for blocks in 0..=20 {
            for length in [(blocks * BLOCK).saturating_sub(1), blocks * BLOCK, blocks * BLOCK + 1] {
                assert_eq!(hash(&bytes[..length], &[0]), Some(blake3::hash(&bytes[..length])), "{length}");
            }
        }
    }

    #[test]
    fn a_missing_block_is_noticed() {
        let bytes = bytes(5 * BLOCK);
        for missing in 0..5 {
            let mut tree = Tree::default();
            for (index, block) in bytes.chunks(BLOCK).enumerate().filter(|(index, _)| *index != missing) {
                tree.add(Part::of(index as u64, block));
            }
            assert_eq!(tree.finish(5), None, "{missing}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn it_does_not_depend_on_the_order(length in 0..40 * BLOCK, order in prop::collection::vec(any::<u32>(), 40)) {
            let bytes = bytes(length);
            prop_assert_eq!(hash(&bytes, &order), Some(blake3::hash(&bytes)));
        }
    }
}
