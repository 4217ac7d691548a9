//! What is fuzzed: each function takes any bytes, must not panic, and checks what must hold for every input.
//! `tests/fuzz_targets.rs` calls the same functions with the fixtures and damaged copies of them.
#![allow(dead_code, clippy::expect_used, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};
use std::sync::{LazyLock, mpsc};

use dl0_ingest::datadir::DataDir;
use dl0_ingest::names::Lfn;
use dl0_ingest::pipeline::intake::judge::{Verdict, judge};
use dl0_ingest::product;
use fits_verify::zfits::Block;
use fits_verify::{BLOCK, CARD, Card, Header, Walk, Walker};

/// Header cards, one by one and together.
pub fn cards(data: &[u8]) {
    let mut header = Vec::new();
    for piece in data.chunks(CARD) {
        let mut raw = [b' '; CARD];
        raw[..piece.len()].copy_from_slice(piece);
        let card = Card::parse(&raw, 0);
        let (_, _, _) = (card.value(), card.commentary(), card.lenient_value());
        header.extend_from_slice(&raw);
    }
    let parsed = Header::parse(&header, 0);
    for card in parsed.cards() {
        assert!(parsed.get(&card.keyword).is_some(), "{} is in the header and cannot be found", card.keyword);
    }
}

/// A whole file, at once and in slices: the same walk.
pub fn walker(data: &[u8]) {
    let Some((&first, file)) = data.split_first() else { return };
    let walk = |slice: usize| -> Walk {
        let mut walker = Walker::new().keeping(product::MARKER).reading_cells();
        file.chunks(slice).for_each(|bytes| walker.feed(bytes));
        walker.finish()
    };
    let whole = walk(file.len().max(1));
    assert_eq!(whole, walk(usize::from(first) + 1), "the walk depends on how the file was cut");
    let sound = whole.complete && whole.problems.is_empty();
    assert!(!sound || file.len().is_multiple_of(BLOCK), "accepted with {} bytes", file.len());
}

/// Every block that any file pretends to have, decompressed.
pub fn blocks(data: &[u8]) {
    let mut walker = Walker::new().keeping(product::MARKER).giving_blocks(|block| drop(block.check()));
    walker.feed(data);
    drop(walker.finish());
}

/// The blocks of a real file, one of each column.
static BLOCKS: LazyLock<Vec<Block>> = LazyLock::new(|| {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/dl0");
    let directory = directory.replace("/fuzz/fixtures", "/fixtures");
    let (send, found) = mpsc::channel();
    for entry in std::fs::read_dir(directory).unwrap() {
        let send = send.clone();
        let mut walker = Walker::new().keeping(product::MARKER).giving_blocks(move |block| drop(send.send(block)));
        walker.feed(&std::fs::read(entry.unwrap().path()).unwrap());
        drop(walker.finish());
    }
    drop(send);
    found.into_iter().collect()
});

/// Any bytes in the place of a real block's: either they are its rows, or they are refused.
pub fn decoders(data: &[u8]) {
    let Some((&which, payload)) = data.split_first() else { return };
    let real = &BLOCKS[usize::from(which) % BLOCKS.len()];
    let block =
        Block { payload: payload.to_vec(), processes: real.processes.clone(), table: real.table.clone(), ..*real };
    if block.check().is_ok() {
        let values = block.decode().expect("what was checked can be decoded");
        assert!(block.column().can_be(values.len() as u64, block.rows));
    }
}

/// The product metadata of any header: the same at every attempt.
pub fn product(data: &[u8]) {
    let mut raw = data.to_vec();
    raw.resize(data.len().next_multiple_of(CARD), b' ');
    let header = Header::parse(&raw, 0);
    let once = product::metadata(&header, &[7; 32]).map(|found| found.keys);
    let again = product::metadata(&header, &[7; 32]).map(|found| found.keys);
    assert_eq!(once.is_ok(), again.is_ok());
    if let (Ok(once), Ok(again)) = (once, again) {
        assert_eq!(once, again);
    }
}

/// A directory for triggers, with a file beside them that a wrong link may point at.
static PLACE: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(place.path().join("onsite/ctao/acada/dl0")).unwrap();
    std::fs::write(place.path().join("onsite/ctao/acada/dl0/data.fits.fz"), "data").unwrap();
    std::fs::write(place.path().join("outside.fits.fz"), "secret").unwrap();
    place
});

/// Any name as an LFN; any link target under a trigger's name: only the file beside the trigger is ever accepted.
pub fn trigger(data: &[u8]) {
    if let Ok(lfn) = Lfn::from_relative(Path::new(std::ffi::OsStr::from_bytes(data))) {
        assert!(lfn.as_str().len() <= 250);
        assert!(lfn.as_str().starts_with(&format!("{}/", lfn.dataset().name)));
        assert!(lfn.relative().components().all(|part| matches!(part, Component::Normal(_))));
        assert!(lfn.containers().iter().all(|container| lfn.dataset().name.starts_with(&container.name)));
    }
    if data.is_empty() || data.contains(&0) || data.len() > 4000 {
        return;
    }
    let relative = Path::new("ctao/acada/dl0/data.fits.fz.trigger");
    let onsite = PLACE.path().join("onsite");
    let path = onsite.join(relative);
    let _ = std::fs::remove_file(&path);
    std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(data), &path).unwrap();
    let judged = judge(&DataDir::new(&onsite, "ctao"), relative).unwrap();
    if let Verdict::Sound(delivery) = judged.verdict {
        assert_eq!(delivery.lfn.as_str(), "/ctao/acada/dl0/data.fits.fz");
        assert_eq!(delivery.identity.bytes, 4, "the identity is another file's");
    }
}
