//! Follows a ZFITS table through its data unit, where every byte belongs to something.
//!
//! It trusts no length before the bytes are there: what it keeps are the block sizes of the catalog, 8 bytes for every
//! 16 that went by, and the start of the current header. Payloads are passed over by length.

use std::mem;
use std::sync::Arc;

use super::block::{BLOCK_MAX, Block, BlockSink};
use super::block_header::{self, BY_COLUMN, BY_ROW, BlockHeader, HeaderError};
use super::catalog::{Catalog, ENTRY_BYTES, TILE_HEADER};
use super::short_list::ShortList;
use super::table::Table;
use super::{payload, process};
use crate::hdu::Hdu;
use crate::header::Header;
use crate::problem::{Place, Problem, Remedy};

/// A ZFITS table on its way through.
#[derive(Debug)]
pub(crate) struct Follower {
    table: Arc<Table>,
    place: Place,
    findings: ShortList,
    part: Part,
    /// Bytes of the data unit that have been taken.
    position: u64,
    /// The header or catalog entry being collected.
    head: Vec<u8>,
    /// Its length when it is complete.
    goal: usize,
    /// Bytes left of the gap or of the payload.
    left: u64,
    dirty_gap: bool,
    catalog: Catalog,
    /// Tiles begun.
    tiles: u64,
    /// Columns that are done, of the current catalog row and then of the current tile.
    column: usize,
    /// Rows of the current tile.
    rows: u32,
    /// What was done to the values of the current block.
    processes: Vec<u16>,
    /// The block whose payload goes by, if it is kept.
    block: Option<Block>,
}

/// What the next byte of the data unit belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Catalog,
    /// Between catalog and heap.
    Gap,
    /// The header of a tile.
    Tile,
    /// The header of a block.
    Block,
    Payload,
    /// Behind the last tile.
    End,
    /// Cannot be followed any further; the reason is among the findings.
    Lost,
}

impl Follower {
    /// Follows the table of this HDU if it is a ZFITS table.
    ///
    /// # Errors
    /// There is nothing to follow; what was found in the header.
    pub(crate) fn of(header: &Header, hdu: &Hdu) -> Result<Self, ShortList> {
        let mut findings = ShortList::default();
        let Some(table) = Table::of(header, hdu, &mut findings) else { return Err(findings) };
        let mut follower = Self {
            table: Arc::new(table),
            place: hdu.place(),
            findings,
            part: Part::Lost,
            position: 0,
            head: Vec::new(),
            goal: 0,
            left: 0,
            dirty_gap: false,
            catalog: Catalog::default(),
            tiles: 0,
            column: 0,
            rows: 0,
            processes: Vec::new(),
            block: None,
        };
        follower.next_entry();
        Ok(follower)
    }

    /// Takes the next bytes of the data unit, its padding excluded.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], blocks: &mut BlockSink) {
        while !bytes.is_empty() {
            if self.part == Part::Catalog
                && self.head.is_empty()
                && let Some((&entry, rest)) = bytes.split_first_chunk()
            {
                self.position += ENTRY_BYTES;
                bytes = rest;
                self.entry(entry);
                continue;
            }
            let taken = match self.part {
                Part::Catalog | Part::Tile | Part::Block => bytes.len().min(self.goal - self.head.len()),
                Part::Gap | Part::Payload => usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len()),
                Part::End | Part::Lost => bytes.len(),
            };
            let (taken_bytes, rest) = bytes.split_at(taken);
            match self.part {
                Part::Catalog | Part::Tile | Part::Block => self.head.extend_from_slice(taken_bytes),
                Part::Gap => self.gap(taken_bytes),
                Part::Payload => self.payload(taken_bytes),
                Part::End => self.beyond(),
                Part::Lost => {}
            }
            self.position += taken as u64;
            bytes = rest;
            match self.part {
                Part::Catalog if self.head.len() == self.goal => {
                    if let Some(&entry) = self.head.first_chunk() {
                        self.entry(entry);
                    }
                }
                Part::Tile if self.head.len() == self.goal => self.tile(),
                Part::Block if self.head.len() == self.goal => self.block(blocks),
                Part::Gap if self.left == 0 => self.next_tile(),
                Part::Payload if self.left == 0 => self.end_block(blocks),
                _ => {}
            }
        }
    }

    /// The data unit is over, or the file is. What is missing at the end of a cut file is not this table's fault.
    pub(crate) fn finish(mut self, complete: bool) -> (Place, ShortList) {
        if complete && !matches!(self.part, Part::End | Part::Lost) {
            let what = match self.part {
                Part::Tile if self.head.is_empty() => {
                    format!("the heap ends after {} of {} tiles", self.tiles, self.table.tiles)
                }
                _ => format!("the heap ends inside tile {}", self.tiles.saturating_sub(1)),
            };
            self.reject(self.position, what);
        }
        (self.place, self.findings)
    }

    fn collect(&mut self, part: Part, goal: usize) {
        self.part = part;
        self.goal = goal;
        self.head.clear();
    }

    /// The next catalog entry, or the gap behind the last.
    fn next_entry(&mut self) {
        let entries = self.table.tiles * self.table.columns.len() as u64;
        if self.catalog.len() < entries {
            self.collect(Part::Catalog, 16);
            return;
        }
        self.left = self.table.heap - entries * ENTRY_BYTES;
        self.part = Part::Gap;
        if self.left == 0 {
            self.next_tile();
        }
    }

    fn entry(&mut self, entry: [u8; 16]) {
        let heap = self.table.data_bytes - self.table.heap;
        if let Err(error) = self.catalog.push(entry, self.column == 0, heap) {
            let tile = (self.catalog.len() - 1) / self.table.columns.len() as u64;
            let what = format!("{}: {error}", self.name_of(tile, self.column));
            self.reject(self.position - ENTRY_BYTES, what);
        }
        self.column += 1;
        if self.column == self.table.columns.len() {
            self.column = 0;
        }
        self.next_entry();
    }

    fn gap(&mut self, bytes: &[u8]) {
        self.left -= bytes.len() as u64;
        let dirty = if self.dirty_gap { None } else { bytes.iter().position(|&byte| byte != 0) };
        if let Some(dirty) = dirty {
            self.dirty_gap = true;
            let what = format!("byte 0x{:02x} between catalog and heap, where there must be zeros", bytes[dirty]);
            self.reject(self.position + dirty as u64, what);
        }
    }

    fn next_tile(&mut self) {
        self.column = 0;
        if self.tiles < self.table.tiles {
            self.collect(Part::Tile, usize::try_from(TILE_HEADER).unwrap_or_default());
        } else {
            self.part = Part::End;
        }
    }

    fn tile(&mut self) {
        let (tile, start) = (self.tiles, self.position - TILE_HEADER);
        self.tiles += 1;
        let (magic, rest) = self.head.split_at(4);
        let (rows, size) = (little(&rest[..4]), little(&rest[4..]));
        if magic != b"TILE" {
            let found = magic.escape_ascii();
            self.lose(start, format!("tile {tile} begins with \"{found}\" and not with \"TILE\""));
            return;
        }
        let expected = self.table.rows_of(tile);
        if rows != expected {
            let what = format!("tile {tile} says {rows} rows, but {expected} are its share of ZNAXIS2 and ZTILELEN");
            self.reject(start + 4, what);
        }
        // the header's word, not the tile's: blocks that agree with it are not wrong too
        self.rows = u32::try_from(expected).unwrap_or(u32::MAX);
        let catalog = self.catalog.tile_size(tile, self.table.columns.len());
        let left = self.table.data_bytes - self.position;
        if size != catalog {
            self.lose(start + 8, format!("tile {tile} says {size} bytes of blocks, but the catalog says {catalog}"));
        } else if size > left {
            self.lose(start + 8, format!("tile {tile} says {size} bytes of blocks, but the heap ends after {left}"));
        } else {
            self.next_block();
        }
    }

    /// The next block that is there, or the next tile.
    fn next_block(&mut self) {
        let columns = self.table.columns.len();
        while self.column < columns && self.catalog.size(self.tiles - 1, self.column, columns) == 0 {
            self.column += 1;
        }
        if self.column == columns {
            self.next_tile();
            return;
        }
        let size = self.catalog.size(self.tiles - 1, self.column, columns);
        let goal = usize::try_from(size)
            .map_or(block_header::USUAL, |size| size.clamp(block_header::START, block_header::USUAL));
        self.collect(Part::Block, goal);
    }

    /// A block's header is there, or a part of it, with the first bytes of the payload.
    fn block(&mut self, blocks: &mut BlockSink) {
        // given back below: a hundred thousand blocks share one allocation
        let head = mem::take(&mut self.head);
        let begun = self.begin_block(&head, blocks.wanted());
        self.head = head;
        match begun {
            Err(goal) => self.goal = goal,
            Ok(()) if self.part == Part::Payload && self.left == 0 => self.end_block(blocks),
            Ok(()) => {}
        }
    }

    /// Begins a block by its header and the first bytes of its payload. The error is how many bytes that takes.
    fn begin_block(&mut self, bytes: &[u8], wanted: bool) -> Result<(), usize> {
        let tile = self.tiles - 1;
        let size = self.catalog.size(tile, self.column, self.table.columns.len());
        let start = self.position - bytes.len() as u64;
        let head = match BlockHeader::parse(bytes, size) {
            Ok(head) => head,
            Err(HeaderError::Short(goal)) => return Err(goal),
            Err(HeaderError::Wrong(what)) => {
                self.lose(start, format!("{}: {what}", self.name_of(tile, self.column)));
                return Ok(());
            }
        };
        self.processes.clear();
        self.processes.extend(head.processes());
        // what is known to be wrong need not be decoded to be found wrong again
        let wanted = self.judge(&head, start, size) && wanted;
        if wanted && size > BLOCK_MAX {
            let what = format!("a block of {size} bytes is not decoded, the limit being {BLOCK_MAX}");
            self.warn("not-decodable", start, format!("{}: {what}", self.name_of(tile, self.column)));
        } else if wanted {
            // only what is written to is really taken
            let mut payload = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
            payload.extend_from_slice(head.start);
            self.block = Some(Block {
                table: Arc::clone(&self.table),
                column: self.column,
                tile,
                rows: self.rows,
                offset: self.table.data_offset + start,
                processes: self.processes.clone(),
                payload,
            });
        }
        self.left = size - bytes.len() as u64;
        self.part = Part::Payload;
        Ok(())
    }

    /// Judges a block by its header and the first bytes of its payload: is it worth decoding?
    fn judge(&mut self, head: &BlockHeader<'_>, start: u64, size: u64) -> bool {
        let tile = self.tiles - 1;
        let names = |what| format!("{}: {what}", self.name_of(tile, self.column));
        match head.order {
            BY_COLUMN => {}
            BY_ROW => {
                let what = names("the values are in order of rows, which is not judged".to_owned());
                self.warn("zfits-not-judged", start + 8, what);
                return false;
            }
            other => {
                let what = names(format!("the order of values is 0x{other:02x} and not 'C'"));
                self.reject(start + 8, what);
                return false;
            }
        }
        if let Some(id) = self.processes.iter().find(|id| !process::KNOWN.contains(id)) {
            let what = names(format!("process id 0x{id:02x} is none that the format has"));
            self.warn("zfits-not-judged", start + block_header::START as u64, what);
            return true;
        }
        let payload = size - head.length as u64;
        let column = &self.table.columns[self.column];
        let found = payload::peek(&self.processes, head.start, payload, column, self.rows).map_err(names);
        if let Err(what) = &found {
            self.reject(start + head.length as u64, what.clone());
        }
        found.is_ok()
    }

    fn payload(&mut self, bytes: &[u8]) {
        self.left -= bytes.len() as u64;
        if let Some(block) = &mut self.block {
            block.payload.extend_from_slice(bytes);
        }
    }

    fn end_block(&mut self, blocks: &mut BlockSink) {
        if let Some(block) = self.block.take() {
            blocks.take(block);
        }
        self.column += 1;
        self.next_block();
    }

    fn beyond(&mut self) {
        let left = self.table.data_bytes - self.position;
        let what = format!("{left} bytes of the heap follow the last of {} tiles and belong to none", self.table.tiles);
        self.lose(self.position, what);
    }

    fn name_of(&self, tile: u64, column: usize) -> String {
        format!("tile {tile}, column {} '{}'", column + 1, self.table.columns[column].name)
    }

    fn reject(&mut self, at: u64, what: String) {
        let problem = Problem::new("zfits-structure", what, Remedy::Redeliver).in_hdu(self.place.clone());
        self.findings.reject(problem.at(self.table.data_offset + at));
    }

    fn lose(&mut self, at: u64, what: String) {
        self.reject(at, what);
        self.part = Part::Lost;
        self.block = None;
    }

    fn warn(&mut self, code: &'static str, at: u64, what: String) {
        let problem = Problem::new(code, what, Remedy::TellWriter).in_hdu(self.place.clone());
        self.findings.warn(problem.at(self.table.data_offset + at));
    }
}

/// An unsigned little-endian number of up to 8 bytes.
fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}
