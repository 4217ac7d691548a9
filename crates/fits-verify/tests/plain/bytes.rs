//! Files made of cards and data.

use fits_verify::{Problem, Walk, Walker};

pub(crate) const BLOCK: usize = 2880;
pub(crate) const CARD: usize = 80;

pub(crate) fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/fixtures/plain/{name}.fits", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A primary HDU without data, and behind it one with these cards and data.
pub(crate) fn file(cards: &[&str], data: &[u8]) -> Vec<u8> {
    let primary =
        ["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0"];
    let fill = if cards.iter().any(|card| card.contains("'TABLE ")) { b' ' } else { 0 };
    let mut bytes = Vec::new();
    for (cards, data) in [(&primary[..], &b""[..]), (cards, data)] {
        bytes.extend(cards.iter().chain(&["END"]).flat_map(|card| format!("{card:80}").into_bytes()));
        bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), fill);
    }
    bytes
}

/// The cards of a binary table of these columns, which fill its rows.
pub(crate) fn table(width: usize, rows: usize, heap: usize, more: &[&str]) -> Vec<String> {
    let columns = more.iter().filter(|card| card.starts_with("TFORM")).count();
    let number = |keyword: &str, number: usize| format!("{keyword:8}= {number:20}");
    let mandatory = [
        "XTENSION= 'BINTABLE'".to_owned(),
        number("BITPIX", 8),
        number("NAXIS", 2),
        number("NAXIS1", width),
        number("NAXIS2", rows),
        number("PCOUNT", heap),
        number("GCOUNT", 1),
        number("TFIELDS", columns),
    ];
    mandatory.into_iter().chain(more.iter().map(|card| (*card).to_owned())).collect()
}

/// A file with such a table.
pub(crate) fn table_file(width: usize, rows: usize, heap: usize, more: &[&str], data: &[u8]) -> Vec<u8> {
    let cards = table(width, rows, heap, more);
    let cards: Vec<&str> = cards.iter().map(String::as_str).collect();
    file(&cards, data)
}

/// What is found, in slices of this many bytes.
pub(crate) fn walk_in(bytes: &[u8], slice: usize, cells: bool) -> Walk {
    let mut walker = if cells { Walker::new().reading_cells() } else { Walker::new() };
    bytes.chunks(slice).for_each(|slice| walker.feed(slice));
    walker.finish()
}

pub(crate) fn walk(bytes: &[u8]) -> Walk {
    walk_in(bytes, usize::MAX, false)
}

/// The codes of problems and warnings, those about absent sums left out.
pub(crate) fn codes(walk: &Walk) -> (Vec<&'static str>, Vec<&'static str>) {
    let list = |problems: &[Problem]| {
        problems.iter().map(|problem| problem.code).filter(|code| *code != "checksum-absent").collect()
    };
    (list(&walk.problems), list(&walk.warnings))
}
