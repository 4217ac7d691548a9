//! Real files decoded, and changes that only decoding can see.

use std::sync::{Arc, Mutex};

use fits_verify::zfits::{Block, DecodeFindings, Rows};
use fits_verify::{Problem, Walk, Walker};

use crate::bytes::{Noise, agree, codes, fixture, maps, paths, tables, walk};

fn blocks(bytes: &[u8]) -> Vec<Block> {
    let (send, blocks) = std::sync::mpsc::channel();
    let mut walker = Walker::new().giving_blocks(move |block| send.send(block).unwrap());
    walker.feed(bytes);
    drop(walker.finish());
    blocks.iter().collect()
}

/// How closely a compressed table is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Depth {
    Checksums,
    Structure,
    Decode,
}

impl Depth {
    const ALL: [Self; 3] = [Self::Checksums, Self::Structure, Self::Decode];
}

fn examined(bytes: &[u8], depth: Depth) -> (Vec<Problem>, Vec<Problem>) {
    let findings = Arc::new(Mutex::new(DecodeFindings::default()));
    let mut walker = match depth {
        Depth::Checksums => Walker::new().checksums_only(),
        Depth::Structure => Walker::new(),
        Depth::Decode => {
            let findings = Arc::clone(&findings);
            Walker::new().giving_blocks(move |block| {
                if let Err(error) = block.check() {
                    findings.lock().unwrap().note(&block, &error);
                }
            })
        }
    };
    walker.feed(bytes);
    let mut walk = walker.finish();
    std::mem::take(&mut *findings.lock().unwrap()).append_to(&mut walk);
    let Walk { problems, warnings, .. } = walk;
    (problems, warnings)
}

#[test]
fn real_files_have_nothing_wrong_at_any_depth() {
    for path in paths() {
        for depth in Depth::ALL {
            let found = examined(&std::fs::read(&path).unwrap(), depth);
            assert_eq!(found, (vec![], vec![]), "{} {depth:?}", path.display());
        }
    }
}

#[test]
fn the_values_of_a_real_file() {
    let blocks = blocks(&fixture("SHOWER"));
    let events: Vec<_> = blocks.iter().filter(|block| block.table.name.as_deref() == Some("Events")).collect();
    let column = |name: &str| {
        let mut values = Vec::new();
        for block in events.iter().filter(|block| block.column().name == name) {
            let decoded = block.decode().unwrap();
            let rows = Rows::of(block.column(), block.rows, &decoded).unwrap();
            values.extend(rows.to_vec().unwrap().into_iter().map(<[u8]>::to_vec));
        }
        values
    };
    let identifiers: Vec<_> =
        column("event_id").iter().map(|row| u64::from_le_bytes(row.as_slice().try_into().unwrap())).collect();
    // as ACADA's own reader gives them
    assert_eq!(identifiers, (0..=10).chain(13..20).collect::<Vec<_>>());
    let waveforms = column("waveform");
    assert!(waveforms.len() == 18 && waveforms.iter().all(|waveform| waveform.len() == 4608));
}

/// Swapped words and a pair of changes that cancel out: no FITS checksum sees them.
#[test]
fn what_no_checksum_sees_is_mostly_found_by_decoding() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let (mut found, mut changes) = ([0; 3], 0);
    for original in paths().iter().flat_map(|path| tables(&std::fs::read(path).unwrap())) {
        let map = &maps(&original)[0];
        for n in 0..40 {
            let mut bytes = original.clone();
            let word = |at: usize| map.heap.start.next_multiple_of(4) + at * 4;
            let words = map.heap.len() / 4 - 1;
            let (a, b) = (word(noise.below(words)), word(noise.below(words)));
            if n % 2 == 0 {
                let (first, second) = (bytes[a..a + 4].to_vec(), bytes[b..b + 4].to_vec());
                bytes[a..a + 4].copy_from_slice(&second);
                bytes[b..b + 4].copy_from_slice(&first);
            } else if bytes[a + 3] < 0xff && bytes[b + 3] > 0 {
                bytes[a + 3] += 1;
                bytes[b + 3] -= 1;
            }
            if bytes == original {
                continue;
            }
            changes += 1;
            for (depth, found) in Depth::ALL.into_iter().zip(&mut found) {
                let bad = |finding: &Problem| {
                    ["checksum-mismatch", "zfits-structure", "zfits-decode"].contains(&finding.code)
                };
                *found += usize::from(examined(&bytes, depth).0.iter().any(bad));
            }
        }
    }
    println!("of {changes} changes: {found:?} found");
    assert_eq!(found[0], 0, "the checksums see none");
    assert!(found[1] > 0 && found[2] > found[1], "{found:?} of {changes}");
}

#[test]
fn flips_with_checksums_made_right_again() {
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    let (mut found, mut changes) = ([0; 3], 0);
    for original in paths().iter().flat_map(|path| tables(&std::fs::read(path).unwrap())) {
        let map = &maps(&original)[0];
        for _ in 0..60 {
            let mut bytes = original.clone();
            bytes[map.heap.start + noise.below(map.heap.len())] ^= noise.flip();
            agree(&mut bytes, map);
            changes += 1;
            for (depth, found) in Depth::ALL.into_iter().zip(&mut found) {
                let bad = |finding: &Problem| {
                    ["checksum-mismatch", "zfits-structure", "zfits-decode"].contains(&finding.code)
                };
                *found += usize::from(examined(&bytes, depth).0.iter().any(bad));
            }
        }
    }
    println!("of {changes} flips: {found:?} found");
    assert_eq!(found[0], 0, "the checksums have been made right");
    assert!(found[1] > 0 && found[2] > found[1], "{found:?} of {changes}");
}

#[test]
fn what_cannot_be_decoded_is_a_warning() {
    // halfman16 instead of huffman16 in a waveform: known, but not here
    let original = fixture("CAL");
    let map = &maps(&original)[2];
    let block = blocks(&original).pop().unwrap();
    assert_eq!((block.column().name.as_str(), block.processes.as_slice()), ("waveform", &[1, 2][..]));
    let mut bytes = original.clone();
    bytes[usize::try_from(block.offset).unwrap() + 12] = 0x0c;
    agree(&mut bytes, map);
    assert_eq!(codes(&walk(&bytes).problems), [""; 0]);
    let (reasons, warnings) = examined(&bytes, Depth::Decode);
    let codes: Vec<_> = warnings.iter().map(|finding| finding.code).collect();
    assert_eq!((reasons, codes), (vec![], vec!["not-decodable"]));
    assert!(
        warnings[0].to_string().contains("column 10 'waveform': smoothing + 0x0c is not decoded here"),
        "{warnings:?}"
    );
}

/// Payloads that promise more than they can hold are refused before anything is allocated for them.
#[test]
fn a_payload_that_claims_a_terabyte_is_refused_at_once() {
    let zstd = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &(1_u64 << 40).to_le_bytes()].concat();
    let huffman = [(1_u64 << 39).to_le_bytes(), 2_u64.to_le_bytes()].concat();
    for (process, claim, kind) in [(0x17, zstd, "SUBARRAY"), (2, huffman, "CAL")] {
        let original = fixture(kind);
        let mut found = 0;
        for block in blocks(&original).iter().filter(|block| block.processes.last() == Some(&process)) {
            let payload = usize::try_from(block.offset).unwrap() + 10 + 2 * block.processes.len();
            // huffman16 begins with the length of what follows, which stays as it is
            let at = payload + if process == 2 { 4 } else { 0 };
            let maps = maps(&original);
            let map = maps.iter().find(|map| map.heap.contains(&at)).unwrap();
            let mut bytes = original.clone();
            bytes[at..at + claim.len()].copy_from_slice(&claim);
            agree(&mut bytes, map);
            for depth in [Depth::Structure, Depth::Decode] {
                let (reasons, _) = examined(&bytes, depth);
                let codes: Vec<_> = reasons.iter().map(|finding| finding.code).collect();
                assert_eq!(codes.first(), Some(&"zfits-structure"), "{reasons:?}");
            }
            found += 1;
        }
        assert!(found > 0, "no block of process {process}");
    }
}
