//! The cells of plain tables, judged while they go by: where the arrays in the heap lie (section 7.3.5), and at request
//! whether text, logicals and bits are what the standard allows (sections 7.2.5 and 7.3.3.1).
//!
//! What is kept is one finding of each kind for a column, and the bytes of a cell that two slices share, if they matter.

mod cell;
mod columns;
mod descriptor;
mod field;
mod text;

use self::cell::Cell;
use self::field::Field;
use crate::hdu::Hdu;
use crate::header::Header;
use crate::problem::Place;
use crate::walk::Walk;

/// A plain table on its way through.
#[derive(Debug)]
pub(crate) struct Cells {
    place: Place,
    data_offset: u64,
    /// Bytes of a row, and rows.
    width: u64,
    rows: u64,
    /// What is looked at in a row, in the order of its bytes, without overlaps.
    fields: Vec<Field>,
    /// Bytes outside all fields, which must be of 7 bits, of an ASCII table.
    gaps: Option<Field>,
    row: u64,
    /// Bytes of the row that have gone by.
    at: u64,
    /// The next field.
    next: usize,
}

impl Cells {
    /// The table of this HDU, if there is something to look at. Compressed tables have a layout of their own; `values`
    /// is whether cells are looked at, and not only where arrays lie.
    pub(crate) fn of(header: &Header, hdu: &Hdu, values: bool) -> Option<Self> {
        let count = |keyword| header.integer(keyword).and_then(|n| u64::try_from(n).ok());
        let (width, rows) = (count("NAXIS1")?, count("NAXIS2")?);
        let (fields, gaps) = columns::of(header, &hdu.layout, width, values)?;
        let nothing = fields.is_empty() && gaps.is_none() || width == 0;
        let (place, data_offset) = (hdu.place(), hdu.data_offset);
        (!nothing).then_some(Self { place, data_offset, width, rows, fields, gaps, row: 0, at: 0, next: 0 })
    }

    /// Takes the next bytes of the data unit, its padding excluded.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.row < self.rows {
            let field = self.fields.get_mut(self.next);
            let (until, field) = match field {
                Some(field) if self.at >= field.start => (field.start + field.width, Some(field)),
                Some(field) => (field.start, None),
                None => (self.width, None),
            };
            let (inside, until) = (field.is_some(), until.min(self.width));
            let left = usize::try_from(until - self.at).unwrap_or(usize::MAX);
            let (part, rest) = bytes.split_at(left.min(bytes.len()));
            if let Some(field) = field.or(self.gaps.as_mut()) {
                let offset = self.data_offset + self.row * self.width + self.at;
                // a gap is looked at byte by byte, and has no beginning
                let from = if inside { self.at - field.start } else { 0 };
                field.take(&Cell { row: self.row, offset, from, part });
            }
            self.at += part.len() as u64;
            bytes = rest;
            self.next += usize::from(inside && self.at == until);
            if self.at == self.width {
                (self.row, self.at, self.next) = (self.row + 1, 0, 0);
            }
        }
    }

    /// The data unit is over, or the file is: tells what was found, a column after the other.
    pub(crate) fn append_to(self, walk: &mut Walk) {
        for field in self.fields.into_iter().chain(self.gaps) {
            field.append_to(&self.place, walk);
        }
    }
}
