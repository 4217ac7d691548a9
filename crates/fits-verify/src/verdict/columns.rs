//! The columns of a table must fill its rows (sections 7.2.1 and 7.3.1).

use super::judge::Judge;
use crate::form::{AsciiForm, BinaryForm};
use crate::layout::Kind;

/// What keywords of columns begin with.
const OF_COLUMNS: [&str; 9] = ["TFORM", "TBCOL", "TTYPE", "TUNIT", "TSCAL", "TZERO", "TNULL", "TDIM", "TDISP"];

/// Judges TFIELDS, `TFORMn`, `TBCOLn` and THEAP.
pub(super) fn check(judge: &mut Judge<'_>, section: &'static str) {
    if judge.header.get("TFIELDS").is_none() {
        return; // said already
    }
    let Some(fields) = judge.integer("TFIELDS").filter(|fields| (0..=999).contains(fields)) else {
        let what = "must be an integer between 0 and 999".to_owned();
        return judge.reject("mandatory-value", "TFIELDS", what, Some(section));
    };
    judge.beyond_count(&OF_COLUMNS.map(|root| (root, fields)));
    let row = judge.integer("NAXIS1").unwrap_or_default();
    if *judge.kind == Kind::AsciiTable {
        for column in 1..=fields {
            ascii(judge, column, row);
        }
        return;
    }
    let mut width = Some(0_i128);
    for column in 1..=fields {
        let bytes = form(judge, column, |form| BinaryForm::parse(form).map(|form| form.bytes()));
        width = width.zip(bytes).map(|(width, bytes)| width + bytes);
    }
    if let Some(width) = width.filter(|width| *width != row) {
        let what = format!("is {row}, but the columns are {width} bytes wide together");
        judge.reject("row-width", "NAXIS1", what, Some(section));
    }
    heap(judge, row);
}

/// Reads `TFORMn`; what is wrong with it is said here.
fn form(judge: &mut Judge<'_>, column: i128, width: fn(&str) -> Option<i128>) -> Option<i128> {
    let keyword = format!("TFORM{column}");
    if judge.header.get(&keyword).is_none() {
        judge.reject("mandatory-missing", &keyword, "is missing".to_owned(), None);
        return None;
    }
    let text = judge.header.text(&keyword);
    let bytes = text.and_then(width);
    if bytes.is_none() {
        let what = match text {
            Some(text) => format!("is {text:?}, which is not the format of a column"),
            None => "is not a string".to_owned(),
        };
        let section = if *judge.kind == Kind::AsciiTable { "7.2.1" } else { "7.3.1" };
        judge.reject("column-format", &keyword, what, Some(section));
    }
    bytes
}

fn ascii(judge: &mut Judge<'_>, column: i128, row: i128) {
    let width = form(judge, column, |form| AsciiForm::parse(form).map(|form| form.width.into()));
    let keyword = format!("TBCOL{column}");
    if judge.header.get(&keyword).is_none() {
        return judge.reject("mandatory-missing", &keyword, "is missing".to_owned(), Some("7.2.1"));
    }
    match (judge.integer(&keyword), width) {
        (Some(start), Some(width)) if start < 1 || start - 1 + width > row => {
            let what = format!("is {start}, and {width} characters from there do not lie within rows of {row}");
            judge.reject("row-width", &keyword, what, Some("7.2.1"));
        }
        (None, _) => judge.reject("column-format", &keyword, "is not an integer".to_owned(), Some("7.2.1")),
        _ => {}
    }
}

/// THEAP lies between the end of the rows and the end of the data. Compressed tables have a layout of their own.
fn heap(judge: &mut Judge<'_>, row: i128) {
    if judge.header.get("THEAP").is_none() || judge.header.logical("ZTABLE") == Some(true) {
        return;
    }
    let (Some(rows), Some(pcount)) = (judge.integer("NAXIS2"), judge.integer("PCOUNT")) else { return };
    let table = row.saturating_mul(rows);
    let range = table..=table.saturating_add(pcount);
    if !judge.integer("THEAP").is_some_and(|heap| range.contains(&heap)) {
        let what = format!("must lie between {} and {}, behind the rows", range.start(), range.end());
        judge.reject("heap-pointer", "THEAP", what, None);
    }
}
