//! What decoding found, in the order of the file and in few words, whichever block was decoded first.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::block::Block;
use super::decode::Undecoded;
use super::short_list::LISTED_MAX;
use crate::problem::{Place, Problem, Remedy};
use crate::walk::Walk;

/// What was found in the blocks of a file.
///
/// Of the blocks that no reader can decode the first few of each HDU are listed, of those that cannot be decoded here the
/// first of each column; the others are counted. Which they are does not depend on the order in which blocks are noted.
#[derive(Debug, Default)]
pub struct DecodeFindings {
    /// By HDU.
    broken: BTreeMap<usize, Broken>,
    /// By HDU and column: the first block that cannot be decoded here, and how many there are.
    unknown: BTreeMap<(usize, usize), (Problem, u64)>,
}

#[derive(Debug, Default)]
struct Broken {
    /// By byte offset, the first few.
    listed: BTreeMap<u64, Problem>,
    more: u64,
}

impl DecodeFindings {
    /// Notes what [`Block::check`] found wrong with a block.
    pub fn note(&mut self, block: &Block, error: &Undecoded) {
        let (column, table) = (block.column(), &block.table);
        let place = Place { index: table.hdu, name: table.name.clone() };
        let what = format!("tile {}, column {} '{}': {error}", block.tile, block.column + 1, column.name);
        match error {
            Undecoded::Broken(_) => {
                let problem = Problem::new("zfits-decode", what, Remedy::Redeliver);
                let broken = self.broken.entry(table.hdu).or_default();
                broken.listed.insert(block.offset, problem.in_hdu(place).at(block.offset));
                if broken.listed.len() > LISTED_MAX {
                    broken.listed.pop_last();
                    broken.more += 1;
                }
            }
            Undecoded::Unknown(_) => {
                let warning = Problem::new("not-decodable", what, Remedy::AskWritersReader);
                let warning = warning.in_hdu(place).at(block.offset);
                let (first, count) = self.unknown.entry((table.hdu, block.column)).or_insert((warning.clone(), 0));
                *count += 1;
                if warning.offset < first.offset {
                    *first = warning;
                }
            }
        }
    }

    /// Appends all to the findings of the walk that gave the blocks away.
    pub fn append_to(self, walk: &mut Walk) {
        for broken in self.broken.into_values() {
            let last = broken.listed.last_key_value().map(|(offset, problem)| (*offset, problem.place.clone()));
            walk.problems.extend(broken.listed.into_values());
            if let (Some((offset, place)), 1..) = (last, broken.more) {
                let what = format!("and {} more blocks after byte {offset} cannot be decoded", broken.more);
                let more = Problem::new("zfits-decode", what, Remedy::Redeliver);
                walk.problems.push(Problem { place, ..more });
            }
        }
        for (mut warning, count) in self.unknown.into_values() {
            if count > 1 {
                let _ = write!(warning.what, ", nor are {} more blocks of this column", count - 1);
            }
            walk.warnings.push(warning);
        }
    }
}
