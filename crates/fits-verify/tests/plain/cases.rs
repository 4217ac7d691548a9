//! One file for each rule.

use std::fmt::Write as _;

use crate::bytes::{codes, fixture, walk, walk_in};

type Codes = &'static [&'static str];

/// Name, codes of the problems, codes of the warnings, and what reading the cells adds.
const VERDICTS: &[(&str, Codes, Codes, Codes)] = &[
    ("sound", &[], &[], &[]),
    ("naxis_110", &[], &[], &[]),
    ("lower_naxis1", &["keyword-damaged"], &[], &[]),
    ("lower_tform", &["keyword-damaged"], &[], &[]),
    ("bitflip_nAXIS1_no_checksum", &["keyword-damaged"], &[], &[]),
    ("dup_tzero", &["repeated-conflict"], &[], &[]),
    ("dup_tscal", &["repeated-conflict"], &[], &[]),
    ("two_checksum", &["repeated-conflict"], &[], &[]),
    ("vla_beyond", &["array-descriptor"], &[], &[]),
    ("vla_negative", &["array-descriptor"], &[], &[]),
    ("vla_offset_beyond", &["array-descriptor"], &[], &[]),
    ("vla_emax_too_small", &[], &["array-length"], &[]),
    ("theap_pcount0", &[], &["keyword-not-allowed"], &[]),
    ("tdim_bad", &[], &["column-dimensions"], &[]),
    ("tnull_float", &[], &["keyword-not-allowed"], &[]),
    ("tzero_string", &[], &["reserved-value"], &[]),
    ("logical_bad", &[], &[], &["logical-cell"]),
    ("char_nonascii", &[], &[], &["text-cell"]),
    ("bit_padding", &[], &[], &["bit-cell"]),
    ("ascii_text_bad", &[], &[], &["ascii-cell"]),
    ("blank_float", &[], &["keyword-not-allowed"], &[]),
    ("date_bad", &[], &["date-form"], &[]),
    ("date_obs_bad", &[], &["date-form"], &[]),
    ("inherit_bad", &[], &["reserved-value"], &[]),
    ("lower_exponent", &[], &["lower-exponent"], &[]),
    ("simple_in_ext", &[], &["keyword-not-allowed"], &[]),
    ("bitpix_08", &[], &["leading-zeros"], &[]),
    ("datasum_blank", &[], &["checksum-undefined"], &[]),
    ("checksum_blank", &[], &["checksum-undefined"], &[]),
];

#[test]
fn every_case_gets_its_verdict_however_it_is_cut() {
    for (name, problems, warnings, in_cells) in VERDICTS {
        let bytes = fixture(name);
        assert_eq!(codes(&walk(&bytes)), (problems.to_vec(), warnings.to_vec()), "{name}");
        let deep = [*warnings, *in_cells].concat();
        for slice in [1, 7, 2880, usize::MAX] {
            let walk = walk_in(&bytes, slice, true);
            assert_eq!(codes(&walk), (problems.to_vec(), deep.clone()), "{name} in slices of {slice}");
            assert!(walk.complete, "{name}");
        }
    }
}

#[test]
fn every_file_has_its_verdict() {
    let directory = format!("{}/fixtures/plain", env!("CARGO_MANIFEST_DIR"));
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), VERDICTS.len());
}

#[test]
fn the_texts_say_where_and_what() {
    let mut texts = String::new();
    for (name, ..) in VERDICTS {
        let walk = walk_in(&fixture(name), usize::MAX, true);
        for problem in walk.problems.iter().chain(&walk.warnings).filter(|problem| problem.code != "checksum-absent") {
            writeln!(texts, "{name}: {problem}; {}", problem.remedy).unwrap();
        }
    }
    insta::assert_snapshot!(texts);
}
