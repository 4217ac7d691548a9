//! A column on its way through: what its cells must be, and what was found in them.

use super::cell::Cell;
use super::descriptor::Descriptor;
use super::text::{self, Kind};
use crate::problem::{Place, Problem, Remedy};
use crate::walk::Walk;

/// What the cells of a column must be.
#[derive(Debug)]
pub(super) enum Content {
    Descriptor(Descriptor),
    /// T, F or 0.
    Logicals,
    /// Strings of this width, each up to its first 0.
    Text {
        string: u64,
        ended: bool,
    },
    /// The unused bits of the last byte.
    Bits {
        unused: u8,
    },
    /// A cell of an ASCII table; its `TNULLn` stands for no value.
    Ascii {
        kind: Kind,
        null: Option<Vec<u8>>,
    },
    /// Between the columns of an ASCII table.
    Gap,
}

/// A column, or the gaps between columns.
#[derive(Debug)]
pub(super) struct Field {
    /// Where its cell begins in the row, and its bytes.
    pub(super) start: u64,
    pub(super) width: u64,
    content: Content,
    /// As messages name it.
    name: String,
    /// The bytes so far of a cell that is judged whole.
    head: Vec<u8>,
    /// Why the file must not be accepted, and what is odd.
    wrong: Tally,
    odd: Tally,
}

/// The first finding of a kind, and in how many cells there are more.
#[derive(Debug, Default)]
struct Tally {
    first: Option<First>,
    /// The row of the last one, which is counted once.
    last: Option<u64>,
    more: u64,
}

#[derive(Debug)]
struct First {
    code: &'static str,
    offset: u64,
    row: u64,
    what: String,
}

impl Field {
    pub(super) fn new(start: u64, width: u64, content: Content, name: String) -> Self {
        let (wrong, odd) = (Tally::default(), Tally::default());
        Self { start, width, content, name, head: Vec::new(), wrong, odd }
    }

    /// Looks at a piece of a cell.
    pub(super) fn take(&mut self, cell: &Cell<'_>) {
        match &mut self.content {
            Content::Descriptor(_) => self.whole(cell, Self::descriptor),
            Content::Logicals => {
                let bad = cell.part.iter().position(|byte| !matches!(byte, b'T' | b'F' | 0));
                self.bytes("logical-cell", cell, bad, "is neither T nor F nor 0");
            }
            Content::Text { string, ended } => {
                let bad = text::beyond(cell, *string, ended);
                self.bytes("text-cell", cell, bad, "is not one of the characters 0x20 to 0x7e");
            }
            Content::Bits { unused } => {
                let last = cell.from + cell.part.len() as u64 == self.width;
                let bad = cell.part.len().checked_sub(1).filter(|&at| last && cell.part[at] & *unused != 0);
                self.bytes("bit-cell", cell, bad, "has bits behind the last one of the column");
            }
            Content::Ascii { kind, .. } => {
                let number = *kind != Kind::Text;
                let bad = cell.part.iter().position(|&byte| !text::is_text(byte));
                self.bytes("ascii-cell", cell, bad, "is not one of the characters 0x20 to 0x7e");
                if number {
                    self.whole(cell, Self::number);
                }
            }
            Content::Gap => {
                let bad = cell.part.iter().position(|byte| !byte.is_ascii());
                self.bytes("ascii-cell", cell, bad, "is not ASCII");
            }
        }
    }

    fn bytes(&mut self, code: &'static str, cell: &Cell<'_>, bad: Option<usize>, what: &str) {
        if let Some(at) = bad {
            let (byte, offset) = (cell.part[at], cell.offset + at as u64);
            self.odd.note(cell.row, || First {
                code,
                offset,
                row: cell.row,
                what: format!("the byte 0x{byte:02x} {what}"),
            });
        }
    }

    /// Puts a cell together that is judged whole; nearly always it already is.
    fn whole(&mut self, cell: &Cell<'_>, judge: fn(&mut Self, &[u8], u64, u64)) {
        let (offset, width) = (cell.offset - cell.from, self.width);
        if cell.part.len() as u64 == width {
            return judge(self, cell.part, cell.row, offset);
        }
        if cell.from == 0 {
            self.head.clear();
        }
        self.head.extend_from_slice(cell.part);
        if self.head.len() as u64 == width {
            let head = std::mem::take(&mut self.head);
            judge(self, &head, cell.row, offset);
            self.head = head;
        }
    }

    fn descriptor(&mut self, bytes: &[u8], row: u64, offset: u64) {
        let Content::Descriptor(descriptor) = &self.content else { return };
        if let Err(bad) = descriptor.check(bytes) {
            let first = || First { code: bad.code(), offset, row, what: bad.to_string() };
            if bad.is_unsafe() { self.wrong.note(row, first) } else { self.odd.note(row, first) }
        }
    }

    fn number(&mut self, bytes: &[u8], row: u64, offset: u64) {
        let Content::Ascii { kind, null } = &self.content else { return };
        let (kind, null) = (*kind, null.as_deref());
        let is_null = null.is_some_and(|null| null == bytes.trim_ascii());
        // what is no text has been said
        if !is_null && bytes.iter().all(|&byte| text::is_text(byte)) && !text::is_number(bytes, kind) {
            let what = || format!("\"{}\" is no number of the column's format", bytes.escape_ascii());
            self.odd.note(row, || First { code: "ascii-cell", offset, row, what: what() });
        }
    }

    /// Tells what was found.
    pub(super) fn append_to(self, place: &Place, walk: &mut Walk) {
        let name = self.name;
        let problem = |found: Tally, remedy| {
            let First { code, offset, row, what } = found.first?;
            let more =
                if found.more > 0 { format!(", and {} more rows have the like", found.more) } else { String::new() };
            let what = format!("{name}, row {}: {what}{more}", row.saturating_add(1));
            Some(Problem::new(code, what, remedy).in_hdu(place.clone()).at(offset))
        };
        if let Some(problem) = problem(self.wrong, Remedy::Redeliver) {
            walk.reject(problem);
        }
        if let Some(problem) = problem(self.odd, Remedy::TellWriter) {
            walk.warn(problem);
        }
    }
}

impl Tally {
    fn note(&mut self, row: u64, first: impl FnOnce() -> First) {
        if self.last.replace(row) == Some(row) {
            return;
        }
        if self.first.is_none() {
            self.first = Some(first());
        } else {
            self.more += 1;
        }
    }
}
