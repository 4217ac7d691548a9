//! How fast a file is examined, beside the bare functions it cannot do without.
//!
//! Writes a file like ACADA's shower files (a good FITS file with one large table) and reads it by turns with every
//! contender, so that all of them meet the same machine. Prints medians and ranges; asserts nothing about time.
//!
//! `DL0_BENCH_FILE` names the file (default: in /dev/shm; an existing file is used as it is and kept),
//! `DL0_BENCH_BYTES` its size (default 1 GiB), `DL0_BENCH_ROUNDS` the number of turns (default 7).

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::env;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crc_fast::{CrcAlgorithm, Digest};
use dl0_ingest::fixity::{Depth, Options, examine};
use fits_verify::{Sum, encode_checksum};
use simd_adler32::Adler32;

const FITS_BLOCK: usize = 2880;
const READ: usize = 256 * 1024;

type Contender = (&'static str, fn(&File) -> u64);

const CONTENDERS: &[Contender] = &[
    ("read only", |file| each_block(file, |_| {})),
    ("adler32 alone", |file| {
        let mut adler = Adler32::new();
        let bytes = each_block(file, |block| adler.write(block));
        black_box(adler.finish());
        bytes
    }),
    ("crc32c alone", |file| {
        let mut crc = Digest::new(CrcAlgorithm::Crc32Iscsi);
        let bytes = each_block(file, |block| crc.update(block));
        black_box(crc.finalize());
        bytes
    }),
    ("FITS sum alone", |file| {
        let mut sum = Sum::default();
        let bytes = each_block(file, |block| sum.update(block));
        black_box(sum.value());
        bytes
    }),
    ("BLAKE3 alone", |file| {
        let mut blake3 = blake3::Hasher::new();
        let bytes = each_block(file, |block| {
            blake3.update(block);
        });
        black_box(blake3.finalize());
        bytes
    }),
    ("bare loop over the four", |file| {
        let (mut adler, mut crc) = (Adler32::new(), Digest::new(CrcAlgorithm::Crc32Iscsi));
        let (mut sum, mut blake3) = (Sum::default(), blake3::Hasher::new());
        let bytes = each_block(file, |block| {
            adler.write(block);
            crc.update(block);
            sum.update(block);
            blake3.update(block);
        });
        black_box((adler.finish(), crc.finalize(), sum.value(), blake3.finalize()));
        bytes
    }),
    ("examine, checksums", |file| examined(file, &Options { depth: Depth::Checksums, ..Options::default() })),
    ("examine, one thread", |file| examined(file, &Options::default())),
    ("examine, BLAKE3 on a second", |file| examined(file, &Options { parallel_blake3: true, ..Options::default() })),
    ("examine, decode", |file| {
        examined(file, &Options { depth: Depth::Decode, parallel_blake3: true, ..Options::default() })
    }),
];

fn main() {
    let given = env::var_os("DL0_BENCH_FILE").map(PathBuf::from);
    let path =
        given.clone().unwrap_or_else(|| PathBuf::from(format!("/dev/shm/dl0-ingest-bench-{}", std::process::id())));
    let keep = path.exists();
    if !keep {
        write_file(&path, number("DL0_BENCH_BYTES", 1 << 30));
    }
    let file = File::open(&path).unwrap();
    if !keep && given.is_none() {
        // the open file stays until the end of the process, whatever that end is
        fs::remove_file(&path).unwrap();
    }
    let size = file.metadata().unwrap().len();
    let report = examine(&file, &Options::default()).unwrap();
    println!("{} bytes, {} HDUs, {}", size, report.hdus.len(), if report.accepted() { "accepted" } else { "rejected" });
    for reason in &report.reasons {
        println!("  {}", reason.message);
    }
    measure(&file, size, number("DL0_BENCH_ROUNDS", 7));

    let before = characters_read();
    let overhead = characters_read() - before;
    let before = characters_read();
    examine(&file, &Options::default()).unwrap();
    let read = characters_read() - before - overhead;
    println!("bytes read by one examination: {read}, {:.6} of the file's size", read as f64 / size as f64);
    println!("peak resident memory of this process: {}", status("VmHWM:"));
}

fn measure(file: &File, size: u64, rounds: usize) {
    let mut times = vec![Vec::new(); CONTENDERS.len()];
    for _ in 0..rounds {
        for ((name, contender), times) in CONTENDERS.iter().zip(&mut times) {
            let start = Instant::now();
            let bytes = contender(file);
            times.push(start.elapsed().as_secs_f64());
            assert_eq!(bytes, size, "{name} must see the whole file");
        }
    }
    println!(
        "{:<30}{:>12}{:>18}{:>14}",
        format!("{rounds} rounds by turns"),
        "median GB/s",
        "range GB/s",
        "of bare loop"
    );
    let speed = |seconds: f64| size as f64 / seconds / 1e9;
    for times in &mut times {
        times.sort_by(f64::total_cmp);
    }
    let bare = CONTENDERS.iter().position(|(name, _)| name.starts_with("bare loop")).expect("the yardstick");
    let bare = times[bare][rounds / 2];
    for ((name, _), times) in CONTENDERS.iter().zip(&times) {
        let (fastest, median, slowest) = (times[0], times[rounds / 2], times[rounds - 1]);
        let range = format!("{:.2}–{:.2}", speed(slowest), speed(fastest));
        println!("{name:<30}{:>12.2}{range:>18}{:>13.0}%", speed(median), 100.0 * bare / median);
    }
}

fn examined(file: &File, options: &Options) -> u64 {
    black_box(examine(file, options).unwrap()).fixity.bytes
}

fn each_block(file: &File, mut f: impl FnMut(&[u8])) -> u64 {
    let mut block = vec![0; READ];
    let mut offset = 0;
    loop {
        let n = file.read_at(&mut block, offset).unwrap();
        if n == 0 {
            return offset;
        }
        f(&block[..n]);
        offset += n as u64;
    }
}

/// A good file: a primary HDU with metadata, `DataStream`, and `Events` with `bytes` of noise in its heap.
fn write_file(path: &Path, bytes: usize) {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    let metadata = [
        "CTAOMETA= '2.1.0'",
        "TITLE   = 'benchmark'",
        "DATALEVL= 'DL0'",
        "DATADIV = 'Event'",
        "DATAASSO= 'Telescope'",
        "DATATYPE= 'AirShower'",
        "OBS_ID  = 1",
        "RELEASE = 'none'",
        "MODEL   = 'DL0v1'",
        "MODELVER= '1.0'",
        "CREATED = '2026-01-01T20:00:00'",
        "AUTHOR  = 'CTAO'",
        "ORIGIN  = 'CTAO'",
        "EMAIL   = 'dpps@ctao.org'",
    ];
    let primary = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"];
    write_hdu(&mut out, &[&primary[..], &metadata].concat(), 0);
    for (name, bytes) in [("DataStream", 64), ("Events", bytes)] {
        let (pcount, name) = (format!("PCOUNT  = {bytes}"), format!("EXTNAME = '{name}'"));
        let cards = [
            "XTENSION= 'BINTABLE'",
            "BITPIX  = 8",
            "NAXIS   = 2",
            "NAXIS1  = 16",
            "NAXIS2  = 1",
            &pcount,
            "GCOUNT  = 1",
            "TFIELDS = 0",
            &name,
        ];
        write_hdu(&mut out, &cards, bytes + 16);
    }
    out.flush().unwrap();
}

fn write_hdu(out: &mut impl Write, cards: &[&str], data: usize) {
    let padding = data.next_multiple_of(FITS_BLOCK) - data;
    let mut datasum = Sum::default();
    noise(data, |block| datasum.update(block));
    datasum.update(&vec![0; padding]);
    let header = |checksum: &str| {
        let sums = [format!("CHECKSUM= '{checksum}'"), format!("DATASUM = '{}'", datasum.value()), "END".to_owned()];
        let cards = cards.iter().map(|card| (*card).to_owned()).chain(sums);
        let mut raw: Vec<u8> = cards.flat_map(|card| format!("{card:80}").into_bytes()).collect();
        raw.resize(raw.len().next_multiple_of(FITS_BLOCK), b' ');
        raw
    };
    let mut sum = Sum::default();
    sum.update(&header("0000000000000000"));
    out.write_all(&header(&encode_checksum(sum.followed_by(&datasum).value()))).unwrap();
    noise(data, |block| out.write_all(block).unwrap());
    out.write_all(&vec![0; padding]).unwrap();
}

/// `bytes` of repeatable noise (xorshift), in blocks.
fn noise(bytes: usize, mut f: impl FnMut(&[u8])) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut left = bytes;
    let mut block = vec![0; 1 << 20];
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let n = left.min(block.len());
        f(&block[..n]);
        left -= n;
    }
}

fn number(variable: &str, default: usize) -> usize {
    env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}

fn characters_read() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

fn status(field: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix(field)).unwrap().trim().to_owned()
}
