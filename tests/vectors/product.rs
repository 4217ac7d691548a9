//! The metadata engine against 173 headers and what CTAO's reference implementation makes of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use dl0_ingest::fixity::{self, Options, Report};
use serde_json::{Map, Value, json};

/// What we do instead of the reference, and why.
enum Instead {
    /// The reference accepts it, we reject it.
    Reject,
    /// We give other values for these keys.
    Set(Value),
}

/// Every variant for which our answer is not the reference's.
fn differences() -> BTreeMap<&'static str, (Instead, &'static str)> {
    use Instead::{Reject, Set};
    let derived = "a UUID derived from the content, the same at every attempt, and not a random one";
    let not_iso = "not a time of ISO 8601; the reference takes it for Unix seconds or an epoch";
    let tai = json!({
        "observation__coverage__time__t_min": "2026-08-01T07:59:23.000000000",
        "observation__coverage__time__t_max": "2026-08-02T07:59:23.000000000",
    });
    BTreeMap::from([
        ("1_missing_DATAID", (Set(json!({"instance__id": null})), derived)),
        (
            "4_int_obsid_vhuge",
            (Reject, "more than 64 bits, of which most readers of JSON lose digits (RFC 8259, section 6)"),
        ),
        ("5_date_obsnight_zeroint", (Reject, "a night is a date, not a number of seconds")),
        ("6_time_created_byear", (Reject, not_iso)),
        ("6_time_created_jyear", (Reject, not_iso)),
        ("6_time_created_mjdstr", (Reject, not_iso)),
        ("6_time_created_numstr", (Reject, not_iso)),
        ("6_time_created_numstrf", (Reject, not_iso)),
        ("6_time_created_unixfloat", (Reject, not_iso)),
        ("6_time_created_yday", (Reject, not_iso)),
        ("6_time_created_year", (Reject, not_iso)),
        ("7_met_tstart_strnum", (Reject, not_iso)),
        ("7_met_tai", (Set(tai), "TIMESYS is TAI, so the times are converted to UTC")),
    ])
}

#[test]
fn every_variant_gives_the_metadata_of_the_reference_or_a_documented_other() {
    let expected = expected();
    let differences = differences();
    let mut wrong = Vec::new();
    let files = files();
    assert_eq!(files.len(), 173);
    for (name, bytes) in &files {
        let report = examine(bytes);
        let mut want = expected[name.as_str()].clone();
        match differences.get(name.as_str()) {
            Some((Instead::Reject, why)) => {
                assert!(want.is_some(), "{name}: no difference any more ({why})");
                want = None;
            }
            Some((Instead::Set(set), _)) => want.as_mut().unwrap().extend(set.as_object().unwrap().clone()),
            None => {}
        }
        let mut got = report.metadata.clone();
        if let (Some(want), Some(got)) = (&want, &mut got) {
            // a null stands for "some value"
            for key in want.iter().filter(|(_, value)| value.is_null()).map(|(key, _)| key) {
                assert!(got.contains_key(key), "{name}: {key}");
                got.insert(key.clone(), Value::Null);
            }
        }
        if got != want {
            wrong.push(format!("{name}\n   want {want:?}\n   got  {got:?}\n   {:?}", report.reasons));
        }
        let rejected = report.reasons.iter().any(|reason| reason.code.ends_with("-metadata"));
        assert_eq!(rejected, want.is_none(), "{name}: {:?}", report.reasons);
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), files.len(), wrong.join("\n"));
}

#[test]
fn the_error_texts() {
    let mut texts = String::new();
    for (name, bytes) in &files() {
        let report = examine(bytes);
        for reason in report.reasons.iter().filter(|reason| reason.code.ends_with("-metadata")) {
            writeln!(texts, "{name}\n    {}: {}", reason.code, reason.message).unwrap();
        }
    }
    insta::assert_snapshot!(texts);
}

#[test]
fn missing_metadata_can_be_made_a_warning() {
    for (cards, code) in [(&["CTAOMETA= '2.1.0'"][..], "invalid-metadata"), (&[], "missing-metadata")] {
        let bytes = primary(cards);
        assert!(examine(&bytes).reasons.iter().any(|reason| reason.code == code));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let options = Options { accept_missing_metadata: true, ..Options::default() };
        let report = fixity::examine(&file, &options).unwrap();
        assert!(!report.reasons.iter().any(|reason| reason.code == code), "{:?}", report.reasons);
        assert!(report.warnings.iter().any(|warning| warning.code == code));
        assert_eq!(report.metadata, None);
    }
}

#[test]
fn an_accent_in_a_name_is_no_reason_to_reject() {
    let files: BTreeMap<_, _> = files().into_iter().collect();
    let mut bytes = files["000_base_primary"].clone();
    let author = bytes.windows(19).position(|window| window == b"AUTHOR  = 'CTAO DPP").unwrap();
    bytes[author + 11..author + 15].copy_from_slice(b"Jos\xe9");
    let report = examine(&bytes);
    assert!(report.warnings.iter().any(|warning| warning.code == "non-ascii"));
    // as the reference has it
    assert_eq!(report.metadata.unwrap()["contact__name"], "Jos? DPPS");
    assert!(!report.reasons.iter().any(|reason| reason.code.ends_with("-metadata")), "{:?}", report.reasons);
}

#[test]
fn one_key_of_the_instance_is_enough() {
    let instance = |keyword: &str| {
        let text = fs::read_to_string(directory().join("cards.txt")).unwrap();
        let keywords =
            ["DATAID", "OBS_ID", "AE_ID", "AE_CLASS", "CHUNK_ID", "OBSNIGHT", "TELESCOP", "INSTRUME", "DATASRC"];
        let base = text.lines().skip_while(|line| *line != "# hdu").skip(5).take_while(|line| !line.starts_with('#'));
        let name = |card: &str| card.split('=').next().unwrap().trim().to_owned();
        let cards = base.map(|line| &line[1..]);
        let cards: Vec<&str> =
            cards.filter(|card| name(card) == keyword || !keywords.contains(&name(card).as_str())).collect();
        examine(&primary(&cards)).metadata.is_some()
    };
    assert!(!instance(""));
    assert!(instance("TELESCOP") && instance("OBS_ID") && instance("DATASRC"));
}

#[test]
fn a_missing_identifier_is_derived_from_the_content() {
    let files: BTreeMap<_, _> = files().into_iter().collect();
    let bytes = &files["1_missing_DATAID"];
    let identifier = |bytes: &[u8]| examine(bytes).metadata.unwrap()["instance__id"].as_str().unwrap().to_owned();
    assert_eq!(identifier(bytes), identifier(bytes));
    assert_eq!(identifier(bytes).as_bytes()[14], b'5', "a version 5 UUID");
    let mut other = bytes.clone();
    let title = other.windows(8).position(|window| window == b"DL0 Test").unwrap();
    other[title] = b'X';
    assert_ne!(identifier(&other), identifier(bytes));
}

#[test]
fn all_problems_of_a_header_are_named_at_once() {
    let cards =
        ["CTAOMETA= '2.1.0'", "DATALEVL= 'dl0'", "OBS_ID  = 'x'", "TSTART  = '2026-01-01T25:00:00'", "RELEASE = 'r'"];
    insta::assert_snapshot!(rejection(&cards));
}

#[test]
fn rules_beyond_single_keywords() {
    let base = fs::read_to_string(directory().join("cards.txt")).unwrap();
    let base: Vec<&str> =
        base.lines().skip_while(|line| *line != "# hdu").skip(5).take_while(|line| !line.starts_with('#')).collect();
    // replaces or adds cards; one without a value takes its keyword out
    let with = |changes: &[&str]| {
        let keyword = |card: &str| card.split('=').next().unwrap().trim().to_owned();
        let kept = |card: &&str| !changes.iter().any(|change| keyword(change) == keyword(card));
        let added = changes.iter().copied().filter(|change| change.contains('='));
        let cards: Vec<&str> = base.iter().map(|line| &line[1..]).filter(kept).chain(added).collect();
        examine(&primary(&cards))
    };
    let with_place = |changes: &[&'static str]| {
        let mut cards = vec![
            "TSTART  = '2026-01-01'",
            "TSTOP   = '2026-01-02'",
            "OBSGEO-L= -17.89",
            "OBSGEO-H= 2200.0",
            "SIMPROD = 'p'",
            "SIMZEN  = 20.0",
            "SIMAZ   = 30.0",
            "SIMNSB  = 1.0",
        ];
        if !changes.iter().any(|change| change.starts_with("OBSGEO-B")) {
            cards.push("OBSGEO-B= 28.76");
        }
        cards.extend(changes);
        cards
    };
    let mut texts = String::new();
    for (name, cards) in [
        ("lunar cycle without period", &["LUNCYCLE= 3"][..]),
        ("data challenge on the real array", &["SDC_NSB = 'dark'"]),
        (
            "simulation node without a place",
            &["INSTRUME=", "SIMPROD = 'p'", "SIMZEN  = 20.0", "SIMAZ   = 0.0", "SIMNSB  = 1.0"],
        ),
        ("a division its level cannot have", &["DATADIV = 'Binned'"]),
        ("hour angle far from the azimuth", &with_place(&["SIMHA   = 1.0", "SIMDEC  = 2.0"])),
        ("a place beyond the pole", &with_place(&["OBSGEO-B= 128.76"])),
        ("both names of a renamed keyword", &["ANAMODE = 'a'", "ACTCONF = 'b'"]),
        ("numeric times without a reference", &["TSTART  = 1.0", "TSTOP   = 2.0"]),
        (
            "numeric times in an unknown scale",
            &["TSTART  = 1.0", "TSTOP   = 2.0", "MJDREF  = 58119.0", "TIMESYS = 'TDB'"],
        ),
        ("half a pointing", &["TSTART  = '2026-01-01'", "TSTOP   = '2026-01-02'", "RA_PNT  = 83.6"]),
        ("unknown key with a neighbour", &["HIERARCH CTAO INSTANCE OBSID = 5"]),
        ("unknown key without one", &["HIERARCH CTAO WEATHER = 'fine'"]),
        ("input without its number", &["HIERARCH CTAO ACTIVITY INPUTS URI = 'lfn://x/y'"]),
        (
            "no key of the instance",
            &["DATAID", "OBS_ID", "AE_ID", "AE_CLASS", "CHUNK_ID", "OBSNIGHT", "TELESCOP", "INSTRUME", "DATASRC"],
        ),
        ("half an input", &["HIERARCH CTAO ACTIVITY INPUTS 0 URI = 'lfn://x/y'"]),
        ("half a data source", &["DATASRC =", "HIERARCH CTAO INSTANCE DATA_SOURCE COMPONENT = 'SDH'"]),
        ("default cannot be undefined", &["LICENSE ="]),
    ] {
        let report = with(cards);
        let reason = report.reasons.iter().find(|reason| reason.code == "invalid-metadata");
        writeln!(texts, "{name}\n    {}", reason.expect(name).message).unwrap();
    }
    insta::assert_snapshot!(texts);

    let metadata = |cards: &[&str]| with(cards).metadata.expect("valid");
    let times = |cards: &[&str]| metadata(cards)["observation__coverage__time__t_min"].as_str().unwrap().to_owned();
    let split = ["TSTART  = 10.5", "TSTOP   = 11.25", "TIMEUNIT= 'd'", "MJDREFI = 58118", "MJDREFF = 1.0"];
    assert_eq!(times(&split), "2018-01-11T12:00:00.000000000");
    let tt = ["TSTART  = 0.0", "TSTOP   = 1.0", "TIMESYS = 'TT'", "MJDREF  = 61041.0"];
    assert_eq!(times(&tt), "2025-12-31T23:58:50.816000000");
    let source = [
        "DATASRC",
        "HIERARCH CTAO INSTANCE DATA_SOURCE COMPONENT = 'SDH'",
        "HIERARCH CTAO INSTANCE DATA_SOURCE ID = 1",
    ];
    assert_eq!(metadata(&source)["instance__data_source"], "SDH001");
    assert_eq!(metadata(&["HIERARCH CTAO INSTANCE TEL_ID = 7"])["instance__ae_id"], 7);
    assert_eq!(metadata(&["ANAMODE = 'old'", "ACTCONF"])["activity__configuration_id"], "old");
    let input = [
        "HIERARCH CTAO ACTIVITY INPUTS 0 URI = 'lfn://x/y'",
        "HIERARCH CTAO ACTIVITY INPUTS 0 ROLE = 'cal'",
        "HIERARCH CTAO ACTIVITY INPUTS 0 ID = 'F7566BD4BE42459E9B8E0A6CE1CFBFDB'",
    ];
    assert_eq!(metadata(&input)["activity__inputs__0__id"], "f7566bd4-be42-459e-9b8e-0a6ce1cfbfdb");
    let node = metadata(&with_place(&[]));
    let (hour, declination) = (&node["simulation__node__hour_angle"], &node["simulation__node__declination"]);
    assert!((hour.as_f64().unwrap() + 14.091_219_800).abs() < 1e-8, "{hour}");
    assert!((declination.as_f64().unwrap() - 45.380_361_624).abs() < 1e-8, "{declination}");
    let keys: Vec<_> = node.keys().filter(|key| key.starts_with("simulation__node")).collect();
    assert_eq!(
        keys.iter().map(|key| &key["simulation__node__".len()..]).collect::<Vec<_>>(),
        ["zenith", "azimuth", "hour_angle", "declination", "nsb_factor"]
    );
    assert_eq!(metadata(&with_place(&["SIMHA   = -14.1"]))["simulation__node__hour_angle"], -14.1);
    assert_eq!(
        metadata(&["HIERARCH CTAO SDC NSB_CONDITIONS = 'dark'", "TELESCOP= 'Simulated-CTAO'"])["sdc__sky_brightness"],
        "dark"
    );
    let pointing = with(&["RA_PNT  = 83.6"]);
    assert_eq!(pointing.warnings.iter().filter(|warning| warning.code == "metadata-ignored").count(), 1);
}

fn rejection(cards: &[&str]) -> String {
    let report = examine(&primary(cards));
    report.reasons.into_iter().find(|reason| reason.code == "invalid-metadata").unwrap().message
}

/// A file of one primary HDU with these cards.
fn primary(cards: &[&str]) -> Vec<u8> {
    let mandatory = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "EXTEND  = T"];
    let cards: Vec<String> = mandatory.iter().chain(cards).map(|card| (*card).to_owned()).collect();
    fits(&[cards])
}

fn examine(bytes: &[u8]) -> Report {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    fixity::examine(&file, &Options::default()).unwrap()
}

fn directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/meta"))
}

/// The flat keys the reference gives, `None` where it rejects.
fn expected() -> BTreeMap<String, Option<Map<String, Value>>> {
    let text = fs::read_to_string(directory().join("expected.json")).unwrap();
    let changes: Map<String, Value> = serde_json::from_str(&text).unwrap();
    let mut expected: BTreeMap<String, Option<Map<String, Value>>> = BTreeMap::new();
    for (name, change) in changes {
        let keys = change.as_object().map(|change| {
            let mut keys = match change.get("like") {
                Some(like) => expected[like.as_str().unwrap()].clone().unwrap(),
                None => Map::new(),
            };
            for key in change.get("unset").and_then(Value::as_array).into_iter().flatten() {
                keys.remove(key.as_str().unwrap());
            }
            keys.extend(change.get("set").and_then(Value::as_object).cloned().unwrap_or_default());
            keys
        });
        expected.insert(name, keys);
    }
    expected
}

/// The variants as FITS files.
fn files() -> Vec<(String, Vec<u8>)> {
    let text = fs::read_to_string(directory().join("cards.txt")).unwrap();
    let mut headers: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for block in text.split("## ").skip(1) {
        let (title, hdus) = block.split_once('\n').unwrap();
        let (name, like) = title.split_once(" < ").unwrap_or((title, ""));
        let mut cards = Vec::new();
        for (index, hdu) in hdus.split("# hdu\n").skip(1).enumerate() {
            let mut original = headers.get(like).and_then(|hdus| hdus.get(index)).into_iter().flatten().cloned();
            let mut changed = Vec::new();
            for line in hdu.lines() {
                let (action, rest) = line.split_at(1);
                match action {
                    "=" => changed.extend(original.by_ref().take(rest.parse().unwrap())),
                    "-" => drop(original.by_ref().take(rest.parse().unwrap()).count()),
                    _ => changed.push(rest.to_owned()),
                }
            }
            cards.push(changed);
        }
        headers.insert(name.to_owned(), cards);
    }
    headers.into_iter().map(|(name, hdus)| (name, fits(&hdus))).collect()
}

/// A FITS file of these headers, its data units zeros.
fn fits(hdus: &[Vec<String>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for cards in hdus {
        for card in cards {
            bytes.extend_from_slice(format!("{card:80}").as_bytes());
        }
        bytes.extend_from_slice(format!("{:80}", "END").as_bytes());
        bytes.resize(bytes.len().next_multiple_of(2880), b' ');
        let axis = |keyword: &str| {
            let card = cards.iter().find(|card| card.split('=').next().is_some_and(|name| name.trim() == keyword));
            card.and_then(|card| card.split('=').nth(1)).and_then(|value| value.trim().parse::<usize>().ok())
        };
        let data = axis("NAXIS1").map_or(0, |length| length * axis("NAXIS2").unwrap_or(1));
        bytes.resize((bytes.len() + data).next_multiple_of(2880), 0);
    }
    bytes
}
