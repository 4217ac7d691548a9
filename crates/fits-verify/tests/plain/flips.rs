//! A file without sums, damaged in one bit or byte of a keyword: what nobody can see by a sum must not hide data.

use crate::bytes::{BLOCK, CARD, codes, file, fixture, table_file, walk};

/// Where the keywords of cards lie on which data rest.
fn structural(bytes: &[u8], prefixes: &[&str]) -> Vec<usize> {
    (0..bytes.len())
        .step_by(CARD)
        .filter(|&at| prefixes.iter().any(|prefix| bytes[at..].starts_with(prefix.as_bytes())))
        .collect()
}

const PREFIXES: &[&str] = &[
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "TFIELDS", "TTYPE", "TFORM", "TUNIT", "TSCAL",
    "TZERO", "TNULL", "TDIM", "THEAP", "EXTNAME", "BSCALE", "BZERO", "BLANK", "END", "ZTABLE", "ZIMAGE", "ZCMPTYPE",
    "ZTILE", "DATASUM",
];

/// Flips that make another keyword of the standard, or the index of another column: no reader can know.
fn passes(original: &[u8], damaged: &[u8]) -> bool {
    let other = |root: &[u8]| original.starts_with(root) && damaged.starts_with(root);
    [&b"TUNIT"[..], b"TSCAL", b"TZERO", b"TNULL", b"TDIM", b"ZTILE"].iter().any(|root| other(root))
}

fn every_flip_is_seen(bytes: &[u8]) -> usize {
    let mut seen = 0;
    for card in structural(bytes, PREFIXES) {
        // the END card has blanks behind it, and these are judged as padding
        for at in card..card + 10 {
            for bit in 0..8 {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= 1 << bit;
                let (problems, _) = codes(&walk(&damaged));
                let name = |bytes: &[u8]| bytes[card..card + 10].escape_ascii().to_string();
                let pass = passes(&bytes[card..card + 8], &damaged[card..card + 8]) && at - card >= 4 && at - card < 8;
                assert!(!problems.is_empty() || pass, "{} -> {}", name(bytes), name(&damaged));
                seen += 1;
            }
        }
    }
    seen
}

#[test]
fn every_flip_in_a_keyword_on_which_data_rest_is_seen_without_sums() {
    let weather = fixture("sound");
    assert!(every_flip_is_seen(&weather) > 1000);
    let optional = [
        "TFORM1  = 'J       '",
        "TTYPE1  = 'a       '",
        "TSCAL1  =                  2.0",
        "TZERO1  =                  5.0",
        "TNULL1  =                   -1",
        "TFORM2  = '4B      '",
        "TTYPE2  = 'b       '",
        "TDIM2   = '(2,2)   '",
        "THEAP   =                   16",
    ];
    every_flip_is_seen(&table_file(8, 2, 8, &optional, &[0; 24]));
    let image = [
        "XTENSION= 'IMAGE   '",
        "BITPIX  =                   16",
        "NAXIS   =                    1",
        "NAXIS1  =                    4",
        "PCOUNT  =                    0",
        "GCOUNT  =                    1",
        "BSCALE  =                  2.0",
        "BZERO   =                  5.0",
        "BLANK   =                   -1",
        "DATASUM = '0       '",
    ];
    every_flip_is_seen(&file(&image, &[0; 8]));
}

#[test]
fn every_flip_in_the_keywords_of_a_compressed_image_is_seen() {
    let image = [
        "TFORM1  = '1PB(4)  '",
        "TTYPE1  = 'COMPRESSED_DATA'",
        "ZIMAGE  =                    T",
        "ZCMPTYPE= 'GZIP_1  '",
        "ZBITPIX =                   16",
        "ZNAXIS  =                    1",
        "ZNAXIS1 =                    2",
        "ZTILE1  =                    2",
    ];
    every_flip_is_seen(&table_file(8, 1, 4, &image, &[0, 0, 0, 4, 0, 0, 0, 0, 1, 2, 3, 4]));
}

#[test]
fn other_letters_and_shifted_cards_are_seen_too() {
    let with = |card: &str| {
        let cards = ["TFORM1  = 'J       '", "TFORM2  = 'J       '", card];
        codes(&walk(&table_file(8, 1, 0, &cards, &[0; 8])))
    };
    for card in [
        "tzero1  = 5",
        "Tzero1  = 5",
        "TZERO 1 = 5",
        " TZERO1 = 5",
        "TZERO1 = 5",
        "TZERO1= 5",
        "TZERO01 = 5",
        "TZERO1  5",
        "TZERO1  =5",
        "TZERO1  - 5",
        "TZER\u{7f}1  = 5",
        "TZER/1  = 5",
        "TZDRO1  = 5",
        "TZERO1  = 5..0",
        "TUNIT1  = 'open",
        "TUNIT1  = 'm'       / a\ttab",
        "extname = 'x'",
        "theap   = 8",
        "datasum = '0'",
        "crval1  = 5",
        "tcrvl1  = 5",
        "mjdref  = 5",
        "eND",
        "EN\u{1}",
    ] {
        let (problems, _) = with(card);
        let known = ["keyword-damaged", "invalid-header"];
        assert!(problems.iter().any(|code| known.contains(code)), "{card:?}: {problems:?}");
    }
}

#[test]
fn a_keyword_on_which_nothing_rests_is_only_odd() {
    let with = |card: &str| {
        let cards = ["TFORM1  = 'J       '", "TFORM2  = 'J       '", "TZERO1  = 5", "TUNIT1  = 'm'", card];
        codes(&walk(&table_file(8, 1, 0, &cards, &[0; 8])))
    };
    for (card, warning) in [
        ("object  = 'Crab'", "keyword-name"),
        ("MY KEY  = 5", "keyword-name"),
        // this table has no third column, no image, and nothing compressed
        ("tUNIT9  = 'm'", "keyword-name extra-index"),
        ("bscale  = 5", "keyword-name"),
        ("ztile1  = 5", "keyword-name"),
        ("OBJECT  5", ""),
        ("OBJECT  =5", "value-indicator"),
        ("OBJECT  = 'open", "unclosed-string"),
        ("OBJECT  = 5..0", "unreadable-value"),
        ("COMMENT a\ttab", "control-character"),
        ("HISTORY a\u{1b}[31m", "control-character"),
        ("        a\ttab", "control-character"),
        ("MYKEY   = 5 / a\ttab", "control-character"),
        ("tzero1 is what a value has to be added to", "keyword-name"),
        ("ECOUNT  = 5", ""),
        ("BLINK   = 5", ""),
        ("TZERO8  = 5", "extra-index"),
    ] {
        let (problems, warnings) = with(card);
        assert_eq!((problems, warnings.join(" ")), (vec![], warning.to_owned()), "{card:?}");
    }
}

#[test]
fn a_header_with_its_sum_is_not_guessed_at() {
    let cards = ["TFORM1  = 'J       '", "TZDRO1  = 5", "CHECKSUM= '1234567890123456'"];
    let (problems, _) = codes(&walk(&table_file(4, 1, 0, &cards, &[0; 4])));
    assert_eq!(problems, ["checksum-mismatch"]);
    let cards = ["TFORM1  = 'J       '", "TZDRO1  = 5"];
    let (problems, _) = codes(&walk(&table_file(4, 1, 0, &cards, &[0; 4])));
    assert_eq!(problems, ["keyword-damaged"]);
}

#[test]
fn a_header_full_of_suspicious_keywords_takes_no_time() {
    let mut bytes = b"SIMPLE  =                    T".to_vec();
    let cards = ["BITPIX  =                    8", "NAXIS   =                    1", "NAXIS1  =                    1"];
    let many = (0..80_000).map(|n| ["bzero   = 1", "BZER/   = 1", "BLANC   = 1", "TNULL1  = 1"][n % 4]);
    bytes.resize(CARD, b' ');
    bytes.extend(cards.into_iter().chain(many).chain(["END"]).flat_map(|card| format!("{card:80}").into_bytes()));
    bytes.resize(bytes.len().next_multiple_of(BLOCK) + BLOCK, b' ');
    let started = std::time::Instant::now();
    assert!(codes(&walk(&bytes)).0.contains(&"keyword-damaged"));
    // a look through the header for each of them would be billions
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

#[test]
fn two_headers_that_have_become_one_are_rejected() {
    let mut bytes =
        file(&["XTENSION= 'IMAGE   '", "BITPIX  =                    8", "NAXIS   =                    0"], &[]);
    let end = 3 * CARD;
    bytes[end..end + 3].copy_from_slice(b"KEY");
    assert!(end < BLOCK && codes(&walk(&bytes)).0.contains(&"mandatory-value"));
}

#[test]
fn a_damaged_kind_of_extension_is_not_taken_for_an_unknown_one() {
    for (kind, code) in [("'BINTABLD'", "mandatory-value"), ("'bintable'", "mandatory-value"), ("'A3DTABLE'", "")] {
        let card = format!("XTENSION= {kind}");
        let cards =
            [&card, "BITPIX  =                    8", "NAXIS   =                    0", "PCOUNT  = 0", "GCOUNT  = 1"];
        let (problems, _) = codes(&walk(&file(&cards, &[])));
        assert_eq!(problems.first().copied().unwrap_or_default(), code, "{kind}");
    }
    let mut weather = fixture("sound");
    weather[BLOCK + 12] ^= 0x80;
    assert_eq!(codes(&walk(&weather)).0, ["mandatory-value"]);
}
