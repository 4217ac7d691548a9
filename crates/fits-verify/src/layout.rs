//! What the mandatory keywords say about the data unit (section 4.4.1 and 7).

use crate::card::{Card, Value};
use crate::header::Header;
use crate::sizes::BLOCK;

/// What kind of HDU it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The primary HDU.
    Primary,
    /// `XTENSION = 'IMAGE'`.
    Image,
    /// `XTENSION = 'TABLE'`.
    AsciiTable,
    /// `XTENSION = 'BINTABLE'`, ZFITS tables included.
    BinaryTable,
    /// Any other extension.
    Other(String),
}

/// Kind, name and size of an HDU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Kind of HDU.
    pub kind: Kind,
    /// EXTNAME.
    pub name: Option<String>,
    /// Bytes of the data unit without padding.
    pub data_bytes: u64,
    /// Zero bytes (blanks in an ASCII table) that fill the last block.
    pub padding: u64,
}

/// Why the size of the data unit cannot be known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct LayoutError {
    /// `mandatory-missing` or `mandatory-value`.
    pub code: &'static str,
    /// The keyword to blame.
    pub keyword: String,
    /// Where it is, if it is there at all.
    pub offset: Option<u64>,
    /// What is wrong with it.
    pub what: String,
}

impl Kind {
    /// The kind of HDU number `index`.
    ///
    /// # Errors
    /// XTENSION of an extension is not a string.
    pub fn of(header: &Header, index: usize) -> Result<Self, LayoutError> {
        Ok(match (index, header.text("XTENSION")) {
            (0, _) => Self::Primary,
            (_, Some("IMAGE")) => Self::Image,
            (_, Some("TABLE")) => Self::AsciiTable,
            (_, Some("BINTABLE")) => Self::BinaryTable,
            (_, Some(other)) => Self::Other(other.to_owned()),
            (_, None) => return Err(wrong(header, "XTENSION", "is not a string")),
        })
    }

    /// The kind as messages name it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Primary => "a primary HDU without random groups",
            Self::Image => "an image",
            Self::AsciiTable => "an ASCII table",
            Self::BinaryTable => "a binary table",
            Self::Other(name) => name,
        }
    }
}

impl Layout {
    /// Reads the layout from the header of HDU number `index`.
    ///
    /// # Errors
    /// A mandatory keyword is missing or has an impossible value.
    pub fn of(header: &Header, index: usize) -> Result<Self, LayoutError> {
        let kind = Kind::of(header, index)?;
        let name = header.text("EXTNAME").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        let data_bytes = data_bytes(header, &kind)?;
        let block = BLOCK as u64;
        let padding = (block - data_bytes % block) % block;
        Ok(Self { kind, name, data_bytes, padding })
    }

    /// The byte that fills the last block of the data unit.
    pub fn fill(&self) -> u8 {
        if self.kind == Kind::AsciiTable { b' ' } else { 0 }
    }
}

/// Bytes of data: `|BITPIX| / 8 × GCOUNT × (PCOUNT + NAXIS1 × … × NAXISn)`.
fn data_bytes(header: &Header, kind: &Kind) -> Result<u64, LayoutError> {
    let bitpix = integer(header, "BITPIX")?;
    if ![8, 16, 32, 64, -32, -64].contains(&bitpix) {
        return Err(wrong(header, "BITPIX", &format!("is {bitpix}, not one of 8, 16, 32, 64, -32, -64")));
    }
    let naxis = integer(header, "NAXIS")?;
    if !(0..=999).contains(&naxis) {
        return Err(wrong(header, "NAXIS", &format!("is {naxis}, not between 0 and 999")));
    }
    if naxis == 0 {
        return Ok(0);
    }
    // random groups (section 6): the first axis is 0 and does not count
    let groups = *kind == Kind::Primary && header.logical("GROUPS") == Some(true);
    let mut elements = Some(1_u64);
    for axis in 1..=naxis {
        let keyword = format!("NAXIS{axis}");
        let length = count(header, &keyword)?;
        if !(groups && axis == 1 && length == 0) {
            elements = elements.and_then(|elements| elements.checked_mul(length));
        }
    }
    let or = |keyword, default| if header.get(keyword).is_some() { count(header, keyword) } else { Ok(default) };
    let (pcount, gcount) = (or("PCOUNT", 0)?, or("GCOUNT", 1)?);
    elements
        .and_then(|elements| elements.checked_add(pcount))
        .and_then(|elements| elements.checked_mul(gcount))
        .and_then(|elements| elements.checked_mul(u64::from(bitpix.unsigned_abs()) / 8))
        .filter(|&bytes| bytes <= i64::MAX as u64 - BLOCK as u64)
        .ok_or_else(|| wrong(header, "NAXIS1", "and the other axes with PCOUNT and GCOUNT claim more than 2^63 bytes"))
}

fn count(header: &Header, keyword: &str) -> Result<u64, LayoutError> {
    match header.get(keyword).map(Card::value) {
        Some(Some(Value::Integer(n))) => {
            u64::try_from(*n).map_err(|_| wrong(header, keyword, &format!("is {n}, which cannot be a length")))
        }
        Some(_) => Err(wrong(header, keyword, "is not an integer")),
        None => Err(wrong(header, keyword, "is missing")),
    }
}

fn integer(header: &Header, keyword: &str) -> Result<i32, LayoutError> {
    match header.get(keyword).map(Card::value) {
        Some(Some(Value::Integer(n))) => {
            i32::try_from(*n).map_err(|_| wrong(header, keyword, &format!("is {n}, which is impossible")))
        }
        Some(_) => Err(wrong(header, keyword, "is not an integer")),
        None => Err(wrong(header, keyword, "is missing")),
    }
}

fn wrong(header: &Header, keyword: &str, what: &str) -> LayoutError {
    let offset = header.get(keyword).map(|card| card.offset);
    let code = if offset.is_some() { "mandatory-value" } else { "mandatory-missing" };
    LayoutError { code, keyword: keyword.to_owned(), offset, what: what.to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn layout(cards: &[&str]) -> Result<Layout, LayoutError> {
        let raw: Vec<u8> = cards.iter().flat_map(|card| format!("{card:80}").into_bytes()).collect();
        Layout::of(&Header::parse(&raw, 0), usize::from(cards[0].starts_with("XTENSION")))
    }

    #[test]
    fn a_binary_table_with_heap() {
        let table = [
            "XTENSION= 'BINTABLE'",
            "BITPIX  = 8",
            "NAXIS   = 2",
            "NAXIS1  = 64",
            "NAXIS2  = 2",
            "PCOUNT  = 456",
            "GCOUNT  = 1",
        ];
        let layout = layout(&table).unwrap();
        assert_eq!((layout.kind, layout.data_bytes, layout.padding), (Kind::BinaryTable, 584, 2296));
    }

    #[test]
    fn groups_do_not_count_the_first_axis() {
        let groups = [
            "SIMPLE  = T",
            "BITPIX  = -32",
            "NAXIS   = 2",
            "NAXIS1  = 0",
            "NAXIS2  = 10",
            "GROUPS  = T",
            "PCOUNT  = 5",
            "GCOUNT  = 3",
        ];
        assert_eq!(layout(&groups).unwrap().data_bytes, 4 * 3 * 15);
    }

    #[test]
    fn impossible_sizes_are_errors_not_allocations() {
        let huge = [
            "XTENSION= 'IMAGE'",
            "BITPIX  = 64",
            "NAXIS   = 2",
            "NAXIS1  = 9223372036854775807",
            "NAXIS2  = 9223372036854775807",
        ];
        assert!(layout(&huge).unwrap_err().what.contains("2^63"));
        let negative = ["XTENSION= 'IMAGE'", "BITPIX  = 8", "NAXIS   = 1", "NAXIS1  = -1"];
        assert_eq!(layout(&negative).unwrap_err().keyword, "NAXIS1");
        let missing = ["XTENSION= 'IMAGE'", "BITPIX  = 8"];
        assert_eq!(layout(&missing).unwrap_err().what, "is missing");
    }
}
