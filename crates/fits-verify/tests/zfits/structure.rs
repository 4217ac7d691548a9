//! The structure of real files, whole and damaged.

use std::fmt::Write as _;

use fits_verify::Walker;
use proptest::prelude::*;

use crate::bytes::{Noise, agree, codes, fixture, maps, number, paths, set, tables, walk};

#[test]
fn real_files_have_nothing_wrong() {
    for path in paths() {
        let walk = walk(&std::fs::read(&path).unwrap());
        assert!(walk.complete, "{}", path.display());
        assert_eq!((walk.problems, walk.warnings), (vec![], vec![]), "{}", path.display());
    }
}

/// Keywords whose value the data must bear out.
#[test]
fn every_number_of_the_header_is_held_against_the_data() {
    let original = fixture("SHOWER");
    for (table, map) in maps(&original).iter().enumerate() {
        for keyword in ["NAXIS1", "NAXIS2", "PCOUNT", "TFIELDS", "ZNAXIS1", "ZNAXIS2", "ZTILELEN", "ZHEAPPTR", "THEAP"]
        {
            for change in [-1_i64, 1, 2, 16, 1000] {
                let old = i64::try_from(number(&original, map.header.start, keyword)).unwrap();
                let mut bytes = original.clone();
                set(&mut bytes, map.header.start, keyword, &(old + change).to_string());
                agree(&mut bytes, map);
                let walk = walk(&bytes);
                // one tile of fewer rows than ZTILELEN says nothing about it
                let silent = keyword == "ZTILELEN" && number(&original, map.header.start, "NAXIS2") == 1;
                let rows = number(&original, map.header.start, "ZNAXIS2");
                if silent && old + change >= i64::try_from(rows).unwrap() {
                    assert_eq!(codes(&walk.problems), [""; 0]);
                } else {
                    assert!(!walk.problems.is_empty(), "table {table}: {keyword} {change:+}");
                }
            }
        }
    }
}

#[test]
fn every_flip_in_a_catalog_is_found_without_any_checksum() {
    for original in paths().iter().flat_map(|path| tables(&std::fs::read(path).unwrap())) {
        let map = &maps(&original)[0];
        for at in map.catalog.start..map.heap.start {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = original.clone();
                bytes[at] ^= flip;
                agree(&mut bytes, map);
                let walk = walk(&bytes);
                assert!(codes(&walk.problems).contains(&"zfits-structure"), "byte {at} ^ {flip:#x}");
                assert!(codes(&walk.problems).iter().all(|code| *code == "zfits-structure"), "{:?}", walk.problems);
            }
        }
    }
}

#[test]
fn every_flip_in_a_header_or_a_catalog_is_found_with_checksums() {
    let mut noise = Noise(0x1234_5678_9abc_def1);
    for original in paths().iter().flat_map(|path| tables(&std::fs::read(path).unwrap())) {
        for at in 0..maps(&original)[0].heap.start {
            let mut bytes = original.clone();
            let flip = noise.flip();
            bytes[at] ^= flip;
            assert!(!walk(&bytes).problems.is_empty(), "byte {at} ^ {flip:#x}");
        }
    }
}

/// The bit of lower case, the smallest change and the largest: those that are likeliest to look right.
#[test]
fn every_likely_flip_in_a_header_is_found_with_checksums() {
    for original in tables(&fixture("SUBARRAY")) {
        for at in 0..maps(&original)[0].heap.start {
            for flip in [1, 0x20, 0xff] {
                let mut bytes = original.clone();
                bytes[at] ^= flip;
                assert!(!walk(&bytes).problems.is_empty(), "byte {at} ^ {flip:#x}");
            }
        }
    }
}

/// Without sums a keyword that is damaged in one bit must not hide what it says about the data.
#[test]
fn every_flip_in_a_keyword_on_which_data_rest_is_found_without_checksums() {
    let roots =
        ["ZTABLE", "ZNAXIS", "ZTILELEN", "ZHEAPPTR", "ZSHRINK", "ZFORM", "ZCTYP", "TFORM", "TTYPE", "TZERO", "THEAP"];
    for mut original in tables(&fixture("SUBARRAY")) {
        let header = maps(&original)[0].header.clone();
        let cards: Vec<_> = header.step_by(80).collect();
        for card in &cards {
            if original[*card..].starts_with(b"CHECKSUM") || original[*card..].starts_with(b"DATASUM") {
                original[*card..card + 10].copy_from_slice(b"COMMENT   ");
            }
        }
        assert_eq!(codes(&walk(&original).problems), [""; 0]);
        let mut other_columns = 0;
        for card in cards.iter().filter(|card| roots.iter().any(|root| original[**card..].starts_with(root.as_bytes())))
        {
            for (at, bit) in (0..10).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                let mut bytes = original.clone();
                bytes[card + at] ^= 1 << bit;
                if walk(&bytes).problems.is_empty() {
                    // the zero point of another column is one, too
                    let name = bytes[*card..card + 8].escape_ascii().to_string();
                    assert!(name.starts_with("TZERO"), "{name}");
                    other_columns += 1;
                }
            }
        }
        assert!(other_columns < 20, "{other_columns}");
    }
}

#[test]
fn flips_in_the_heap_are_found_with_checksums() {
    for path in paths() {
        let original = std::fs::read(&path).unwrap();
        let mut noise = Noise(0x2545_f491_4f6c_dd1d);
        for map in maps(&original) {
            for _ in 0..500 {
                let mut bytes = original.clone();
                let at = map.heap.start + noise.below(map.heap.len());
                bytes[at] ^= noise.flip();
                assert!(!walk(&bytes).problems.is_empty(), "byte {at} of {}", path.display());
            }
        }
    }
}

#[test]
fn many_findings_are_reported_in_few_words() {
    let original = fixture("SHOWER");
    let map = &maps(&original)[2];
    let mut bytes = original.clone();
    bytes[map.catalog.clone()].fill(0xff);
    let found = walk(&bytes).problems.into_iter().filter(|problem| problem.code == "zfits-structure");
    let texts: Vec<_> = found.map(|problem| problem.to_string()).collect();
    assert_eq!(texts.len(), 9);
    assert!(texts[8].contains("and 13 more findings"), "{}", texts[8]);
}

#[test]
fn a_claimed_terabyte_is_refused_at_once() {
    let original = fixture("SHOWER");
    let map = &maps(&original)[2];
    let mut bytes = original.clone();
    let (tiles, rows) = (1_u64 << 33, 1_u64 << 37);
    set(&mut bytes, map.header.start, "NAXIS2", &tiles.to_string());
    set(&mut bytes, map.header.start, "ZNAXIS2", &rows.to_string());
    let walk = walk(&bytes[..map.heap.start]);
    assert_eq!(codes(&walk.problems), ["zfits-structure", "truncated"]);
    assert!(walk.problems[0].what.contains("more than the 4194304 blocks allowed"), "{}", walk.problems[0]);
}

#[test]
fn other_compressed_tables_are_left_alone() {
    let original = fixture("SUBARRAY");
    let map = &maps(&original)[1];
    let mut bytes = original.clone();
    for column in 1..=4 {
        set(&mut bytes, map.header.start, &format!("ZCTYP{column}"), "'GZIP_2'");
    }
    bytes[map.catalog.start] = 0xff;
    agree(&mut bytes, map);
    assert_eq!(codes(&walk(&bytes).problems), [""; 0]);
    // and so is the catalog of every n-th tile
    let mut bytes = original.clone();
    set(&mut bytes, map.header.start, "ZSHRINK", "2");
    bytes[map.catalog.start] = 0xff;
    agree(&mut bytes, map);
    let walk = walk(&bytes);
    assert_eq!((codes(&walk.problems), codes(&walk.warnings)), (vec![], vec!["zfits-not-judged"]));
}

#[test]
fn the_texts_name_table_tile_column_and_byte() {
    let original = fixture("SHOWER");
    let map = &maps(&original)[2];
    let heap = map.heap.start;
    let cases: [(&str, usize, u8); 9] = [
        ("a catalog size", map.catalog.start + 7, 1),
        ("a catalog offset", map.catalog.start + 16 * 3 + 15, 4),
        ("the gap", map.catalog.end + 5, 0x40),
        ("the magic", heap, 0x20),
        ("the rows", heap + 4, 1),
        ("a tile's size", heap + 8, 1),
        ("a block's size", heap + 16, 1),
        ("the order", heap + 24, 1),
        ("the number of values", heap + 16 + 14 + 4, 1),
    ];
    let mut texts = String::new();
    for (name, at, flip) in cases {
        let mut bytes = original.clone();
        bytes[at] ^= flip;
        agree(&mut bytes, map);
        for problem in walk(&bytes).problems {
            writeln!(texts, "{name}: {}: {problem}; {}", problem.code, problem.remedy).unwrap();
        }
    }
    insta::assert_snapshot!(texts);
}

/// A real file with a few bytes of its tables changed, and cut somewhere or not.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop::sample::select(vec!["SUBARRAY", "CAL", "SHOWER"]);
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 0..5);
    (kind, changes, any::<prop::sample::Index>(), prop::bool::weighted(0.7)).prop_map(|(kind, changes, cut, whole)| {
        let original = fixture(kind);
        let maps = maps(&original);
        let mut bytes = original;
        for (index, byte, near) in changes {
            // half of them where lengths and counts are
            let map = &maps[index.index(maps.len())];
            let range = if near { map.catalog.start..map.heap.start + 120 } else { map.header.start..map.heap.end };
            let at = range.start + index.index(range.len());
            bytes[at] = byte;
        }
        let end = if whole { bytes.len() } else { cut.index(bytes.len()) };
        bytes.truncate(end);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_split_gives_the_same_findings_and_blocks(bytes in damaged(), cuts in prop::collection::vec(1_usize..3000, 1..40)) {
        let walked = |sizes: &mut dyn Iterator<Item = usize>| {
            let (send, blocks) = std::sync::mpsc::channel();
            let mut walker = Walker::new().giving_blocks(move |block| send.send(block).unwrap());
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (head, tail) = rest.split_at(sizes.next().unwrap_or(usize::MAX).min(rest.len()));
                walker.feed(head);
                rest = tail;
            }
            let walk = walker.finish();
            let blocks: Vec<_> = blocks.iter().map(|block| (block.offset, block.column, block.processes, block.payload)).collect();
            (walk, blocks)
        };
        let whole = walked(&mut std::iter::empty());
        prop_assert_eq!(&walked(&mut cuts.iter().copied().cycle()), &whole);
        prop_assert_eq!(&walked(&mut std::iter::repeat(1)), &whole);
    }
}
