//! The fuzz targets on the stable compiler: every fixture, damaged copies of them, and every input that ever failed.
#[path = "../../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

/// Damaged copies of each fixture; `cargo fuzz` makes millions.
const COPIES: u64 = 1000;

fn files(directory: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// A few bytes changed, a piece left out, or a piece doubled.
fn damaged(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        let end = (at + random.random_range(1..200)).min(bytes.len());
        match random.random_range(0..4) {
            0 => drop(bytes.drain(at..end)),
            1 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ if bytes.is_empty() => {}
            _ => bytes[at] = random.next_u32().to_le_bytes()[0],
        }
    }
    bytes
}

fn replay(target: fn(&[u8]), name: &str, seeds: &[Vec<u8>]) {
    for failed in files(&format!("fuzz/failed/{name}")) {
        target(&failed);
    }
    assert!(!seeds.is_empty());
    for (number, seed) in (0_u64..).zip(seeds) {
        target(seed);
        for copy in 0..COPIES {
            target(&damaged(seed, number * COPIES + copy));
        }
    }
}

/// Headers only: what follows means nothing to these targets.
fn headers() -> Vec<Vec<u8>> {
    files("fixtures/dl0")
        .into_iter()
        .map(|mut file| {
            file.truncate(6 * 2880);
            file
        })
        .collect()
}

#[test]
fn cards_of_any_kind_are_parsed() {
    replay(targets::cards, "cards", &headers());
}

#[test]
fn a_walk_never_depends_on_how_the_file_is_cut() {
    // the first byte is the length of the slices
    let seeds: Vec<Vec<u8>> = files("fixtures/dl0").into_iter().map(|file| [&[60], &file[..]].concat()).collect();
    replay(targets::walker, "walker", &seeds);
}

#[test]
fn no_file_makes_a_decoder_fail_or_fill_the_memory() {
    replay(targets::blocks, "blocks", &files("fixtures/dl0"));
}

#[test]
fn a_decoder_gives_rows_of_its_column_or_refuses() {
    // the first byte chooses the block; a frame of zstd and a Huffman table as they begin
    let seeds: Vec<Vec<u8>> = (0..40)
        .map(|which| [&[which], &b"\x28\xb5\x2f\xfd\x20\x08\x41\x00\x00abcdefgh"[..]].concat())
        .chain((0..40).map(|which| {
            let table = [30, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 1];
            [&[which], &table[..], &[0; 8]].concat()
        }))
        .collect();
    replay(targets::decoders, "decoders", &seeds);
}

#[test]
fn metadata_of_any_header_is_the_same_at_every_attempt() {
    replay(targets::product, "product", &headers());
}

#[test]
fn no_trigger_leads_to_another_file_than_the_one_beside_it() {
    let targets: [&[u8]; 7] = [
        b"data.fits.fz",
        b"./data.fits.fz",
        b"../dl0/data.fits.fz",
        b"../../../../outside.fits.fz",
        b"ctao/acada/dl0/data.fits.fz",
        b"/etc/passwd",
        b"data.fits.fz.trigger",
    ];
    replay(targets::trigger, "trigger", &targets.map(<[u8]>::to_vec));
}
