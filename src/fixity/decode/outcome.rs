//! What decoding found, in the order of the file and in few words, whichever block was done first.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fits_verify::zfits::{Block, TOLD, Undecoded};
use fits_verify::{Place, Problem, REDELIVER};

/// What was found, by HDU.
#[derive(Default)]
pub(crate) struct Outcome {
    broken: BTreeMap<usize, Broken>,
    /// By HDU and column: the first block that cannot be decoded here, and how many there are.
    unknown: BTreeMap<(usize, usize), (Problem, u64)>,
}

#[derive(Default)]
struct Broken {
    /// By byte offset, the first few.
    told: BTreeMap<u64, Problem>,
    more: u64,
}

impl Outcome {
    pub(super) fn note(&mut self, block: &Block, error: &Undecoded) {
        let (column, table) = (block.column(), &block.table);
        let place = Place { index: table.hdu, name: table.name.clone() };
        let what = format!("tile {}, column {} '{}': {error}", block.tile, block.column + 1, column.name);
        match error {
            Undecoded::Broken(_) => {
                let problem = Problem::new("zfits-decode", what, REDELIVER);
                let broken = self.broken.entry(table.hdu).or_default();
                broken.told.insert(block.offset, problem.in_hdu(place).at(block.offset));
                if broken.told.len() > TOLD {
                    broken.told.pop_last();
                    broken.more += 1;
                }
            }
            Undecoded::Unknown(_) => {
                let warning = Problem::new("not-decodable", what, "check these values with the writer's own reader");
                let warning = warning.in_hdu(place).at(block.offset);
                let (first, count) = self.unknown.entry((table.hdu, block.column)).or_insert((warning.clone(), 0));
                *count += 1;
                if warning.offset < first.offset {
                    *first = warning;
                }
            }
        }
    }

    /// Appends all to the lists of the walk.
    pub(crate) fn tell(self, problems: &mut Vec<Problem>, warnings: &mut Vec<Problem>) {
        for broken in self.broken.into_values() {
            let last = broken.told.last_key_value().map(|(offset, problem)| (*offset, problem.place.clone()));
            problems.extend(broken.told.into_values());
            if let (Some((offset, place)), 1..) = (last, broken.more) {
                let what = format!("and {} more blocks after byte {offset} cannot be decoded", broken.more);
                let more = Problem::new("zfits-decode", what, REDELIVER);
                problems.push(Problem { place, ..more });
            }
        }
        for (mut warning, count) in self.unknown.into_values() {
            if count > 1 {
                let _ = write!(warning.what, ", nor are {} more blocks of this column", count - 1);
            }
            warnings.push(warning);
        }
    }
}
