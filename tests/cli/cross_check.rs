//! `verify --cross-check` with files that are too much for CFITSIO.

use std::fs;
use std::path::{Path, PathBuf};

use crate::testkit::command::{say, sound_file};

/// One header card.
fn card(text: &str) -> String {
    format!("{text:<80}")
}

/// A valid image of one pixel with `axes` axes. Above a hundred CFITSIO has no room for them, and does not look.
fn image(axes: usize) -> Vec<u8> {
    let mut header = card("SIMPLE  =                    T") + &card("BITPIX  =                    8");
    header += &card(&format!("NAXIS   = {axes:>20}"));
    for axis in 1..=axes {
        header += &card(&format!("{:<8}= {:>20}", format!("NAXIS{axis}"), 1));
    }
    header += &card("END");
    let length = header.len().next_multiple_of(2880);
    [format!("{header:<length$}").into_bytes(), vec![0; 2880]].concat()
}

/// A gzip file (RFC 1952) of some megabytes with about `length` zeros in it, which is as small as they get: a literal, then
/// matches of 258 bytes at distance 1 (RFC 1951, section 3.2.6), of 13 bits each.
fn bomb(length: u32) -> Vec<u8> {
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    // length code 285 and distance code 0, most significant bit first; eight of them fill 13 bytes
    const MATCH: [bool; 13] = [true, true, false, false, false, true, false, true, false, false, false, false, false];
    // final block, fixed codes, literal 0
    let begin = [true, true, false, false, false, true, true, false, false, false, false];
    let pack = |bits: &[bool]| -> Vec<u8> {
        bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
    };
    let bits: Vec<bool> = begin.into_iter().chain(MATCH.into_iter().cycle()).take(8 * 13 * 2).collect();
    let packed = pack(&bits);
    // from the second turn on each is the same
    let again = (length / (8 * 258)) as usize;
    [&HEADER[..], &packed[..13], &packed[13..].repeat(again), &[0; 4], &length.to_le_bytes()].concat()
}

fn verify(directory: &Path, arguments: &[&str]) -> (i32, Vec<serde_json::Value>) {
    let all = [&["verify", "--cross-check", "--accept-missing-metadata"], arguments, &[directory.to_str().unwrap()]];
    let said = say(&all.concat());
    (said.code, said.json_below(directory))
}

fn codes(line: &serde_json::Value) -> Vec<&str> {
    line["warnings"].as_array().unwrap().iter().map(|warning| warning["code"].as_str().unwrap()).collect()
}

/// A directory with this file between two that are sound.
fn between_sound_ones(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    for sound in ["a.fits", "z.fits"] {
        fs::copy(sound_file(), directory.path().join(sound)).unwrap();
    }
    let path = directory.path().join(name);
    fs::write(&path, bytes).unwrap();
    (directory, path)
}

#[test]
fn a_file_that_kills_the_second_opinion_is_one_line_about_one_file() {
    let (directory, path) = between_sound_ones("many_axes.fits", &image(110));
    let (code, lines) = verify(directory.path(), &["--json"]);
    assert_eq!((code, lines.len()), (3, 3), "{lines:#?}");
    assert!(lines.iter().all(|line| line["verdict"] == "accepted"), "{lines:#?}");
    assert_eq!(lines[1]["path"], "DIR/many_axes.fits");
    let told = lines[1]["warnings"].as_array().unwrap().iter().find(|warning| warning["code"] == "not-cross-checked");
    assert_eq!(told.unwrap()["message"], "CFITSIO died of signal 11 over this file");
    for sound in [&lines[0], &lines[2]] {
        assert_eq!(codes(sound), Vec::<&str>::new());
    }
    // people get one line, even where sound files are left out
    let said = say(&["verify", "--cross-check", "--accept-missing-metadata", "--summary", path.to_str().unwrap()]);
    assert_eq!(said.code, 3);
    assert_eq!(said.out.matches("CFITSIO died").count(), 1, "{}", said.out);
    assert_eq!(said.err, "");
}

#[test]
fn the_second_opinion_has_bounded_memory() {
    let (directory, path) = between_sound_ones("bomb.fits.gz", &bomb(1_500_000_000));
    assert!(path.metadata().unwrap().len() < 10_000_000);
    let (code, lines) = verify(directory.path(), &["--json"]);
    assert_eq!((code, lines.len()), (1, 3), "{lines:#?}");
    assert_eq!((&lines[1]["path"], &lines[1]["verdict"]), (&"DIR/bomb.fits.gz".into(), &"rejected".into()));
    assert_eq!(codes(&lines[1]), ["not-cross-checked"]);
    assert!(lines[1]["warnings"][0]["message"].as_str().unwrap().contains("512 MiB"), "{}", lines[1]);
    for sound in [&lines[0], &lines[2]] {
        assert_eq!((codes(sound), &sound["verdict"]), (vec![], &"accepted".into()));
    }
}

#[test]
fn what_is_asked_for_a_second_opinion_is_no_command_for_people() {
    assert!(!say(&["--help"]).out.contains("second-opinion"));
}
