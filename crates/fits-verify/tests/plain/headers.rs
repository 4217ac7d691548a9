//! Keywords that come twice, and sums that are blank.

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
