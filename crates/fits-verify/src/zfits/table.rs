//! Which tables are ZFITS, and what their headers claim.

use super::catalog::{CATALOG_ENTRIES_MAX, ENTRY_BYTES};
use super::column::Column;
use super::short_list::ShortList;
use crate::card::{Card, Value};
use crate::hdu::Hdu;
use crate::header::Header;
use crate::layout::Kind;
use crate::problem::{Problem, Remedy};

/// The value of `ZCTYPn` in the tables that are judged here.
const CTA: &str = "CTA";
/// Columns a table can have (FITS 4.0, section 7.3.1).
const FIELDS_MAX: u64 = 999;

/// A ZFITS table as its header describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Index of the HDU.
    pub hdu: usize,
    /// EXTNAME.
    pub name: Option<String>,
    /// The columns in order.
    pub columns: Vec<Column>,
    /// Rows, from ZNAXIS2.
    pub rows: u64,
    /// Rows of every tile but the last, from ZTILELEN.
    pub tile_rows: u64,
    /// Tiles, from NAXIS2.
    pub tiles: u64,
    /// Byte offset of the data unit in the file.
    pub data_offset: u64,
    /// Bytes of the data unit without its padding.
    pub data_bytes: u64,
    /// Byte offset of the heap in the data unit, from ZHEAPPTR.
    pub heap: u64,
}

impl Table {
    /// The table that a header describes. `None` if it is no ZFITS table of this kind, if it cannot be judged, or if its
    /// header contradicts itself so that its data cannot be followed; the findings say which.
    pub(super) fn of(header: &Header, hdu: &Hdu, findings: &mut ShortList) -> Option<Self> {
        if hdu.layout.kind != Kind::BinaryTable {
            return None;
        }
        // the compressed images and tables of the standard (section 10) have no columns of this type
        if !header.cards().iter().any(|card| card.keyword.starts_with("ZCTYP") && text(card) == Some(CTA)) {
            return None;
        }
        let reader = TableReader { header, hdu };
        if let Some(card) = header.get("ZSHRINK").filter(|card| card.value() != Some(&Value::Integer(1))) {
            let what = "is not 1: the catalog leaves tiles out, which is not known well enough to be judged here";
            findings.warn(reader.problem(
                "zfits-not-judged",
                "ZSHRINK",
                Some(card),
                what.to_owned(),
                Remedy::TellWriter,
            ));
            return None;
        }
        match reader.table(findings) {
            Ok(table) => Some(table),
            Err(problem) => {
                findings.reject(*problem);
                None
            }
        }
    }

    /// Rows of a tile: ZTILELEN, and in the last one the rest.
    pub(super) fn rows_of(&self, tile: u64) -> u64 {
        self.rows.saturating_sub(tile.saturating_mul(self.tile_rows)).min(self.tile_rows)
    }
}

fn text(card: &Card) -> Option<&str> {
    match card.value()? {
        Value::Text(text) => Some(text.trim()),
        _ => None,
    }
}

/// A header on its way to a [`Table`].
struct TableReader<'a> {
    header: &'a Header,
    hdu: &'a Hdu,
}

impl TableReader<'_> {
    fn problem(&self, code: &'static str, keyword: &str, card: Option<&Card>, what: String, remedy: Remedy) -> Problem {
        let offset = card.map_or(self.hdu.header_offset, |card| card.offset);
        Problem::new(code, what, remedy).in_hdu(self.hdu.place()).of(keyword).at(offset)
    }

    // boxed because a Result carries it
    #[allow(clippy::unnecessary_box_returns)]
    fn wrong(&self, keyword: &str, what: String) -> Box<Problem> {
        Box::new(self.problem("zfits-structure", keyword, self.header.get(keyword), what, Remedy::SuspectWriter))
    }

    fn count(&self, keyword: &str) -> Result<u64, Box<Problem>> {
        match self.header.get(keyword).map(Card::value) {
            Some(Some(Value::Integer(n))) => {
                u64::try_from(*n).map_err(|_| self.wrong(keyword, format!("is {n}, which cannot be a count")))
            }
            Some(_) => Err(self.wrong(keyword, "is not an integer".to_owned())),
            None => Err(self.wrong(keyword, "is missing from a ZFITS table".to_owned())),
        }
    }

    /// The table, if the data can be followed with it; contradictions that do not hinder that go to the findings.
    fn table(&self, findings: &mut ShortList) -> Result<Table, Box<Problem>> {
        if self.header.logical("ZTABLE") != Some(true) {
            findings.reject(*self.wrong("ZTABLE", "is not T, but the columns are those of a ZFITS table".to_owned()));
        }
        let fields = self.count("TFIELDS")?;
        if !(1..=FIELDS_MAX).contains(&fields) {
            return Err(self.wrong("TFIELDS", format!("is {fields}, not between 1 and {FIELDS_MAX}")));
        }
        let columns = (1..=fields).map(|field| self.column(field, findings)).collect::<Result<Vec<_>, _>>()?;
        let (width, tiles, rows) = (self.count("NAXIS1")?, self.count("NAXIS2")?, self.count("ZNAXIS2")?);
        let (tile_rows, heap) = (self.count("ZTILELEN")?, self.count("ZHEAPPTR")?);

        if width != fields * ENTRY_BYTES {
            let what = format!("is {width}, but a catalog row of {fields} columns has {} bytes", fields * ENTRY_BYTES);
            return Err(self.wrong("NAXIS1", what));
        }
        let data_bytes = self.hdu.layout.data_bytes;
        // no overflow: both factors were multiplied for the size of the data unit
        let catalog = width.saturating_mul(tiles);
        if tiles.saturating_mul(fields) > CATALOG_ENTRIES_MAX {
            let what = format!("is {tiles}: with {fields} columns more than the {CATALOG_ENTRIES_MAX} blocks allowed");
            return Err(self.wrong("NAXIS2", what));
        }
        if tile_rows == 0 {
            return Err(self.wrong("ZTILELEN", "is 0".to_owned()));
        }
        if rows.div_ceil(tile_rows) != tiles {
            let what = format!("is {rows}: that is not {tiles} tiles (NAXIS2) of {tile_rows} rows (ZTILELEN)");
            findings.reject(*self.wrong("ZNAXIS2", what));
        }
        if heap < catalog || heap > data_bytes {
            let what = format!(
                "is {heap}: the heap must begin behind the catalog, which ends at {catalog}, and before the \
                                end of the data at {data_bytes}"
            );
            return Err(self.wrong("ZHEAPPTR", what));
        }
        if !heap.is_multiple_of(width) {
            let what = format!("is {heap}, which is not a whole number of catalog rows of {width} bytes");
            findings.reject(*self.wrong("ZHEAPPTR", what));
        }
        if self.header.get("THEAP").is_some() && self.count("THEAP")? != catalog {
            let what = format!("is {}, but NAXIS1 × NAXIS2 is {catalog}", self.count("THEAP")?);
            findings.reject(*self.wrong("THEAP", what));
        }
        let row_bytes: Option<u64> =
            columns.iter().map(Column::row_bytes).try_fold(0_u64, |sum, n| sum.checked_add(n?));
        if let Some(row_bytes) = row_bytes
            && self.header.get("ZNAXIS1").is_some()
            && self.count("ZNAXIS1")? != row_bytes
        {
            let what = format!("is {}, but the columns' ZFORMs add up to {row_bytes} bytes", self.count("ZNAXIS1")?);
            findings.reject(*self.wrong("ZNAXIS1", what));
        }
        let (index, name) = (self.hdu.index, self.hdu.layout.name.clone());
        let data_offset = self.hdu.data_offset;
        Ok(Table { hdu: index, name, columns, rows, tile_rows, tiles, data_offset, data_bytes, heap })
    }

    fn column(&self, field: u64, findings: &mut ShortList) -> Result<Column, Box<Problem>> {
        let name = self.header.text(&format!("TTYPE{field}")).map_or_else(|| format!("column {field}"), str::to_owned);
        let compression = format!("ZCTYP{field}");
        if self.header.text(&compression).map(str::trim) != Some(CTA) {
            let found = self.header.text(&compression).unwrap_or("not there");
            findings.reject(*self.wrong(&compression, format!("is {found}, but other columns have '{CTA}'")));
        }
        let stored = format!("TFORM{field}");
        let descriptor = self.header.text(&stored).unwrap_or_default().trim_start_matches(['0', '1']);
        if !descriptor.starts_with('Q') {
            let found = self.header.text(&stored).unwrap_or("not there");
            findings.reject(*self.wrong(&stored, format!("is {found}, but a catalog entry is a descriptor '1QB'")));
        }
        let form = format!("ZFORM{field}");
        let text = self.header.text(&form).ok_or_else(|| self.wrong(&form, "is missing or not a string".to_owned()))?;
        let column = Column::parse(name, text)
            .ok_or_else(|| self.wrong(&form, format!("is {text:?}, not a count and a letter")))?;
        if column.width.is_none() {
            let card = self.header.get(&form);
            let what = format!("has the type '{}', whose width is not known: its values are not judged", column.letter);
            findings.warn(self.problem("zfits-not-judged", &form, card, what, Remedy::TellWriter));
        }
        Ok(column)
    }
}
