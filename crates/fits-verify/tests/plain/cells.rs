//! Cells that go by: the arrays in the heap, and what text, logicals and bits may be.

use fits_verify::Walk;

use crate::bytes::{codes, file, table_file, walk, walk_in};

/// Rows of a number and an array descriptor.
fn arrays(rows: &[(i32, i32)], heap: usize, more: &[&str]) -> Walk {
    let mut data = Vec::new();
    for (row, (length, place)) in (0_i32..).zip(rows) {
        data.extend([row, *length, *place].map(i32::to_be_bytes).concat());
    }
    data.resize(data.len() + heap, 0);
    let cards = ["TFORM1  = 'J       '", "TFORM2  = '1PI(9)  '", "TTYPE2  = 'trace   '"];
    let bytes = table_file(12, rows.len(), heap, &[&cards[..], more].concat(), &data);
    let whole = walk(&bytes);
    for slice in [1, 5, 12, 1000] {
        assert_eq!(walk_in(&bytes, slice, false), whole, "in slices of {slice}");
    }
    whole
}

#[test]
fn arrays_lie_within_the_heap_of_their_table() {
    assert_eq!(codes(&arrays(&[(2, 0), (0, -7), (8, 4), (9, 2)], 20, &[])), (vec![], vec![]));
    // the heap begins behind a gap, and is smaller for it
    assert_eq!(codes(&arrays(&[(2, 0), (8, 4)], 28, &["THEAP   = 32"])), (vec![], vec![]));
    assert_eq!(codes(&arrays(&[(2, 0), (8, 6)], 28, &["THEAP   = 32"])), (vec!["array-descriptor"], vec![]));
    for bad in [(11, 0), (1, 19), (1, 400), (-1, 0), (1, -1), (i32::MAX, i32::MAX)] {
        assert_eq!(codes(&arrays(&[(2, 0), bad], 20, &[])), (vec!["array-descriptor"], vec![]), "{bad:?}");
    }
    assert_eq!(codes(&arrays(&[(10, 0)], 20, &[])), (vec![], vec!["array-length"]));
}

#[test]
fn many_bad_arrays_are_one_finding() {
    let walk = arrays(&[(1, 0), (99, 0), (1, 99), (10, 0), (-1, 0)], 20, &[]);
    assert_eq!(codes(&walk), (vec!["array-descriptor"], vec!["array-length"]));
    let text = walk.problems[0].to_string();
    assert_eq!(
        text,
        "HDU 1 at byte 5776: column 2 'trace', row 2: its array of 99 elements at byte 0 of the heap ends beyond the heap, \
         which has 20 bytes, and 2 more rows have the like (FITS 4.0, section 7.3.5)"
    );
}

#[test]
fn a_claimed_exabyte_of_rows_costs_nothing() {
    let cards = ["TFORM1  = '1152921504606846976B'", "TFORM2  = '1PB'", "TFORM3  = '1152921504606846976L'"];
    let bytes = table_file((1 << 61) + 8, 1, 0, &cards, &[0; 100]);
    let walk = walk_in(&bytes, 1, true);
    assert_eq!((codes(&walk).0, walk.complete), (vec!["truncated"], false));
}

#[test]
fn compressed_tables_are_left_alone_and_compressed_images_are_not() {
    let image = ["TFORM1  = '1PB(4)  '", "TTYPE1  = 'COMPRESSED_DATA'"];
    let data = [0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4];
    for (card, problems) in
        [("ZIMAGE  =                    T", vec!["array-descriptor"]), ("ZTABLE  =                    T", vec![])]
    {
        let walk = walk(&table_file(8, 1, 4, &[&image[..], &[card]].concat(), &data));
        assert_eq!(codes(&walk).0, problems, "{card}");
    }
}

/// What is found in rows of one column, cells read; without that nothing is.
fn column(form: &str, more: &[&str], rows: &[&[u8]]) -> Vec<&'static str> {
    let form = format!("TFORM1  = '{form}'");
    let bytes = table_file(rows[0].len(), rows.len(), 0, &[&[form.as_str()], more].concat(), &rows.concat());
    let (problems, warnings) = codes(&walk_in(&bytes, 1, true));
    assert_eq!(problems, [""; 0]);
    assert_eq!(warnings, codes(&walk_in(&bytes, usize::MAX, true)).1);
    assert_eq!(codes(&walk(&bytes)), (vec![], vec![]));
    warnings
}

#[test]
fn logicals_text_and_bits_are_what_the_standard_allows() {
    for (form, more, row, code) in [
        ("4L", &[][..], &b"TF\0T"[..], ""),
        ("4L", &[], b"TF1T", "logical-cell"),
        ("4A", &[], b"ab ~", ""),
        ("4A", &[], b"a\0\xff\x01", ""),
        ("4A", &[], b"a\tbc", "text-cell"),
        ("4A2", &[], b"a\0\xffb", "text-cell"),
        ("4A", &["TDIM1   = '(2,2)'"], b"a\0\xffb", "text-cell"),
        ("11X", &[], b"\xff\xe0", ""),
        ("11X", &[], b"\xff\xf0", "bit-cell"),
        ("16X", &[], b"\xff\xff", ""),
        ("4B", &[], b"\xff\xff\xff\xff", ""),
    ] {
        let expected = if code.is_empty() { vec![] } else { vec![code] };
        let sound = vec![0; row.len()];
        assert_eq!(column(form, more, &[&sound, row, &sound]), expected, "{form} {}", row.escape_ascii());
    }
}

#[test]
fn ascii_tables_hold_text_and_numbers() {
    let cards = [
        "XTENSION= 'TABLE   '",
        "BITPIX  =                    8",
        "NAXIS   =                    2",
        "NAXIS1  =                   12",
        "NAXIS2  =                    2",
        "PCOUNT  =                    0",
        "GCOUNT  =                    1",
        "TFIELDS =                    3",
        "TFORM1  = 'I4      '",
        "TBCOL1  =                    1",
        "TNULL1  = '****    '",
        "TFORM2  = 'E4.1    '",
        "TBCOL2  =                    6",
        "TFORM3  = 'A2      '",
        "TBCOL3  =                   10",
    ];
    for (row, code) in [
        (&b" 123 1.5 ab\n"[..], ""),
        (b"         ab\n", ""),
        (b"**** 2E9 ab\n", ""),
        (b" 12x 1.5 ab\n", "ascii-cell"),
        (b" 123 1e5 ab\n", "ascii-cell"),
        (b" 123 1.5 a\n\n", "ascii-cell"),
        (b" 123 1.5 ab\xff", "ascii-cell"),
        (b"\x00\xff12 1.5 ab\n", "ascii-cell"),
    ] {
        let data = [&b"   1   2 xy\n"[..], row].concat();
        let mut bytes = file(&cards, &data);
        let end = bytes.len();
        bytes[end - 2880 + data.len()..].fill(b' ');
        let expected = if code.is_empty() { vec![] } else { vec![code] };
        for slice in [1, 5, usize::MAX] {
            assert_eq!(codes(&walk_in(&bytes, slice, true)), (vec![], expected.clone()), "{}", row.escape_ascii());
        }
        assert_eq!(codes(&walk(&bytes)), (vec![], vec![]));
    }
}
