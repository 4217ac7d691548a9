//! Which columns of a table are looked at, and where they lie in a row.

use super::descriptor::Descriptor;
use super::field::{Content, Field};
use super::text::Kind;
use crate::form::{AsciiForm, BinaryForm};
use crate::header::Header;
use crate::layout::{Kind as Of, Layout};

/// The widest number that is read: wider cells of an ASCII table are looked at as text.
const NUMBER_MAX: u32 = 64;

/// The columns in the order of their bytes, and what stands for the gaps between them. `None` if the table cannot be read;
/// why not, is said where its header is judged.
pub(super) fn of(header: &Header, layout: &Layout, width: u64, values: bool) -> Option<(Vec<Field>, Option<Field>)> {
    let count = header.integer("TFIELDS").filter(|count| (0..=999).contains(count))?;
    match layout.kind {
        Of::BinaryTable if !is_compressed(header) => Some((binary(header, layout, width, values, count)?, None)),
        Of::AsciiTable if values => {
            let gaps = Field::new(0, 0, Content::Gap, "between the columns".to_owned());
            Some((ascii(header, count)?, Some(gaps)))
        }
        _ => None,
    }
}

/// Compressed tables keep blocks of many rows in their heap. Compressed images are plain tables in this.
fn is_compressed(header: &Header) -> bool {
    header.logical("ZTABLE") == Some(true)
}

fn name(header: &Header, column: i128) -> String {
    match header.text(&format!("TTYPE{column}")) {
        Some(name) => format!("column {column} '{name}'"),
        None => format!("column {column}"),
    }
}

fn binary(header: &Header, layout: &Layout, width: u64, values: bool, count: i128) -> Option<Vec<Field>> {
    let rows = header.integer("NAXIS2").and_then(|rows| u64::try_from(rows).ok())?;
    let table = width.checked_mul(rows)?;
    let heap = header.integer("THEAP").and_then(|heap| u64::try_from(heap).ok()).unwrap_or(table);
    let heap = layout.data_bytes.checked_sub(heap)?;
    let (mut fields, mut start) = (Vec::new(), 0_u64);
    for column in 1..=count {
        let form = BinaryForm::parse(header.text(&format!("TFORM{column}"))?)?;
        let bytes = u64::try_from(form.bytes()).ok()?;
        let content = match form.kind {
            b'P' | b'Q' => Descriptor::of(form, heap).map(Content::Descriptor),
            b'L' if values => Some(Content::Logicals),
            b'A' if values => {
                let string = form.string.or_else(|| first_dimension(header, column)).unwrap_or(form.repeat);
                Some(Content::Text { string: string.max(1), ended: false })
            }
            b'X' if values && !form.repeat.is_multiple_of(8) => {
                Some(Content::Bits { unused: 0xff >> (form.repeat % 8) })
            }
            _ => None,
        };
        if let Some(content) = content.filter(|_| bytes > 0) {
            fields.push(Field::new(start, bytes, content, name(header, column)));
        }
        start = start.checked_add(bytes)?;
    }
    (start == width).then_some(fields)
}

/// The width of the strings in a cell, by `TDIMn`.
fn first_dimension(header: &Header, column: i128) -> Option<u64> {
    let text = header.text(&format!("TDIM{column}"))?;
    text.trim().strip_prefix('(')?.split([',', ')']).next()?.trim().parse().ok()
}

/// Columns of an ASCII table may overlap: what a column before it has, is looked at there.
fn ascii(header: &Header, count: i128) -> Option<Vec<Field>> {
    let mut found = Vec::new();
    for column in 1..=count {
        let form = AsciiForm::parse(header.text(&format!("TFORM{column}"))?)?;
        let start =
            header.integer(&format!("TBCOL{column}")).and_then(|start| u64::try_from(start).ok()?.checked_sub(1))?;
        found.push((start, form, column));
    }
    found.sort_by_key(|(start, ..)| *start);
    let (mut fields, mut end) = (Vec::new(), 0);
    for (start, form, column) in found {
        let (first, next) = (start.max(end), start + u64::from(form.width));
        if first >= next {
            continue;
        }
        let kind = match form.kind {
            _ if first > start || form.width > NUMBER_MAX => Kind::Text,
            b'A' => Kind::Text,
            b'I' => Kind::Integer,
            _ => Kind::Real,
        };
        let null = header.text(&format!("TNULL{column}")).map(|null| null.trim().as_bytes().to_vec());
        fields.push(Field::new(first, next - first, Content::Ascii { kind, null }, name(header, column)));
        end = next;
    }
    Some(fields)
}
