//! The keywords on which the reading of the data rests, and where they do.

use crate::header::Header;
use crate::layout::Kind;

/// What rests on a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rests {
    /// Where the data are, what their bytes stand for, or what they are called.
    Data,
    /// Where and when they were taken: times and coordinates (sections 8 and 9).
    Coordinates,
}

/// What an HDU has that keywords can be about.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)] // independent of each other
pub(crate) struct Shape {
    axes: u32,
    fields: u32,
    /// Of what a table holds compressed.
    compressed_axes: u32,
    primary: bool,
    array: bool,
    ascii: bool,
    binary: bool,
    groups: bool,
    compressed: bool,
}

impl Shape {
    /// The shape of an HDU.
    pub(crate) fn of(header: &Header, kind: &Kind) -> Self {
        let count = |keyword| header.integer(keyword).and_then(|n| u32::try_from(n).ok()).unwrap_or(0).min(999);
        let (axes, binary) = (count("NAXIS"), *kind == Kind::BinaryTable);
        let compressed = binary && header.cards().iter().any(|card| MARKS.contains(&card.keyword.as_str()));
        Self {
            axes,
            // a table has two, and need not say so
            compressed_axes: if header.get("ZNAXIS").is_some() { count("ZNAXIS") } else { 2 },
            fields: count("TFIELDS"),
            primary: *kind == Kind::Primary,
            array: axes > 0 && matches!(kind, Kind::Primary | Kind::Image) || compressed,
            ascii: *kind == Kind::AsciiTable,
            binary,
            groups: *kind == Kind::Primary && header.integer("NAXIS1") == Some(0),
            compressed,
        }
    }

    fn has(&self, scope: Scope) -> bool {
        match scope {
            Scope::Any => true,
            Scope::Sized => !self.primary || self.groups,
            Scope::Array => self.array,
            Scope::Groups => self.groups,
            Scope::Table => self.ascii || self.binary,
            Scope::AsciiTable => self.ascii,
            Scope::BinaryTable => self.binary,
            Scope::Compressed => self.compressed,
        }
    }

    /// What of the data rests on the keyword of these eight bytes, if anything does.
    pub(super) fn rests_on(&self, name: [u8; 8]) -> Option<Rests> {
        if KEYWORDS.iter().any(|keyword| self.has(keyword.scope) && self.is(keyword, name)) {
            return Some(Rests::Data);
        }
        is_coordinate(name).then_some(Rests::Coordinates)
    }

    fn is(&self, keyword: &Keyword, name: [u8; 8]) -> bool {
        let (root, tail) = name.split_at(keyword.root.len());
        root == keyword.root && self.is_tail(keyword, tail)
    }

    /// Whether these bytes may follow the root: blanks, or the index of something that is there.
    fn is_tail(&self, keyword: &Keyword, tail: &[u8]) -> bool {
        let last = match keyword.index {
            Index::None => return tail.iter().all(|&byte| byte == b' '),
            Index::Axis => self.axes,
            Index::Column => self.fields,
            Index::CompressedAxis => self.compressed_axes,
            Index::Open => 999,
        };
        index(tail).is_some_and(|index| (1..=last).contains(&index))
    }

    /// A keyword of the data that one damaged byte could have made this one, which is none. Where only letters and digits
    /// are seen, it must be one damaged bit: another letter may be another keyword. `is_free` says whether a keyword is
    /// missing in the header.
    pub(super) fn damaged(&self, name: [u8; 8], is_free: impl Fn([u8; 8]) -> bool) -> Option<[u8; 8]> {
        let plain = is_plain(&name);
        let one_off = |a: u8, b: u8| if plain { (a ^ b).is_power_of_two() } else { a != b };
        KEYWORDS.iter().filter(|keyword| keyword.guessed && self.has(keyword.scope)).find_map(|keyword| {
            let length = keyword.root.len();
            let mut wrong = (0..length).filter(|&at| name[at] != keyword.root[at]);
            let mut meant = name;
            match (wrong.next(), wrong.next()) {
                (Some(at), None) if one_off(name[at], keyword.root[at]) => {
                    meant[at] = keyword.root[at];
                    (self.is_tail(keyword, &name[length..]) && is_free(meant)).then_some(meant)
                }
                (None, _) => (length..8).find_map(|at| {
                    let repaired = b"0123456789 ".iter().filter(|&&byte| one_off(name[at], byte));
                    repaired.copied().find_map(|byte| {
                        meant = name;
                        meant[at] = byte;
                        (self.is_tail(keyword, &meant[length..]) && is_free(meant)).then_some(meant)
                    })
                }),
                _ => None,
            }
        })
    }
}

/// The keyword that is meant where lower case, blanks, a misplaced `=` or zeros before the index hide it from readers that
/// go by the standard. The same eight bytes if nothing does.
pub(super) fn spelled_out(name: [u8; 8]) -> [u8; 8] {
    let mut meant = [b' '; 8];
    let mut length = 0;
    for (at, &byte) in name.iter().enumerate().take_while(|(_, byte)| **byte != b'=') {
        let before_index = byte == b'0' && meant[..length].last().is_some_and(u8::is_ascii_uppercase);
        if byte != b' ' && !(before_index && name[at + 1..].iter().any(u8::is_ascii_digit)) {
            meant[length] = byte.to_ascii_uppercase();
            length += 1;
        }
    }
    meant
}

/// Whether the bytes are those of a keyword: A-Z, 0-9, `-` and `_`, filled up with blanks.
pub(super) fn is_plain(name: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    name.trim_ascii_end().iter().all(allowed)
}

/// An index without zeros before it, filled up with blanks.
fn index(tail: &[u8]) -> Option<u32> {
    let digits = tail.trim_ascii_end();
    let right = digits.iter().all(u8::is_ascii_digit) && digits.first() != Some(&b'0');
    std::str::from_utf8(digits).ok().filter(|_| right)?.parse().ok()
}

#[derive(Clone, Copy, Debug)]
enum Scope {
    Any,
    /// What has PCOUNT and GCOUNT: extensions and random groups.
    Sized,
    /// Images, also compressed ones.
    Array,
    Groups,
    Table,
    AsciiTable,
    BinaryTable,
    /// Images and tables compressed into a binary table: section 10, and ZFITS.
    Compressed,
}

#[derive(Clone, Copy, Debug)]
enum Index {
    None,
    Axis,
    Column,
    CompressedAxis,
    Open,
}

#[derive(Clone, Copy, Debug)]
struct Keyword {
    root: &'static [u8],
    index: Index,
    scope: Scope,
    /// Whether a keyword near it is taken for a damaged one here. Of the sums `sums.rs` says so.
    guessed: bool,
}

const fn keyword(root: &'static str, index: Index, scope: Scope) -> Keyword {
    Keyword { root: root.as_bytes(), index, scope, guessed: true }
}

/// What tells that a table holds something compressed.
const MARKS: [&str; 9] =
    ["ZIMAGE", "ZTABLE", "ZCMPTYPE", "ZBITPIX", "ZNAXIS", "ZNAXIS2", "ZTILELEN", "ZHEAPPTR", "ZFORM1"];

/// On these the data rest (sections 4.4.1, 4.4.2.5 to 4.4.2.7, 6, 7 and 10, and ZFITS).
const KEYWORDS: &[Keyword] = &[
    keyword("BITPIX", Index::None, Scope::Any),
    keyword("NAXIS", Index::None, Scope::Any),
    keyword("NAXIS", Index::Axis, Scope::Any),
    keyword("PCOUNT", Index::None, Scope::Sized),
    keyword("GCOUNT", Index::None, Scope::Sized),
    keyword("EXTNAME", Index::None, Scope::Any),
    Keyword { guessed: false, ..keyword("CHECKSUM", Index::None, Scope::Any) },
    Keyword { guessed: false, ..keyword("DATASUM", Index::None, Scope::Any) },
    keyword("BSCALE", Index::None, Scope::Array),
    keyword("BZERO", Index::None, Scope::Array),
    keyword("BLANK", Index::None, Scope::Array),
    keyword("BUNIT", Index::None, Scope::Array),
    keyword("GROUPS", Index::None, Scope::Groups),
    keyword("PTYPE", Index::Open, Scope::Groups),
    keyword("PSCAL", Index::Open, Scope::Groups),
    keyword("PZERO", Index::Open, Scope::Groups),
    keyword("TFIELDS", Index::None, Scope::Table),
    keyword("TFORM", Index::Column, Scope::Table),
    keyword("TTYPE", Index::Column, Scope::Table),
    keyword("TUNIT", Index::Column, Scope::Table),
    keyword("TSCAL", Index::Column, Scope::Table),
    keyword("TZERO", Index::Column, Scope::Table),
    keyword("TNULL", Index::Column, Scope::Table),
    keyword("TBCOL", Index::Column, Scope::AsciiTable),
    keyword("TDIM", Index::Column, Scope::BinaryTable),
    keyword("THEAP", Index::None, Scope::BinaryTable),
    keyword("ZIMAGE", Index::None, Scope::Compressed),
    keyword("ZTABLE", Index::None, Scope::Compressed),
    keyword("ZCMPTYPE", Index::None, Scope::Compressed),
    keyword("ZBITPIX", Index::None, Scope::Compressed),
    keyword("ZNAXIS", Index::None, Scope::Compressed),
    keyword("ZNAXIS", Index::CompressedAxis, Scope::Compressed),
    keyword("ZTILE", Index::CompressedAxis, Scope::Compressed),
    keyword("ZNAME", Index::Open, Scope::Compressed),
    keyword("ZVAL", Index::Open, Scope::Compressed),
    keyword("ZMASKCMP", Index::None, Scope::Compressed),
    keyword("ZQUANTIZ", Index::None, Scope::Compressed),
    keyword("ZDITHER0", Index::None, Scope::Compressed),
    keyword("ZSCALE", Index::None, Scope::Compressed),
    keyword("ZZERO", Index::None, Scope::Compressed),
    keyword("ZBLANK", Index::None, Scope::Compressed),
    keyword("ZPCOUNT", Index::None, Scope::Compressed),
    keyword("ZGCOUNT", Index::None, Scope::Compressed),
    keyword("ZTHEAP", Index::None, Scope::Compressed),
    keyword("ZTILELEN", Index::None, Scope::Compressed),
    keyword("ZFORM", Index::Column, Scope::Compressed),
    keyword("ZCTYP", Index::Column, Scope::Compressed),
    keyword("ZHEAPPTR", Index::None, Scope::Compressed),
    keyword("ZSHRINK", Index::None, Scope::Compressed),
    keyword("PBFHEAD", Index::None, Scope::Compressed),
    keyword("TPBID", Index::Column, Scope::Compressed),
];

/// Times and coordinates without an index.
const FRAME: [&[u8]; 15] = [
    b"TIMESYS",
    b"TIMEUNIT",
    b"TIMEOFFS",
    b"TREFPOS",
    b"MJDREF",
    b"MJDREFI",
    b"MJDREFF",
    b"JDREF",
    b"JDREFI",
    b"JDREFF",
    b"DATEREF",
    b"WCSAXES",
    b"RADESYS",
    b"EQUINOX",
    b"TIMEZERO",
];

/// Coordinates with the index of an axis or a column, and perhaps the letter of an alternative.
const AXES: [&[u8]; 12] = [
    b"CTYPE", b"CUNIT", b"CRVAL", b"CRPIX", b"CDELT", b"CROTA", b"TCTYP", b"TCUNI", b"TCRVL", b"TCRPX", b"TCDLT",
    b"TRPOS",
];

fn is_coordinate(name: [u8; 8]) -> bool {
    let name = name.trim_ascii_end();
    if FRAME.contains(&name) {
        return true;
    }
    let name = match name {
        [rest @ .., b'A'..=b'Z'] => rest,
        whole => whole,
    };
    if let Some(pair) = name.strip_prefix(b"PC").or_else(|| name.strip_prefix(b"CD")) {
        let mut indices = pair.split(|&byte| byte == b'_').map(index);
        return matches!((indices.next(), indices.next(), indices.next()), (Some(Some(_)), Some(Some(_)), None));
    }
    AXES.iter().any(|root| name.strip_prefix(*root).is_some_and(|tail| index(tail).is_some()))
}
