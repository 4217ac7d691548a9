//! Many blocks through few threads.

#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::fixity::{Depth, Options, Report, examine};
use fits_verify::{Walk, Walker};

/// A real file.
fn shower() -> Vec<u8> {
    let name = "fixtures/dl0/TEL001_SDH000_20260101T200000_SBID2000000456_OBSID2000000456_TEL_SHOWER_CHUNK000.fits.fz";
    std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn blocks() -> Vec<Block> {
    let bytes = shower();
    let (send, blocks) = std::sync::mpsc::channel();
    let mut walker = Walker::new().giving_blocks(move |block| send.send(block).unwrap());
    walker.feed(&bytes);
    drop(walker);
    blocks.iter().collect()
}

fn told(findings: DecodeFindings) -> (Vec<String>, Vec<String>) {
    let mut walk = Walk::default();
    findings.append_to(&mut walk);
    let texts = |list: Vec<fits_verify::Problem>| list.iter().map(ToString::to_string).collect();
    (texts(walk.problems), texts(walk.warnings))
}

#[test]
fn the_outcome_does_not_depend_on_the_threads() {
    let outcome = |threads| {
        let decoders = Decoders::start(NonZeroUsize::new(threads), None).unwrap();
        let mut taker = decoders.taker();
        for (n, mut block) in blocks().into_iter().enumerate() {
            match n % 4 {
                0 => block.processes = vec![0x0a],
                _ => *block.payload.last_mut().unwrap() ^= 0x80,
            }
            taker(block);
        }
        told(decoders.finish().unwrap())
    };
    let (problems, warnings) = outcome(1);
    assert!(problems.last().unwrap().contains("more blocks after byte"), "{problems:#?}");
    assert!(warnings.iter().all(|text| text.contains("0x0a is not decoded here")), "{warnings:#?}");
    assert_eq!(outcome(4), (problems, warnings));
}

#[test]
fn no_more_is_on_its_way_than_allowed() {
    let decoders = Decoders::start(NonZeroUsize::new(2), None).unwrap();
    let mut taker = decoders.taker();
    let mut block = blocks().pop().unwrap();
    block.processes = vec![0];
    block.payload = vec![0; 60 << 20];
    for _ in 0..8 {
        taker(block.clone());
        let in_flight = decoders.shared.lock().in_flight;
        assert!(in_flight <= IN_FLIGHT_MAX, "{in_flight}");
    }
    let (problems, _) = told(decoders.finish().unwrap());
    assert_eq!(problems.len(), 1, "the same block again and again");
}

#[test]
fn a_cancelled_pool_decodes_no_more() {
    let decoders = Decoders::start(NonZeroUsize::new(2), Some(Arc::new(AtomicBool::new(true)))).unwrap();
    let mut taker = decoders.taker();
    for mut block in blocks() {
        block.payload.clear();
        taker(block);
    }
    assert_eq!(told(decoders.finish().unwrap()), (vec![], vec![]));
}

fn examined(bytes: &[u8], depth: Depth) -> Report {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    examine(&file, &Options { depth, ..Options::default() }).unwrap()
}

#[test]
fn a_real_file_has_nothing_wrong_at_any_depth() {
    for depth in Depth::ALL {
        let report = examined(&shower(), depth);
        assert_eq!((report.reasons, report.warnings), (vec![], vec![]), "{depth}");
    }
}

#[test]
fn each_depth_sees_what_is_its_own() {
    let (mut bytes, block) = (shower(), blocks().pop().unwrap());
    // a bit of the payload, behind what is looked at without decoding
    bytes[usize::try_from(block.offset).unwrap() + 100] ^= 1;
    let codes = |depth| examined(&bytes, depth).reasons.iter().map(|reason| reason.code).collect::<Vec<_>>();
    let sums = ["checksum-mismatch", "datasum-mismatch"];
    assert_eq!(codes(Depth::Checksums), sums);
    assert_eq!(codes(Depth::Structure), sums);
    assert_eq!(codes(Depth::Decode), [&sums[..], &["zfits-decode"]].concat());
    let report = examined(&bytes, Depth::Decode);
    assert!(report.reasons.iter().all(|reason| reason.message.ends_with("; have ACADA deliver the file again")));
}

#[test]
fn what_cannot_be_decoded_is_a_warning() {
    let (mut bytes, block) = (shower(), blocks().pop().unwrap());
    assert_eq!(block.processes.len(), 2);
    // halfman16, which is known, but not decoded here
    bytes[usize::try_from(block.offset).unwrap() + 12] = 0x0c;
    let report = examined(&bytes, Depth::Decode);
    let codes: Vec<_> = report.warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, ["not-decodable"]);
    assert!(report.warnings[0].message.ends_with("; check these values with the writer's own reader"));
}
