//! Values that the standard does not allow, and keywords that come twice.

use crate::bytes::{codes, file, table_file, walk};

/// Codes of what is found in a table of the columns J, 4A and 1PE(3) with these cards more.
fn table(cards: &[&str]) -> (Vec<&'static str>, Vec<&'static str>) {
    let base = ["TFORM1  = 'J       '", "TFORM2  = '4A      '", "TFORM3  = '1PE(3)  '", "TTYPE1  = 'a       '"];
    codes(&walk(&table_file(16, 1, 12, &[&base[..], cards].concat(), &[0; 28])))
}

fn image(cards: &[&str]) -> (Vec<&'static str>, Vec<&'static str>) {
    let base = [
        "XTENSION= 'IMAGE   '",
        "BITPIX  =                   16",
        "NAXIS   =                    1",
        "NAXIS1  =                    2",
        "PCOUNT  =                    0",
        "GCOUNT  =                    1",
    ];
    codes(&walk(&file(&[&base[..], cards].concat(), &[0; 4])))
}

#[test]
fn a_keyword_on_which_data_rest_has_one_value() {
    for cards in [
        ["TZERO1  = 1", "TZERO1  = 2"],
        ["TSCAL1  = 1.0", "TSCAL1  = 10.0"],
        ["TDIM2   = '(2,2)'", "TDIM2   = '(4,1)'"],
        ["TTYPE2  = 'a'", "TTYPE2  = 'b'"],
        ["TUNIT1  = 'm'", "TUNIT1  = 'km'"],
        ["TNULL1  = 1", "TNULL1  = 2"],
        ["TNULL1  = 1", "TNULL1  ="],
        ["tzero1  = 1", "TZERO1  = 2"],
        ["DATASUM = '0'", "DATASUM = '1'"],
        ["CHECKSUM= ' '", "CHECKSUM= '1'"],
        ["EXTNAME = 'a'", "EXTNAME = 'b'"],
        ["ZTILELEN= 1", "ZTILELEN= 2"],
        ["ZFORM1  = '1J'", "ZFORM1  = '1K'"],
        ["MJDREF  = 1", "MJDREF  = 2"],
        ["TCRVL1  = 1", "TCRVL1  = 2"],
    ] {
        assert!(table(&cards).0.contains(&"repeated-conflict"), "{cards:?}");
    }
    for cards in [
        ["BSCALE  = 1", "BSCALE  = 2"],
        ["BZERO   = 1", "BZERO   = 2"],
        ["BLANK   = 1", "BLANK   = 2"],
        ["BUNIT   = 'm'", "BUNIT   = 'km'"],
        ["CRVAL1  = 1", "CRVAL1  = 2"],
        ["CD1_2   = 1", "CD1_2   = 2"],
        ["CTYPE1A = 'x'", "CTYPE1A = 'y'"],
    ] {
        assert_eq!(image(&cards), (vec!["repeated-conflict"], vec![]), "{cards:?}");
    }
    assert_eq!(table(&["THEAP   = 16", "THEAP   = 20"]).0, ["mandatory-conflict"]);
}

#[test]
fn the_same_value_twice_is_only_odd() {
    for cards in [["TZERO1  = 1", "TZERO1  = 1.0"], ["OBJECT  = 'a'", "OBJECT  = 'b'"], ["BSCALE  = 1", "BSCALE  = 2"]]
    {
        assert_eq!(table(&cards), (vec![], vec!["repeated-keyword"]), "{cards:?}");
    }
}

#[test]
fn values_of_columns_fit_their_columns() {
    for (card, code) in [
        ("TDIM2   = '(2,2)'", ""),
        ("TDIM2   = '(2,1)'", ""),
        ("TDIM2   = '(2,3)'", "column-dimensions"),
        ("TDIM2   = '(2;2)'", "column-dimensions"),
        ("TDIM2   = '2,2'", "column-dimensions"),
        ("TDIM2   = '(-2,-2)'", "column-dimensions"),
        ("TDIM2   = '(4294967296,4294967296)'", "column-dimensions"),
        ("TDIM2   = 4", "reserved-value"),
        ("TDIM3   = '(3,1)'", ""),
        ("TDIM3   = '(3,2)'", "column-dimensions"),
        ("TNULL1  = -1", ""),
        ("TNULL1  = 3000000000", "reserved-value"),
        ("TNULL1  = '-1'", "reserved-value"),
        ("TNULL1  = 1.0", "reserved-value"),
        ("TNULL2  = 0", "keyword-not-allowed"),
        ("TNULL3  = 0", "keyword-not-allowed"),
        ("TZERO1  = 5", ""),
        ("TZERO1  = '5'", "reserved-value"),
        ("TSCAL1  = T", "reserved-value"),
        ("TZERO2  = 5", "keyword-not-allowed"),
        ("TTYPE2  = 5", "reserved-value"),
        ("TUNIT2  = 5", "reserved-value"),
        ("TDISP2  = 5", "reserved-value"),
        ("THEAP   = 20", ""),
    ] {
        let expected = if code.is_empty() { vec![] } else { vec![code] };
        assert_eq!(table(&[card]), (vec![], expected), "{card}");
    }
}

#[test]
fn reserved_keywords_have_their_type_and_place() {
    for (card, code) in [
        ("BLANK   = -1", ""),
        ("BLANK   = 1.5", "reserved-value"),
        ("BSCALE  = 'x'", "reserved-value"),
        ("BZERO   = T", "reserved-value"),
        ("BUNIT   = 5", "reserved-value"),
        ("DATAMAX = 'x'", "reserved-value"),
        ("INHERIT = T", ""),
        ("INHERIT = 'yes'", "reserved-value"),
        ("EXTVER  = '1'", "reserved-value"),
        ("MJD-OBS = '1'", "reserved-value"),
        ("OBJECT  = 5", "reserved-value"),
        ("DATE    = '2026-01-01'", ""),
        ("DATE    = '01/02/99'", ""),
        ("DATE    =", ""),
        ("DATE    = 2026", "date-form"),
        ("DATE-END= '2026-01-01 12:00:00'", "date-form"),
        ("DATEMADE= 'yesterday'", ""),
        ("SIMPLE  =                    T", "keyword-not-allowed"),
        ("TESTVAL = 1.0e3", "lower-exponent"),
        ("TESTVAL = (1.0d3, 2.0)", "lower-exponent"),
        ("HIERARCH A test = 1.0e3", "lower-exponent"),
        ("TESTVAL = 1.0E3 / e", ""),
        ("TESTVAL = '1e3'", ""),
    ] {
        let expected = if code.is_empty() { vec![] } else { vec![code] };
        assert_eq!(image(&[card]), (vec![], expected), "{card}");
    }
}

#[test]
fn numbers_that_cfitsio_refuses_are_said_once() {
    let cards = [
        "XTENSION= 'IMAGE   '",
        "BITPIX  =                  -32",
        "NAXIS   =                   01",
        "NAXIS1  =                   +2",
        "PCOUNT  =                    0",
        "GCOUNT  =                    1",
    ];
    let walk = walk(&file(&cards, &[0; 8]));
    assert_eq!(codes(&walk), (vec![], vec!["leading-zeros"]));
    assert_eq!(
        walk.warnings.iter().find(|warning| warning.code == "leading-zeros").unwrap().keyword.as_deref(),
        Some("NAXIS, NAXIS1")
    );
}

#[test]
fn a_sum_that_is_blank_is_undefined() {
    for (cards, expected) in [
        (&["CHECKSUM= '                '"][..], &["checksum-undefined"][..]),
        (&["CHECKSUM="], &["checksum-undefined"]),
        (&["DATASUM = '        '"], &["checksum-undefined"]),
        (&["CHECKSUM= ''", "DATASUM = ''"], &["checksum-undefined", "checksum-undefined"]),
        (&["CHECKSUM= ''", "DATASUM = '0'"], &["checksum-undefined"]),
    ] {
        assert_eq!(image(cards), (vec![], expected.to_vec()), "{cards:?}");
    }
    // the data are 4 bytes of 0
    assert_eq!(image(&["CHECKSUM= ''", "DATASUM = '1'"]).0, ["datasum-mismatch"]);
    assert_eq!(image(&["DATASUM = 0"]), (vec![], vec!["reserved-value"]));
    assert_eq!(image(&["DATASUM = 1"]).0, ["datasum-mismatch"]);
}

#[test]
fn a_keyword_that_was_datasum_is_damage() {
    assert_eq!(image(&["DATASUX = '0'"]).0, ["checksum-damaged"]);
    assert_eq!(image(&["ZHECKSUM= '0'", "ZDATASUM= '0'"]), (vec![], vec![]));
}
