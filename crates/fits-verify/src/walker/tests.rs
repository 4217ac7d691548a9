//! The walker over whole, damaged and hostile files.

use proptest::prelude::*;

use super::*;

/// An HDU of these cards, followed by a data unit of `data` and its padding.
fn hdu(cards: &[&str], data: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = cards.iter().chain(&["END"]).flat_map(|card| format!("{card:80}").into_bytes()).collect();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

const PRIMARY: [&str; 4] = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "MARK    = 1"];

fn image(length: usize) -> Vec<u8> {
    let axis = format!("NAXIS1  = {length}");
    hdu(&["XTENSION= 'IMAGE'", "BITPIX  = 8", "NAXIS   = 1", &axis, "EXTNAME = 'IMG'"], &vec![7; length])
}

fn walk(bytes: &[u8]) -> Walk {
    let mut walker = Walker::new().keeping("MARK");
    walker.feed(bytes);
    walker.finish()
}

/// What a person reads who delivered something else, with its line breaks as they are usually written.
#[test]
fn what_a_file_begins_with_is_written_out_once() {
    let said = walk(b"# title\n\"text\"").problems.remove(0).to_string();
    assert!(said.contains(r##"it begins with "# title\n\"text\"" where"##), "{said}");
}

fn codes(walk: &Walk) -> Vec<&'static str> {
    walk.problems.iter().map(|problem| problem.code).collect()
}

#[test]
fn a_whole_file_is_complete() {
    let bytes = [hdu(&PRIMARY, &[]), image(5000), image(2880), image(0)].concat();
    let walk = walk(&bytes);
    assert_eq!((codes(&walk), walk.complete, walk.trailing_bytes), (vec![], true, 0));
    let sizes: Vec<_> = walk.hdus.iter().map(|hdu| hdu.layout.data_bytes).collect();
    assert_eq!(sizes, [0, 5000, 2880, 0]);
    assert_eq!(walk.kept.map(|(index, _)| index), Some(0));
}

#[test]
fn an_endless_header_is_given_up_within_its_bound() {
    let mut walker = Walker::new().keeping("MARK");
    walker.feed(&hdu(&PRIMARY, &[])[..80]);
    for _ in 0..(HEADER_MAX / CARD + 100) {
        walker.feed(&[b' '; CARD]);
    }
    assert!(matches!(walker.stage, Stage::Lost));
    assert_eq!(codes(&walker.finish()), ["invalid-header"]);
}

#[test]
fn a_claimed_exabyte_costs_nothing() {
    let bytes = hdu(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 1", "NAXIS1  = 1152921504606846976"], &[1; 100]);
    let walk = walk(&bytes);
    assert_eq!((codes(&walk), walk.complete), (vec!["truncated"], false));
}

#[test]
fn ten_thousand_hdus_are_walked_and_too_many_are_not() {
    let many: Vec<u8> = [hdu(&PRIMARY, &[]), image(0).repeat(10_000)].concat();
    assert_eq!(walk(&many).hdus.len(), 10_001);
    let (mut walker, extension) = (Walker::new().keeping("MARK"), image(0));
    walker.feed(&hdu(&PRIMARY, &[]));
    for _ in 0..HDUS_MAX {
        walker.feed(&extension);
    }
    let walk = walker.finish();
    assert_eq!((codes(&walk), walk.hdus.len()), (vec!["too-many-hdus"], HDUS_MAX));
}

#[test]
fn an_ascii_table_is_padded_with_blanks() {
    let cards = [
        "XTENSION= 'TABLE'",
        "BITPIX  = 8",
        "NAXIS   = 2",
        "NAXIS1  = 10",
        "NAXIS2  = 1",
        "PCOUNT  = 0",
        "GCOUNT  = 1",
        "TFIELDS = 0",
    ];
    let zeros = [hdu(&PRIMARY, &[]), hdu(&cards, &[b'x'; 10])].concat();
    assert_eq!(codes(&walk(&zeros)), ["padding"]);
    let blanks = [hdu(&PRIMARY, &[]), hdu(&cards, &[[b'x'; 10].as_slice(), &[b' '; 2870]].concat())].concat();
    assert_eq!(codes(&walk(&blanks)), [""; 0]);
}

#[test]
fn what_follows_without_xtension_is_trailing() {
    for tail in [&b"\0"[..], b"XTENS\0", &[b'x'; 3000]] {
        let bytes = [&hdu(&PRIMARY, &[])[..], tail].concat();
        let walk = walk(&bytes);
        assert_eq!(
            (codes(&walk), walk.trailing_bytes, walk.complete),
            (vec!["trailing-data"], tail.len() as u64, true)
        );
    }
    let started = [&hdu(&PRIMARY, &[])[..], b"XTENS"].concat();
    assert_eq!(codes(&walk(&started)), ["truncated"]);
}

/// Something that often looks like FITS: good HDUs with a few bytes changed, and cut somewhere.
fn nearly_fits() -> impl Strategy<Value = Vec<u8>> {
    let cards = prop::collection::vec(
        prop::sample::select(vec![
            "EXTNAME = 'Events'",
            "CHECKSUM= '0000000000000000'",
            "DATASUM = '0'",
            "COMMENT x",
            "CONTINUE  'y&'",
            "MARK    = 5",
            "PCOUNT  = 9223372036854775807",
            "GCOUNT  = -1",
            "NAXIS1  = 99999999999999999999",
            "HIERARCH A B = 'x&'",
            "K       = 'open",
        ]),
        0..6,
    );
    let parts = (
        cards,
        0_usize..7000,
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        any::<prop::sample::Index>(),
        any::<bool>(),
    );
    parts.prop_map(|(cards, length, changes, cut, whole)| {
        let mut mandatory = PRIMARY.to_vec();
        mandatory.extend(cards);
        let mut bytes = [hdu(&mandatory, &[]), image(length), image(10)].concat();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let end = if whole { bytes.len() } else { cut.index(bytes.len()) };
        bytes.truncate(end);
        bytes
    })
}

proptest! {
    #[test]
    fn any_split_gives_the_same_walk(bytes in nearly_fits(), cuts in prop::collection::vec(0_usize..4000, 0..20)) {
        let mut walker = Walker::new().keeping("MARK");
        let mut rest = &bytes[..];
        for cut in cuts {
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            walker.feed(head);
            rest = tail;
        }
        walker.feed(rest);
        prop_assert_eq!(walker.finish(), walk(&bytes));
    }

    #[test]
    fn byte_by_byte_gives_the_same_walk(bytes in nearly_fits()) {
        let mut walker = Walker::new().keeping("MARK");
        for byte in &bytes {
            walker.feed(std::slice::from_ref(byte));
        }
        prop_assert_eq!(walker.finish(), walk(&bytes));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..9000), fits in any::<bool>()) {
        let start: &[u8] = if fits { b"SIMPLE  = " } else { b"" };
        let walk = walk(&[start, &bytes].concat());
        prop_assert!(!walk.complete || walk.hdus.iter().all(|hdu| hdu.layout.data_bytes < 9000));
    }
}
