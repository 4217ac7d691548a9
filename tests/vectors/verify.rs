//! One good file and what can happen to it: the verdict, the code, and the sentence an operator reads.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use dl0_ingest::fixity::{self, Checksum, Depth, Finding, Options, Report};
use serde::Deserialize;

/// The codes of the reasons, in order; accepted if there are none.
const VERDICTS: &[(&str, &[&str])] = &[
    ("00_intact", &[]),
    ("01_primary_value_flip", &["checksum-mismatch"]),
    ("02_table_header_flip", &["checksum-mismatch"]),
    ("04_heap_flip", &["checksum-mismatch", "datasum-mismatch"]),
    ("05_datapad_flip", &["padding", "checksum-mismatch", "datasum-mismatch"]),
    ("07_gap_flip", &["checksum-mismatch", "datasum-mismatch", "zfits-structure"]),
    ("08_datasum_wrong_checksum_consistent", &["datasum-mismatch"]),
    ("09b_no_checksum_primary", &[]),
    ("09c_no_checksum_any", &[]),
    ("10b_no_datasum_checksum_header_only", &["checksum-mismatch"]),
    ("11_trunc_mid_heap", &["truncated"]),
    ("12_trunc_pad_only", &["truncated"]),
    ("13_trunc_hdu_boundary", &["no-data-hdu"]),
    ("13b_trunc_after_primary", &["no-data-hdu"]),
    ("14_trunc_in_last_header", &["truncated"]),
    ("14c_trunc_in_primary", &["truncated"]),
    ("15_append_zeros", &["trailing-data"]),
    ("16b_append_zeros_odd", &["trailing-data"]),
    ("17_empty", &["empty"]),
    ("18_text", &["not-fits"]),
    ("18c_zeros", &["not-fits"]),
    // no FITS checksum can see these two: the sum does not know the order of words, and they lie within a payload
    ("23_swap_two_words", &[]),
    ("23b_plus1_minus1", &[]),
    ("26b_checksum_card_no_comment", &[]),
    ("26c_checksum_free_format", &["checksum-mismatch"]),
    ("27b_int_free_format", &[]),
    ("27c_nonascii_header", &[]),
    ("27d_tab_header", &["invalid-header"]),
    // undefined, which is as good as absent
    ("28_checksum_blank", &[]),
    ("28b_checksum_int", &["checksum-mismatch"]),
    ("29_hdrpad_nonblank_fixed_sum", &["padding"]),
    ("29c_datapad_nonzero_fixed_sum", &["padding", "datasum-mismatch"]),
    ("30_gzip_content", &["not-fits"]),
    ("31_pcount_too_big", &["truncated", "zfits-structure"]),
];

#[test]
fn every_damage_gets_its_verdict() {
    let mutants = mutants();
    assert_eq!(mutants.len(), VERDICTS.len());
    for (name, verdict) in VERDICTS {
        let report = examine(&mutants[*name]);
        let codes: Vec<_> = report.reasons.iter().map(|reason| reason.code).collect();
        assert_eq!(codes, *verdict, "{name}: {:#?}", report.reasons);
        assert_eq!(report.accepted(), verdict.is_empty());
        assert_eq!(report.fixity.bytes, mutants[*name].len() as u64);
    }
}

#[test]
#[cfg(feature = "cfitsio-system")]
fn cfitsio_sees_the_same_hdus() {
    // it unpacks a file that is compressed as a whole
    const DIFFERENT: &[&str] = &["30_gzip_content"];
    for (name, bytes) in mutants() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let found = dl0_ingest::crosscheck::cross_check(&file).unwrap();
        assert_eq!(!found.is_empty(), DIFFERENT.contains(&name.as_str()), "{name}: {found:?}");
    }
}

#[test]
fn the_texts_of_reasons_and_warnings() {
    let mut texts = String::new();
    for (name, bytes) in &mutants() {
        let report = examine(bytes);
        writeln!(texts, "{name}: {}", if report.accepted() { "accepted" } else { "rejected" }).unwrap();
        for reason in &report.reasons {
            writeln!(texts, "    reason {}: {}", reason.code, reason.message).unwrap();
        }
        for warning in &report.warnings {
            writeln!(texts, "    warning {}: {}", warning.code, warning.message).unwrap();
        }
    }
    insta::assert_snapshot!(texts);
}

#[test]
fn the_intact_file_in_full() {
    let report = examine(&mutants()["00_intact"]);
    let hdus: Vec<_> =
        report.hdus.iter().map(|hdu| (hdu.index, hdu.name.as_deref(), hdu.checksum, hdu.datasum)).collect();
    let good = (Checksum::Ok, Checksum::Ok);
    let expected = [
        (0, None, good.0, good.1),
        (1, Some("DataStream"), good.0, good.1),
        (2, Some("SubarrayEvents"), good.0, good.1),
    ];
    assert_eq!(hdus, expected);
    assert_eq!(report.valid_fits_checksum, Some(true));
    assert_eq!(report.trailing_bytes, 0);
    assert!(report.warnings.is_empty());
    insta::assert_json_snapshot!(report.metadata);
}

#[test]
fn files_as_acada_writes_them_are_accepted() {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/dl0"));
    let mut seen = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.contains(".fits") {
            continue;
        }
        let report = examine(&fs::read(&path).unwrap());
        assert!(report.accepted(), "{name}: {:#?}", report.reasons);
        assert_eq!(report.metadata.as_ref().unwrap()["data__level"], "DL0", "{name}");
        // the monitoring file is plain FITS, and has no checksums
        let checksums = name.ends_with(".fits.fz");
        assert_eq!(report.warnings.is_empty(), checksums, "{name}: {:#?}", report.warnings);
        assert_eq!(report.hdus.iter().all(|hdu| hdu.checksum == Checksum::Ok), checksums, "{name}");
        seen += 1;
    }
    assert!(seen >= 5, "only {seen} files found");
}

#[test]
fn a_missing_checksum_can_be_made_a_reason() {
    let bytes = &mutants()["09c_no_checksum_any"];
    assert_eq!(examine(bytes).valid_fits_checksum, Some(true));
    let strict = examine_with(bytes, &Options { require_checksum: true, ..Options::default() });
    let absent = strict.reasons.iter().filter(|reason| reason.code == "checksum-absent").count();
    assert_eq!((absent, strict.warnings.len()), (3, 0));
}

#[test]
fn a_blank_checksum_is_undefined_and_can_be_made_a_reason() {
    let bytes = &mutants()["28_checksum_blank"];
    let report = examine(bytes);
    let codes = |findings: &[Finding]| findings.iter().map(|finding| finding.code).collect::<Vec<_>>();
    assert_eq!((report.accepted(), codes(&report.warnings)), (true, vec!["checksum-undefined"]));
    assert_eq!((report.hdus[2].checksum, report.valid_fits_checksum), (Checksum::Absent, Some(true)));
    let strict = examine_with(bytes, &Options { require_checksum: true, ..Options::default() });
    assert_eq!(codes(&strict.reasons), ["checksum-undefined"]);
}

#[test]
fn cells_of_plain_tables_are_looked_at_at_decode() {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/crates/fits-verify/fixtures/plain"));
    for (name, code, at) in [
        ("logical_bad", "logical-cell", Depth::Decode),
        ("char_nonascii", "text-cell", Depth::Decode),
        ("bit_padding", "bit-cell", Depth::Decode),
        ("ascii_text_bad", "ascii-cell", Depth::Decode),
        ("vla_beyond", "array-descriptor", Depth::Structure),
        ("vla_emax_too_small", "array-length", Depth::Structure),
    ] {
        let bytes = fs::read(directory.join(format!("{name}.fits"))).unwrap();
        for depth in Depth::ALL {
            let report = examine_with(&bytes, &Options { depth, ..Options::default() });
            let found = report.reasons.iter().chain(&report.warnings).any(|finding| finding.code == code);
            assert_eq!(found, depth >= at, "{name} at {depth}: {report:?}");
        }
    }
}

#[test]
fn an_unfinished_file_is_called_unfinished() {
    // what ACADA's writer leaves on disk until it closes the file
    let mut bytes = mutants()["00_intact"].clone();
    for (keyword, placeholder) in [("CHECKSUM= ", "'0000000000000000'"), ("DATASUM = ", "'         0'")] {
        let positions: Vec<_> =
            (0..bytes.len()).step_by(80).filter(|&at| bytes[at..].starts_with(keyword.as_bytes())).collect();
        assert_eq!(positions.len(), 3);
        let at = positions[2] + keyword.len();
        bytes[at..at + 18].fill(b' ');
        bytes[at..at + placeholder.len()].copy_from_slice(placeholder.as_bytes());
    }
    let report = examine(&bytes);
    let codes: Vec<_> = report.reasons.iter().map(|reason| reason.code).collect();
    assert_eq!(codes, ["unfinished-writer"]);
    assert_eq!(report.valid_fits_checksum, Some(false));
}

#[test]
fn cut_anywhere_it_is_never_accepted() {
    let whole = &mutants()["00_intact"];
    for length in (0..whole.len()).step_by(97).chain([2880, 5760, 14400, whole.len() - 1]) {
        let report = examine(&whole[..length]);
        assert!(!report.accepted(), "accepted when cut to {length} bytes");
    }
}

fn examine(bytes: &[u8]) -> Report {
    let one = examine_with(bytes, &Options::default());
    let two = examine_with(bytes, &Options { parallel_blake3: true, ..Options::default() });
    assert_eq!(one, two, "one thread and two must agree");
    one
}

fn examine_with(bytes: &[u8], options: &Options) -> Report {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    fixity::examine(&file, options).unwrap()
}

#[derive(Deserialize)]
struct Mutation {
    name: String,
    #[serde(default)]
    length: usize,
    #[serde(default)]
    patch: Vec<(usize, String)>,
    content: Option<String>,
    file: Option<String>,
    fill: Option<String>,
}

/// The damaged files by name.
fn mutants() -> BTreeMap<String, Vec<u8>> {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/verify"));
    let intact = fs::read(directory.join("intact.fits.fz")).unwrap();
    let mutations: Vec<Mutation> =
        serde_json::from_str(&fs::read_to_string(directory.join("mutations.json")).unwrap()).unwrap();
    let build = |mutation: &Mutation| {
        if let Some(content) = &mutation.content {
            return content.clone().into_bytes();
        }
        if let Some(file) = &mutation.file {
            return fs::read(directory.join(file)).unwrap();
        }
        if mutation.fill.is_some() {
            return vec![0; mutation.length];
        }
        let mut bytes = intact.clone();
        for (offset, patch) in &mutation.patch {
            for (byte, digits) in bytes[*offset..].iter_mut().zip(patch.as_bytes().chunks(2)) {
                *byte = u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
            }
        }
        bytes.resize(mutation.length, 0);
        bytes
    };
    mutations.iter().map(|mutation| (mutation.name.clone(), build(mutation))).collect()
}
