//! CFITSIO against our walker: over files as ACADA writes them, and over damaged ones.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use fits_verify::CARD;

fn check(bytes: &[u8]) -> Vec<String> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    cross_check(&file).unwrap().iter().map(ToString::to_string).collect()
}

fn fixtures() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut paths: Vec<PathBuf> = fs::read_dir(root.join("dl0")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.push(root.join("verify/intact.fits.fz"));
    paths.sort();
    let named = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let files = paths.iter().filter(|path| named(path).contains(".fits"));
    files.map(|path| (named(path), fs::read(path).unwrap())).collect()
}

#[test]
fn files_as_acada_writes_them_are_read_alike() {
    let files = fixtures();
    assert!(files.len() >= 6);
    for (name, bytes) in files {
        assert_eq!(check(&bytes), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_name_is_never_interpreted() {
    let directory = tempfile::tempdir().unwrap();
    let (_, bytes) = fixtures().pop().unwrap();
    for name in ["x.fits[99]", "mem:x", "x.fits[1][col a=b]", "|touch owned", "-", "x.fits+7", "http:x.fits"] {
        let path = directory.path().join(name);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(cross_check(&File::open(&path).unwrap()).unwrap(), [], "{name}");
    }
}

#[test]
fn what_is_no_fits_file_is_agreed_upon() {
    for bytes in [&b""[..], b"not a FITS file", &[0; 6000]] {
        assert_eq!(check(bytes), Vec::<String>::new());
    }
}

#[test]
fn a_difference_is_told() {
    // CFITSIO reads a gzip file as what is in it
    let gzip = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/verify/gzip.bin")).unwrap();
    let told = check(&gzip);
    assert_eq!(told, ["number of HDUs: we read 0, CFITSIO reads 3"]);
}

/// Our findings in headers which CFITSIO may see otherwise, and why. The HDUs of a file that we accept are the same for
/// both: the last of these, which are warnings, concern single keywords.
const REASONS: &[(&str, &str)] = &[
    ("not-fits", "CFITSIO unpacks a compressed file, and takes a damaged SIMPLE for one"),
    ("mandatory-missing", "CFITSIO opens no HDU without them; we go on and judge the rest"),
    ("mandatory-value", "CFITSIO takes its default for a value it cannot read, or stops; we reject it"),
    ("mandatory-order", "CFITSIO stops at an HDU whose first cards are not in order; we judge the rest"),
    ("mandatory-conflict", "of two values one is as good as the other"),
    ("column-format", "CFITSIO opens no table with a column it does not know"),
    ("row-width", "CFITSIO opens no table whose columns do not fill its rows"),
    ("invalid-header", "CFITSIO reads control characters and open strings as far as it can"),
    ("keyword-damaged", "CFITSIO does not see what the keyword was, as we say, and misses what rests on it"),
    ("trailing-data", "an HDU whose first card is damaged is no HDU for us"),
    ("truncated", "a damaged length makes the file too short; CFITSIO looks only at headers"),
    ("keyword-name", "CFITSIO ends a keyword at its first blank; the standard knows no such keyword"),
    ("value-indicator", "CFITSIO takes a keyword for there whatever is in columns 9 and 10"),
];

/// Gives the disagreements about these bytes, unless our reason to reject them explains it.
fn unexplained(bytes: &[u8]) -> Vec<String> {
    let told = check(bytes);
    if told.is_empty() {
        return told;
    }
    let mut walker = Walker::new();
    walker.feed(bytes);
    let walk = walker.finish();
    let codes: Vec<_> = walk.problems.iter().chain(&walk.warnings).map(|finding| finding.code).collect();
    let explained = REASONS.iter().any(|(code, _)| codes.contains(code));
    if explained { Vec::new() } else { told.iter().map(|line| format!("{line} ({codes:?})")).collect() }
}

/// Where the header cards of a file lie.
fn cards(bytes: &[u8]) -> Vec<usize> {
    let mut walker = Walker::new();
    walker.feed(bytes);
    let headers = walker.finish().hdus;
    let cards = headers.iter().flat_map(|hdu| (hdu.header_offset..hdu.data_offset).step_by(CARD));
    let cards = cards.map(|at| usize::try_from(at).unwrap());
    cards.filter(|&at| bytes[at] != b' ').collect()
}

#[test]
fn a_cut_file_is_read_alike() {
    let (_, intact) = fixtures().pop().unwrap();
    for length in (0..intact.len()).step_by(720).chain([1, 79, 81, 2880, 5760]) {
        assert_eq!(unexplained(&intact[..length]), Vec::<String>::new(), "cut to {length}");
    }
}

#[test]
fn changed_cards_are_read_alike_or_the_file_is_rejected_for_them() {
    let (_, intact) = fixtures().pop().unwrap();
    let cards = cards(&intact);
    assert!(cards.len() > 100);
    let values = [
        "=",
        "= 'x'",
        "= 99999999999999999999",
        "=                   -1",
        "=\t1",
        "= 1.5",
        "=1",
        "  1",
        "= T / c",
        "= 'open",
    ];
    for at in cards {
        let keyword = intact[at..at + 8].to_vec();
        let changed = values.iter().map(|value| [&keyword, value.as_bytes()].concat());
        for card in changed.chain([b"COMMENT x".to_vec(), Vec::new()]) {
            let mut bytes = intact.clone();
            bytes[at..at + CARD].fill(b' ');
            bytes[at..at + card.len()].copy_from_slice(&card);
            assert_eq!(unexplained(&bytes), Vec::<String>::new(), "{:?} at byte {at}", String::from_utf8_lossy(&card));
        }
    }
}

#[test]
fn flipped_bits_in_headers_are_read_alike_or_the_file_is_rejected_for_them() {
    let (_, intact) = fixtures().pop().unwrap();
    let mut found = Vec::new();
    for at in cards(&intact) {
        // keyword, value indicator and value; a prime stride touches every column sooner or later
        for column in (at % 7..40).step_by(7) {
            let mut bytes = intact.clone();
            bytes[at + column] ^= 1 << (at / CARD % 7);
            found.extend(unexplained(&bytes).iter().map(|line| format!("byte {}: {line}", at + column)));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
