//! The state machine that walks a file's HDUs while its bytes go by.

use std::mem;

use crate::cells::Cells;
use crate::hdu::{Checksum, Hdu};
use crate::header::{END, Header, is_end};
use crate::layout::{Kind, Layout};
use crate::problem::{Place, Problem, Remedy};
use crate::sizes::{BLOCK, CARD, HDUS_MAX, HEADER_MAX};
use crate::sum::Sum;
use crate::verdict::{Judge, Sums, check_sums};
use crate::walk::Walk;
use crate::zfits::{Block, BlockSink, Follower};

/// Walks a FITS file fed in slices of any size; the result is the same for every split.
#[derive(Debug)]
pub struct Walker {
    /// The keyword whose header is kept.
    keep: Option<&'static str>,
    /// Whether compressed tables are followed tile by tile.
    follow: bool,
    /// Whether the cells of plain tables are looked at.
    values: bool,
    blocks: BlockSink,
    /// Bytes fed so far.
    position: u64,
    stage: Stage,
    walk: Walk,
}

#[derive(Debug)]
enum Stage {
    /// Collecting a header, block by block.
    Header { raw: Vec<u8>, offset: u64 },
    /// Passing over a data unit and its padding.
    Data(Box<Unit>),
    /// Behind the last HDU.
    Trailing,
    /// The file cannot be followed any further; the problem has been noted.
    Lost,
}

/// A data unit on its way through.
#[derive(Debug)]
struct Unit {
    hdu: Hdu,
    header: Header,
    header_sum: Sum,
    sum: Sum,
    data_left: u64,
    padding_left: u64,
    dirty_padding: Option<u64>,
    /// The compressed table in it that is being followed.
    table: Option<Follower>,
    /// The plain table in it.
    cells: Option<Cells>,
}

impl Default for Walker {
    fn default() -> Self {
        Self::new()
    }
}

impl Walker {
    /// A walker at the beginning of a file, which follows compressed tables tile by tile, and sees where plain ones have
    /// the arrays of their cells.
    pub fn new() -> Self {
        let stage = Stage::Header { raw: Vec::new(), offset: 0 };
        Self {
            keep: None,
            follow: true,
            values: false,
            blocks: BlockSink::default(),
            position: 0,
            stage,
            walk: Walk::default(),
        }
    }

    /// Keeps the first header in which this keyword occurs, for [`Walk::kept`].
    #[must_use]
    pub fn keeping(mut self, keyword: &'static str) -> Self {
        self.keep = Some(keyword);
        self
    }

    /// Passes over the data of tables like over any other.
    #[must_use]
    pub fn checksums_only(mut self) -> Self {
        self.follow = false;
        self
    }

    /// Looks at text, logicals and bits in the cells of plain tables, too.
    #[must_use]
    pub fn reading_cells(mut self) -> Self {
        self.values = true;
        self
    }

    /// Gives every block of a compressed table away as soon as it is whole, in the order of the file. Blocks larger than
    /// [`BLOCK_MAX`](crate::zfits::BLOCK_MAX) are warned of instead.
    #[must_use]
    pub fn giving_blocks(mut self, taker: impl FnMut(Block) + Send + 'static) -> Self {
        self.blocks = BlockSink::to(Box::new(taker));
        self
    }

    /// Takes the next bytes of the file.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match &mut self.stage {
                Stage::Header { raw, .. } => {
                    // first the card that tells what follows, then whole blocks
                    let goal = if raw.len() < CARD { CARD } else { (raw.len() / BLOCK + 1) * BLOCK };
                    let taken = bytes.len().min(goal - raw.len());
                    raw.extend_from_slice(&bytes[..taken]);
                    taken
                }
                Stage::Data(unit) => unit.feed(bytes, self.position, &mut self.blocks),
                Stage::Trailing => {
                    self.walk.trailing_bytes += bytes.len() as u64;
                    bytes.len()
                }
                Stage::Lost => bytes.len(),
            };
            self.position += taken as u64;
            bytes = &bytes[taken..];
            self.step();
        }
    }

    /// Moves on to the next stage where the current one is complete.
    fn step(&mut self) {
        match mem::replace(&mut self.stage, Stage::Lost) {
            Stage::Header { raw, offset } => self.stage = self.header(raw, offset),
            Stage::Data(unit) if unit.data_left == 0 && unit.padding_left == 0 => {
                self.close(*unit, true);
                self.stage = Stage::Header { raw: Vec::new(), offset: self.position };
            }
            other => self.stage = other,
        }
    }

    /// Decides what the header collected so far means.
    fn header(&mut self, raw: Vec<u8>, offset: u64) -> Stage {
        let index = self.walk.hdus.len();
        if raw.len() < CARD {
            return Stage::Header { raw, offset };
        }
        if raw.len() == CARD {
            if index == 0 && !raw.starts_with(b"SIMPLE  = ") {
                self.walk.problems.push(not_fits(&raw));
                return Stage::Lost;
            }
            if index > 0 && !raw.starts_with(b"XTENSION") {
                self.walk.trailing_bytes = raw.len() as u64;
                return Stage::Trailing;
            }
            if index >= HDUS_MAX {
                let what = format!("more than {HDUS_MAX} HDUs");
                self.walk.problems.push(Problem::new("too-many-hdus", what, Remedy::SuspectWriter).at(offset));
                return Stage::Lost;
            }
        }
        if !raw.len().is_multiple_of(BLOCK) {
            return Stage::Header { raw, offset };
        }
        let last_block = raw.len() - BLOCK;
        let (cards, _) = raw[last_block..].as_chunks::<CARD>();
        match cards.iter().position(is_end) {
            Some(card) => self.open(&raw, offset, last_block + (card + 1) * CARD),
            None if raw.len() >= HEADER_MAX => {
                let place = Place { index, name: None };
                let what = format!("no END card within the first {HEADER_MAX} bytes of the header");
                self.walk
                    .problems
                    .push(Problem::new("invalid-header", what, Remedy::Redeliver).in_hdu(place).at(offset));
                Stage::Lost
            }
            None => Stage::Header { raw, offset },
        }
    }

    /// A whole header is there: works out what data unit follows it. `end` is the index behind the END card.
    fn open(&mut self, raw: &[u8], offset: u64, end: usize) -> Stage {
        let index = self.walk.hdus.len();
        let header = Header::parse(raw, offset);
        let name = header.text("EXTNAME").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        let place = Place { index, name };
        if let Ok(kind) = Kind::of(&header, index) {
            let mut judge = Judge::new(&header, (raw, offset), &kind, &place, &mut self.walk);
            judge.cards();
            judge.mandatory_keywords();
            judge.reserved_values();
        }
        // the rest of the END card must be blank, too
        let after = end - (CARD - END.len());
        if let Some(dirty) = raw[after..].iter().position(|&byte| byte != b' ') {
            let what = format!("byte 0x{:02x} after END, where only blanks may be", raw[after + dirty]);
            let at = offset + (after + dirty) as u64;
            self.walk.problems.push(Problem::new("padding", what, Remedy::Redeliver).in_hdu(place.clone()).at(at));
        }
        let layout = match Layout::of(&header, index) {
            Ok(layout) => layout,
            Err(error) => {
                let problem =
                    Problem::new(error.code, error.what, Remedy::SuspectWriter).in_hdu(place).of(error.keyword);
                self.walk.problems.push(problem.at(error.offset.unwrap_or(offset)));
                return Stage::Lost;
            }
        };
        let mut header_sum = Sum::default();
        header_sum.update(raw);
        let data_offset = offset + raw.len() as u64;
        let (data_left, padding_left) = (layout.data_bytes, layout.padding);
        let hdu = Hdu {
            index,
            layout,
            header_offset: offset,
            data_offset,
            checksum: Checksum::Absent,
            datasum: Checksum::Absent,
        };
        let sum = Sum::default();
        let table = self.follow(&header, &hdu);
        let cells = if self.follow { Cells::of(&header, &hdu, self.values) } else { None };
        let unit = Unit { hdu, header, header_sum, sum, data_left, padding_left, dirty_padding: None, table, cells };
        if unit.data_left == 0 {
            self.close(unit, true);
            return Stage::Header { raw: Vec::new(), offset: data_offset };
        }
        Stage::Data(Box::new(unit))
    }

    /// Begins to follow a compressed table. What is wrong with its header is reported even if its data are not followed.
    fn follow(&mut self, header: &Header, hdu: &Hdu) -> Option<Follower> {
        if !self.follow {
            return None;
        }
        match Follower::of(header, hdu) {
            Ok(table) => Some(table),
            Err(findings) => {
                findings.append_to(&hdu.place(), &mut self.walk);
                None
            }
        }
    }

    /// An HDU is over: judges its checksums and files it.
    fn close(&mut self, unit: Unit, complete: bool) {
        let Unit { mut hdu, header, header_sum, sum, dirty_padding, table, cells, .. } = unit;
        let place = hdu.place();
        if let Some(at) = dirty_padding {
            let fill = if hdu.layout.kind == Kind::AsciiTable { "blanks" } else { "zeros" };
            let what = format!("the padding after the data is not all {fill}");
            self.walk.problems.push(Problem::new("padding", what, Remedy::Redeliver).in_hdu(place).at(at));
        }
        check_sums(&mut hdu, &header, Sums::of(&header_sum, &sum), complete, &mut self.walk);
        if let Some((place, findings)) = table.map(|table| table.finish(complete)) {
            findings.append_to(&place, &mut self.walk);
        }
        if let Some(cells) = cells {
            cells.append_to(&mut self.walk);
        }
        if self.walk.kept.is_none() && self.keep.is_some_and(|keyword| header.get(keyword).is_some()) {
            self.walk.kept = Some((hdu.index, header));
        }
        self.walk.hdus.push(hdu);
    }

    /// The file has ended: what was it?
    pub fn finish(mut self) -> Walk {
        match mem::replace(&mut self.stage, Stage::Lost) {
            Stage::Header { raw, .. } if raw.is_empty() && self.position == 0 => {
                let what = "the file is empty";
                self.walk.problems.push(Problem::new("empty", what, Remedy::Redeliver));
            }
            Stage::Header { raw, .. } if raw.is_empty() => self.walk.complete = true,
            Stage::Header { raw, offset } => self.cut_header(&raw, offset),
            Stage::Data(unit) => self.cut_data(*unit),
            Stage::Trailing => self.walk.complete = true,
            Stage::Lost => {}
        }
        if self.walk.trailing_bytes > 0 {
            let n = self.walk.trailing_bytes;
            let what = format!("{n} bytes follow the last HDU and belong to none");
            let problem = Problem::new("trailing-data", what, Remedy::Redeliver).at(self.position - n);
            self.walk.problems.push(problem);
        }
        self.walk
    }

    fn cut_header(&mut self, raw: &[u8], offset: u64) {
        let index = self.walk.hdus.len();
        let expected: &[u8] = if index == 0 { b"SIMPLE  = " } else { b"XTENSION" };
        let known = raw.len().min(expected.len());
        if raw[..known] != expected[..known] {
            if index == 0 {
                self.walk.problems.push(not_fits(raw));
            } else {
                self.walk.trailing_bytes = raw.len() as u64;
                self.walk.complete = true;
            }
            return;
        }
        let what = format!("the file ends inside the header that begins at byte {offset}, before its END card");
        let place = Place { index, name: None };
        self.walk.problems.push(Problem::new("truncated", what, Remedy::Redeliver).in_hdu(place).at(self.position));
    }

    fn cut_data(&mut self, unit: Unit) {
        let place = unit.hdu.place();
        let what = match (unit.data_left, unit.padding_left) {
            (0, padding) => format!("the file ends {padding} bytes too early, in the padding after the data"),
            (data, _) => {
                format!("the file ends {data} bytes before the end of its {} bytes of data", unit.hdu.layout.data_bytes)
            }
        };
        let problem = Problem::new("truncated", what, Remedy::Redeliver).in_hdu(place).at(self.position);
        self.walk.problems.push(problem);
        self.close(unit, false);
    }
}

impl Unit {
    /// Takes what belongs to this unit, data first, and returns how many bytes that was.
    fn feed(&mut self, bytes: &[u8], position: u64, blocks: &mut BlockSink) -> usize {
        let data = within(bytes, self.data_left);
        self.sum.update(data);
        if let Some(table) = &mut self.table {
            table.feed(data, blocks);
        }
        if let Some(cells) = &mut self.cells {
            cells.feed(data);
        }
        self.data_left -= data.len() as u64;
        let padding = within(&bytes[data.len()..], if self.data_left == 0 { self.padding_left } else { 0 });
        self.sum.update(padding);
        self.padding_left -= padding.len() as u64;
        if self.dirty_padding.is_none() {
            let fill = self.hdu.layout.fill();
            let dirty = padding.iter().position(|&byte| byte != fill);
            self.dirty_padding = dirty.map(|dirty| position + (data.len() + dirty) as u64);
        }
        data.len() + padding.len()
    }
}

/// The first `limit` bytes of a slice, or all of it.
fn within(bytes: &[u8], limit: u64) -> &[u8] {
    &bytes[..usize::try_from(limit).unwrap_or(usize::MAX).min(bytes.len())]
}

/// Says what the file is instead, where that is easy to see.
fn not_fits(start: &[u8]) -> Problem {
    let what = match start {
        [0x1f, 0x8b, ..] => "it is compressed with gzip as a whole".to_owned(),
        [b'B', b'Z', b'h', ..] => "it is compressed with bzip2 as a whole".to_owned(),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "it is compressed with zstd as a whole".to_owned(),
        [0x89, b'H', b'D', b'F', ..] => "it is an HDF5 file".to_owned(),
        _ if start.iter().all(|&byte| byte == 0) => "it begins with zeros".to_owned(),
        _ => format!("it begins with \"{}\"", start[..start.len().min(16)].escape_ascii()),
    };
    let what = format!("this is not a FITS file: {what} where 'SIMPLE  =' must be");
    Problem::new("not-fits", what, Remedy::DeliverFits).at(0)
}

#[cfg(test)]
mod tests;
