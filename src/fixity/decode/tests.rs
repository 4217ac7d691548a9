//! Many blocks through few threads.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;
use fits_verify::Walker;

/// The blocks of a real file.
fn blocks() -> Vec<Block> {
    let name = "fixtures/dl0/TEL001_SDH000_20260101T200000_SBID2000000456_OBSID2000000456_TEL_SHOWER_CHUNK000.fits.fz";
    let bytes = std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let (send, blocks) = std::sync::mpsc::channel();
    let mut walker = Walker::new("CTAOMETA").giving_blocks(move |block| send.send(block).unwrap());
    walker.feed(&bytes);
    drop(walker);
    blocks.iter().collect()
}

fn told(outcome: Outcome) -> (Vec<String>, Vec<String>) {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    outcome.tell(&mut problems, &mut warnings);
    let texts = |list: Vec<fits_verify::Problem>| list.iter().map(ToString::to_string).collect();
    (texts(problems), texts(warnings))
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
