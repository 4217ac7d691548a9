//! `verify`, as a shell sees it.
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::testkit::command::{command, say, sound_file};
use crate::testkit::fixtures;
use insta::assert_snapshot;
use rustix::fs::{CWD, Mode};

/// A copy of a sound file that `change` may spoil.
fn spoilt(directory: &Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = std::fs::read(sound_file()).unwrap();
    change(&mut bytes);
    let path = directory.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Digests and larger numbers replaced: the fixtures may be made anew.
fn masked(text: &str) -> String {
    let mask = |word: &str| {
        let end = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let start = end.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let hex = start.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
        let masked = match start.len() {
            64 if hex => "[blake3]",
            8 if hex => "[digest]",
            3.. if start.chars().all(|c| c.is_ascii_digit()) => "[number]",
            _ => return word.to_owned(),
        };
        word.replacen(start, masked, 1)
    };
    text.split_inclusive([' ', ',', ':', '(', '\n']).map(mask).collect()
}

#[test]
fn sound_files_of_the_mock_are_accepted() {
    let files: Vec<PathBuf> = std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let files: Vec<&str> =
        files.iter().map(|path| path.to_str().unwrap()).filter(|path| path.contains(".fits")).collect();
    assert!(files.len() >= 5);
    let said = say(&[&["verify", "--json"], &files[..]].concat());
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    for report in said.json() {
        assert_eq!(report["verdict"], "accepted", "{report}");
        assert_eq!(report["reasons"].as_array().unwrap().len(), 0);
    }
}

#[test]
fn the_json_line_has_exactly_the_promised_keys_in_the_promised_order() {
    let directory = tempfile::tempdir().unwrap();
    let sound = spoilt(directory.path(), "sound.fits.fz", |_| {});
    let said = say(&["verify", "--json", sound.to_str().unwrap()]);
    let keys = ["path", "bytes", "adler32", "crc32c", "blake3", "verdict", "reasons", "warnings", "fits", "metadata"];
    let places: Vec<usize> = keys.iter().map(|key| said.out.find(&format!("\"{key}\":")).unwrap()).collect();
    assert!(places.is_sorted());
    let line = masked(&said.out.replace(&directory.path().display().to_string(), "DIR"));
    let (checked, metadata) = line.split_once("\"metadata\":").unwrap();
    assert_snapshot!(checked, @r#"{"path":"DIR/sound.fits.fz","bytes":[number],"adler32":"[digest]","crc32c":"[digest]","blake3":"[blake3]","verdict":"accepted","reasons":[],"warnings":[],"fits":{"hdus":[{"index":0,"name":null,"checksum":"ok","datasum":"ok"},{"index":1,"name":"DataStream","checksum":"ok","datasum":"ok"},{"index":2,"name":"CameraConfiguration","checksum":"ok","datasum":"ok"},{"index":3,"name":"Events","checksum":"ok","datasum":"ok"}],"trailing_bytes":0},"#);
    assert!(metadata.contains("\"data__level\":\"DL0\""), "{metadata}");
}

#[test]
fn a_name_that_is_not_utf8_is_given_as_bytes_too() {
    let directory = tempfile::tempdir().unwrap();
    let name = std::ffi::OsStr::from_bytes(b"na\xefve.fits.fz");
    std::fs::copy(sound_file(), directory.path().join(name)).unwrap();
    std::fs::write(directory.path().join("turned\u{202e}round.fits"), b"").unwrap();
    let said = say(&["verify", "--json", directory.path().to_str().unwrap()]);
    let lines = said.json();
    let bytes = lines[0]["path_bytes"].as_str().unwrap();
    let bytes: Vec<u8> =
        (0..bytes.len()).step_by(2).map(|at| u8::from_str_radix(&bytes[at..at + 2], 16).unwrap()).collect();
    assert_eq!(Path::new(std::ffi::OsStr::from_bytes(&bytes)), directory.path().join(name));
    assert!(lines[0]["path"].as_str().unwrap().ends_with("na\u{fffd}ve.fits.fz"));
    // others have no need of it, and a terminal does not get to see what turns text round
    assert_eq!(lines[1].get("path_bytes"), None);
    assert!(lines[1]["path"].as_str().unwrap().contains('\u{202e}'));
    assert!(!said.out.contains('\u{202e}') && said.out.contains("\\u202e"));
    let said = say(&["verify", directory.path().to_str().unwrap()]);
    assert!(!said.out.contains('\u{202e}') && said.out.contains("\\u202e"), "{}", said.out);
}

#[test]
fn the_block_for_people_is_tidy() {
    let directory = tempfile::tempdir().unwrap();
    let sound = spoilt(directory.path(), "sound.fits.fz", |_| {});
    let cut = spoilt(directory.path(), "cut.fits.fz", |bytes| bytes.truncate(20_000));
    let said = say(&["verify", sound.to_str().unwrap(), cut.to_str().unwrap()]);
    assert_snapshot!(masked(&said.all(directory.path())), @"
    code: 1
    --- out
    DIR/sound.fits.fz: accepted
      size     43 kB ([number] bytes)
      adler32  [digest]
      crc32c   [digest]
      blake3   [blake3]
      HDU 0    primary: CHECKSUM ok, DATASUM ok
      HDU 1    DataStream: CHECKSUM ok, DATASUM ok
      HDU 2    CameraConfiguration: CHECKSUM ok, DATASUM ok
      HDU 3    Events: CHECKSUM ok, DATASUM ok
      metadata 35 keys
    DIR/cut.fits.fz: rejected
      reason   truncated: HDU 2 at byte [number]: the file ends inside the header that begins at byte [number], before its END card (FITS 4.0, section 3.1); have ACADA deliver the file again
      size     20 kB ([number] bytes)
      adler32  [digest]
      crc32c   [digest]
      blake3   [blake3]
      HDU 0    primary: CHECKSUM ok, DATASUM ok
      HDU 1    DataStream: CHECKSUM ok, DATASUM ok
      metadata 35 keys
    --- err
    ");
}

#[test]
fn a_bad_file_ends_with_1_and_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let flip = |bytes: &mut Vec<u8>| {
        let last_data = bytes.len() - 2881;
        bytes[last_data] ^= 1;
    };
    for (name, path) in [
        ("truncated", spoilt(directory.path(), "cut", |bytes| bytes.truncate(20_000))),
        ("one bit flipped", spoilt(directory.path(), "flipped", flip)),
        ("text", spoilt(directory.path(), "text", |bytes| *bytes = b"not at all FITS\n".to_vec())),
        ("empty", spoilt(directory.path(), "empty", Vec::clear)),
    ] {
        let said = say(&["verify", "--json", path.to_str().unwrap()]);
        assert_eq!(said.code, 1, "{name}");
        let report = &said.json()[0];
        assert_eq!(report["verdict"], "rejected", "{name}");
        assert!(!report["reasons"].as_array().unwrap().is_empty(), "{name}");
        assert_eq!(report["adler32"].as_str().unwrap().len(), 8, "{name}");
        assert_eq!(report["crc32c"].as_str().unwrap().len(), 8, "{name}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error_and_no_rejection() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    rustix::fs::mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
    let missing = directory.path().join("missing");
    let arguments = [missing.as_path(), &fifo, Path::new("/dev/null"), directory.path()];
    let arguments = arguments.map(|path| path.to_str().unwrap());
    let said = say(&[&["verify", "--json"], &arguments[..]].concat());
    assert_snapshot!(said.all(directory.path()), @r#"
    code: 3
    --- out
    {"path":"DIR/missing","error":{"code":"not-found","message":"there is no such file"}}
    {"path":"DIR/fifo","error":{"code":"not-a-file","message":"is a FIFO, not a file"}}
    {"path":"/dev/null","error":{"code":"not-a-file","message":"is a device, not a file"}}
    {"path":"DIR","error":{"code":"nothing-to-read","message":"no file below it ends in .fits, .fits.fz, .fits.gz"}}
    --- err
    dl0-ingest: DIR/missing: there is no such file
    dl0-ingest: DIR/fifo: is a FIFO, not a file
    dl0-ingest: /dev/null: is a device, not a file
    dl0-ingest: DIR: no file below it ends in .fits, .fits.fz, .fits.gz
    "#);
    let said = say(&["verify", arguments[0], sound_file().to_str().unwrap()]);
    assert_eq!(said.code, 3);
    assert!(said.out.contains(": accepted\n"));
}

#[test]
fn a_rejected_file_wins_over_one_that_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let text = spoilt(directory.path(), "text", |bytes| *bytes = b"words".to_vec());
    let said = say(&["verify", "/nonexistent/file", text.to_str().unwrap()]);
    assert_eq!(said.code, 1);
}

#[test]
fn a_symlink_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(sound_file(), &link).unwrap();
    assert_eq!(say(&["verify", link.to_str().unwrap()]).code, 0);
}

#[test]
fn a_file_without_checksums_is_accepted_unless_they_are_required() {
    let weather = fixtures().join("WEATHER_20260101T200000.fits");
    let weather = weather.to_str().unwrap();
    assert_eq!(say(&["verify", weather]).code, 0);
    assert_eq!(say(&["verify", "--require-checksum", weather]).code, 1);
}

#[test]
fn a_reader_who_leaves_early_is_no_failure() {
    let file = sound_file();
    let many: Vec<&str> = std::iter::repeat_n(file.to_str().unwrap(), 200).collect();
    let mut child = command(&[&["verify", "--json"], &many[..]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 1];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

/// A night in directories: two sound files, one cut, their triggers, a note, and a FIFO with a data file's name.
fn night(directory: &Path) {
    fs::create_dir_all(directory.join("TEL001/2026")).unwrap();
    spoilt(directory, "b.fits.fz", |_| {});
    spoilt(&directory.join("TEL001/2026"), "a.fits.fz", |_| {});
    spoilt(&directory.join("TEL001"), "cut.fits.fz", |bytes| bytes.truncate(20_000));
    std::os::unix::fs::symlink("b.fits.fz", directory.join("b.fits.fz.trigger")).unwrap();
    fs::write(directory.join("note.txt"), "clouds").unwrap();
    rustix::fs::mkfifoat(CWD, directory.join("pipe.fits"), Mode::RUSR | Mode::WUSR).unwrap();
}

#[test]
fn a_directory_is_searched_and_its_files_are_told_of_in_order_however_many_are_read_at_once() {
    let directory = tempfile::tempdir().unwrap();
    night(directory.path());
    for jobs in ["1", "2", "50"] {
        let said = say(&["verify", "--json", "--jobs", jobs, directory.path().to_str().unwrap()]);
        assert_eq!(said.code, 1, "{}", said.err);
        let told = said.json_below(directory.path());
        let told: Vec<_> = told.iter().map(|line| (line["path"].as_str(), line["verdict"].as_str())).collect();
        let expected = [
            (Some("DIR/TEL001/2026/a.fits.fz"), Some("accepted")),
            (Some("DIR/TEL001/cut.fits.fz"), Some("rejected")),
            (Some("DIR/b.fits.fz"), Some("accepted")),
            (Some("DIR/pipe.fits"), None),
        ];
        assert_eq!(told, expected);
    }
}

#[test]
fn a_summary_leaves_out_what_is_sound_and_counts() {
    let directory = tempfile::tempdir().unwrap();
    night(directory.path());
    let said = say(&["verify", "--summary", directory.path().to_str().unwrap()]);
    let text = masked(&said.all(directory.path()));
    let (told, time) = text.split_once(" in ").unwrap();
    assert!(time.contains(" s, ") && time.contains("GB/s"), "{text}");
    assert_snapshot!(told, @"
    code: 1
    --- out
    DIR/TEL001/cut.fits.fz: rejected
      reason   truncated: HDU 2 at byte [number]: the file ends inside the header that begins at byte [number], before its END card (FITS 4.0, section 3.1); have ACADA deliver the file again
      size     20 kB ([number] bytes)
      adler32  [digest]
      crc32c   [digest]
      blake3   [blake3]
      HDU 0    primary: CHECKSUM ok, DATASUM ok
      HDU 1    DataStream: CHECKSUM ok, DATASUM ok
      metadata 35 keys
    4 files: 2 accepted, 1 rejected, 1 not read
      reason   truncated: 1
      [number] kB
    ");
    let said = say(&["verify", "--summary", "--json", directory.path().to_str().unwrap()]);
    let lines = said.json_below(directory.path());
    let summary = &lines[4]["summary"];
    assert_eq!((lines.len(), &summary["files"], &summary["accepted"]), (5, &4.into(), &2.into()));
    assert_eq!((&summary["rejected"], &summary["unread"]), (&1.into(), &1.into()));
    assert_eq!(summary["reasons"], serde_json::json!({"truncated": 1}));
}

#[test]
#[cfg(not(feature = "cfitsio-system"))]
fn a_build_without_cfitsio_says_so_when_a_second_opinion_is_asked_for() {
    let said = say(&["verify", "--cross-check", sound_file().to_str().unwrap()]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(said.err.contains("--features cfitsio"), "{}", said.err);
}

#[test]
#[cfg(feature = "cfitsio-system")]
fn a_second_opinion_is_asked_for_and_told() {
    let sound = sound_file();
    let said = say(&["verify", "--json", "--cross-check", "--depth", "decode", sound.to_str().unwrap()]);
    assert_eq!((said.code, said.json()[0]["warnings"].as_array().unwrap().len()), (0, 0), "{}", said.out);
    let directory = tempfile::tempdir().unwrap();
    let cut = spoilt(directory.path(), "cut.fits.fz", |bytes| bytes.truncate(bytes.len() - 2880));
    let said = say(&["verify", "--json", "--cross-check", cut.to_str().unwrap()]);
    assert_eq!(said.code, 1);
    assert_eq!(said.json()[0]["verdict"], "rejected");
}

#[test]
fn nothing_is_written_to_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = spoilt(directory.path(), "file", |_| {});
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(b"x").unwrap();
    let before = (std::fs::read(&path).unwrap(), path.metadata().unwrap().modified().unwrap());
    assert_eq!(say(&["verify", path.to_str().unwrap()]).code, 1);
    assert_eq!((std::fs::read(&path).unwrap(), path.metadata().unwrap().modified().unwrap()), before);
}
