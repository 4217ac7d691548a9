//! Real files as bytes, and changes to them that no checksum sees.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use fits_verify::{Problem, Sum, Walk, Walker, encode_checksum};

const BLOCK: usize = 2880;
const CARD: usize = 80;

/// The compressed files of `fixtures`.
pub(crate) fn paths() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "fz")).collect();
    files.sort();
    assert_eq!(files.len(), 4);
    files
}

/// One of them, by a part of its name.
pub(crate) fn fixture(kind: &str) -> Vec<u8> {
    fs::read(paths().iter().find(|path| path.to_str().unwrap().contains(kind)).unwrap()).unwrap()
}

pub(crate) fn walk(bytes: &[u8]) -> Walk {
    let mut walker = Walker::new();
    walker.feed(bytes);
    walker.finish()
}

pub(crate) fn codes(problems: &[Problem]) -> Vec<&'static str> {
    problems.iter().map(|problem| problem.code).collect()
}

/// Where an HDU's header, catalog, gap and heap are.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    pub(crate) header: Range<usize>,
    pub(crate) catalog: Range<usize>,
    pub(crate) heap: Range<usize>,
}

/// The compressed tables of an intact file.
pub(crate) fn maps(bytes: &[u8]) -> Vec<Map> {
    let walk = walk(bytes);
    assert_eq!((codes(&walk.problems), walk.complete), (vec![], true));
    let tables = walk.hdus.iter().filter(|hdu| hdu.index > 0);
    let at = |offset| usize::try_from(offset).unwrap();
    let maps = tables.map(|hdu| {
        let (header, data) = (at(hdu.header_offset), at(hdu.data_offset));
        let catalog = data + number(bytes, header, "NAXIS1") * number(bytes, header, "NAXIS2");
        let heap = data + number(bytes, header, "ZHEAPPTR");
        Map { header: header..data, catalog: data..catalog, heap: heap..data + at(hdu.layout.data_bytes) }
    });
    maps.collect()
}

/// Each compressed table of a file as a file of its own: primary HDU and table.
pub(crate) fn tables(bytes: &[u8]) -> Vec<Vec<u8>> {
    let maps = maps(bytes);
    let primary = &bytes[..maps[0].header.start];
    let end = |map: &Map| map.heap.end.next_multiple_of(BLOCK);
    maps.iter().map(|map| [primary, &bytes[map.header.start..end(map)]].concat()).collect()
}

/// Position of a keyword's card.
pub(crate) fn card(bytes: &[u8], header: usize, keyword: &str) -> usize {
    let wanted = format!("{keyword:8}=");
    (header..bytes.len()).step_by(CARD).find(|&at| bytes[at..].starts_with(wanted.as_bytes())).unwrap()
}

pub(crate) fn number(bytes: &[u8], header: usize, keyword: &str) -> usize {
    let at = card(bytes, header, keyword);
    let value = std::str::from_utf8(&bytes[at + 10..at + CARD]).unwrap().split('/').next().unwrap();
    value.trim().parse().unwrap()
}

/// Writes a card anew.
pub(crate) fn set(bytes: &mut [u8], header: usize, keyword: &str, value: &str) {
    let at = card(bytes, header, keyword);
    bytes[at..at + CARD].copy_from_slice(format!("{:80}", format!("{keyword:8}= {value:>20}")).as_bytes());
}

/// Makes CHECKSUM and DATASUM of an HDU agree with its bytes again, as a writer would who meant it.
pub(crate) fn agree(bytes: &mut [u8], map: &Map) {
    let data = map.catalog.start..map.heap.end.next_multiple_of(BLOCK);
    let mut sum = Sum::default();
    sum.update(&bytes[data]);
    let header = map.header.clone();
    // in the place of the old value: nothing else of the header moves
    let at = card(bytes, header.start, "DATASUM");
    bytes[at + 10..at + 22].copy_from_slice(format!("'{:>10}'", sum.value()).as_bytes());
    let at = card(bytes, header.start, "CHECKSUM");
    bytes[at + 11..at + 27].copy_from_slice(b"0000000000000000");
    let mut total = Sum::default();
    total.update(&bytes[header]);
    bytes[at + 11..at + 27].copy_from_slice(encode_checksum(total.followed_by(&sum).value()).as_bytes());
}

/// Repeatable noise (xorshift); the seed is the test's own.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    /// A byte that changes another one when it is added with exclusive or.
    pub(crate) fn flip(&mut self) -> u8 {
        u8::try_from(1 + self.below(255)).unwrap()
    }
}
