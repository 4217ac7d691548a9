//! One header a rule: what is rejected, what is only odd, what is right.

use crate::{BLOCK, FINDINGS_MAX, Problem, Walk, Walker};

const PRIMARY: &[&str] =
    &["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0"];
const TABLE: &[&str] = &[
    "XTENSION= 'BINTABLE'",
    "BITPIX  =                    8",
    "NAXIS   =                    2",
    "NAXIS1  =                   12",
    "NAXIS2  =                    1",
    "PCOUNT  =                    8",
    "GCOUNT  =                    1",
    "TFIELDS =                    2",
    "TFORM1  = 'D       '",
    "TFORM2  = 'J       '",
];
const IMAGE: &[&str] = &[
    "XTENSION= 'IMAGE   '",
    "BITPIX  =                   16",
    "NAXIS   =                    1",
    "NAXIS1  =                   10",
    "PCOUNT  =                    0",
    "GCOUNT  =                    1",
];
const ASCII: &[&str] = &[
    "XTENSION= 'TABLE   '",
    "BITPIX  =                    8",
    "NAXIS   =                    2",
    "NAXIS1  =                   20",
    "NAXIS2  =                    1",
    "PCOUNT  =                    0",
    "GCOUNT  =                    1",
    "TFIELDS =                    1",
    "TBCOL1  =                    3",
    "TFORM1  = 'F18.2   '",
];

/// A primary HDU with `primary` cards, and perhaps an extension with one block of data.
fn walk(primary: &[String], extension: &[String]) -> Walk {
    let mut bytes = Vec::new();
    for cards in [primary, extension].into_iter().filter(|cards| !cards.is_empty()) {
        let cards = cards.iter().map(String::as_str).chain(["END"]);
        bytes.extend(cards.flat_map(|card| format!("{card:80}").into_bytes()));
        bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
    }
    if !extension.is_empty() {
        let fill = if extension[0].contains("'TABLE") { b' ' } else { 0 };
        bytes.resize(bytes.len() + BLOCK, fill);
    }
    let mut walker = Walker::new();
    walker.feed(&bytes);
    walker.finish()
}

/// Replaces cards by keyword, or puts new ones at the end; a keyword alone takes its card away.
fn with(cards: &[&str], changes: &[&str]) -> Vec<String> {
    let mut cards: Vec<String> = cards.iter().map(|card| (*card).to_owned()).collect();
    for change in changes {
        let position = cards.iter().position(|card| card.get(..8) == change.get(..8));
        match position {
            Some(at) if change.contains('=') => (*change).clone_into(&mut cards[at]),
            Some(at) => drop(cards.remove(at)),
            None => cards.push((*change).to_owned()),
        }
    }
    cards
}

/// Rejections and warnings as `code keyword`, those about absent checksums left out.
fn findings(walk: &Walk) -> (Vec<String>, Vec<String>) {
    let list = |problems: &[Problem]| {
        let name = |problem: &Problem| {
            let keyword = problem.keyword.as_deref().map(|keyword| format!(" {keyword}"));
            format!("{}{}", problem.code, keyword.unwrap_or_default())
        };
        problems.iter().filter(|problem| problem.code != "checksum-absent").map(name).collect::<Vec<_>>()
    };
    (list(&walk.problems), list(&walk.warnings))
}

#[track_caller]
fn extension(base: &[&str], changes: &[&str], rejections: &[&str], warnings: &[&str]) {
    let walk = walk(&with(PRIMARY, &[]), &with(base, changes));
    assert_eq!(
        findings(&walk),
        (rejections.iter().map(|&s| s.into()).collect(), warnings.iter().map(|&s| s.into()).collect()),
        "{changes:?}"
    );
}

#[track_caller]
fn primary(changes: &[&str], rejections: &[&str], warnings: &[&str]) {
    let walk = walk(&with(PRIMARY, changes), &[]);
    assert_eq!(
        findings(&walk),
        (rejections.iter().map(|&s| s.into()).collect(), warnings.iter().map(|&s| s.into()).collect()),
        "{changes:?}"
    );
}

#[test]
fn right_headers_have_no_findings() {
    for base in [TABLE, IMAGE, ASCII] {
        extension(base, &["TTYPE1  = 'x'", "HIERARCH CTAO a b = 1", "COMMENT  twice", "COMMENT  twice"], &[], &[]);
    }
    primary(&["EXTEND  =                    T", "PCOUNT  =                    0", "UNDEF   ="], &[], &[]);
}

#[test]
fn mandatory_keywords_stand_in_their_order() {
    let mut late = with(TABLE, &[]);
    late.swap(5, 8);
    assert_eq!(findings(&walk(&with(PRIMARY, &[]), &late)).0, ["mandatory-order PCOUNT"]);
    let mut comment = with(PRIMARY, &[]);
    comment.insert(1, "COMMENT  between".to_owned());
    assert_eq!(findings(&walk(&comment, &[])).0, ["mandatory-order BITPIX"]);
    let mut image = with(IMAGE, &[]);
    image.swap(4, 5);
    assert_eq!(findings(&walk(&with(PRIMARY, &[]), &image)), (vec![], vec!["keyword-order PCOUNT".to_owned()]));
}

#[test]
fn what_is_missing_is_named() {
    extension(TABLE, &["PCOUNT  "], &["mandatory-missing PCOUNT"], &[]);
    extension(TABLE, &["TFIELDS "], &["mandatory-missing TFIELDS"], &[]);
    extension(TABLE, &["TFORM2  "], &["mandatory-missing TFORM2"], &[]);
    extension(ASCII, &["TBCOL1  "], &["mandatory-missing TBCOL1"], &[]);
    extension(IMAGE, &["GCOUNT  "], &[], &["size-assumed GCOUNT"]);
    primary(&["NAXIS   "], &["mandatory-missing NAXIS"], &[]);
}

#[test]
fn values_fit_the_kind_of_hdu() {
    extension(TABLE, &["GCOUNT  =                    2"], &["mandatory-value GCOUNT"], &[]);
    extension(TABLE, &["TFIELDS =                 1000"], &["mandatory-value TFIELDS"], &[]);
    extension(TABLE, &["BITPIX  =                   16"], &["mandatory-value BITPIX"], &[]);
    extension(IMAGE, &["PCOUNT  =                    1"], &["mandatory-value PCOUNT"], &[]);
    extension(IMAGE, &["BITPIX  =                   17"], &["mandatory-value BITPIX"], &[]);
    extension(IMAGE, &["XTENSION= 'DUMP    '"], &[], &["unknown-extension XTENSION"]);
    primary(&["SIMPLE  =                    F"], &[], &["simple-false SIMPLE"]);
    primary(&["SIMPLE  =                    1"], &["mandatory-value SIMPLE"], &[]);
    primary(&["GCOUNT  =                    2"], &["mandatory-value GCOUNT"], &[]);
    primary(&["EXTNAME =                    2"], &[], &["reserved-value EXTNAME"]);
}

#[test]
fn random_groups_are_walked_with_a_warning() {
    let groups = [
        "NAXIS   =                    2",
        "NAXIS1  =                    0",
        "NAXIS2  =                    0",
        "GROUPS  =                    T",
    ];
    primary(&groups, &["mandatory-missing PCOUNT", "mandatory-missing GCOUNT"], &["random-groups GROUPS"]);
}

#[test]
fn columns_fill_their_rows() {
    extension(TABLE, &["TFORM2  = 'I       '"], &["row-width NAXIS1"], &[]);
    extension(TABLE, &["TFORM2  = '1Y      '"], &["column-format TFORM2"], &[]);
    extension(TABLE, &["TFORM3  = 'J       '"], &[], &["extra-index TFORM3"]);
    extension(TABLE, &["THEAP   =                   12"], &[], &[]);
    extension(TABLE, &["THEAP   =                   21"], &["heap-pointer THEAP"], &[]);
    extension(TABLE, &["THEAP   =                   99", "ZTABLE  =                    T"], &[], &[]);
    extension(ASCII, &["TBCOL1  =                    4"], &["row-width TBCOL1"], &[]);
    extension(ASCII, &["TFORM1  = 'F18     '"], &["column-format TFORM1"], &[]);
}

#[test]
fn a_repeated_keyword_matters_by_its_value() {
    let twice = |card: &str| {
        let mut cards = with(TABLE, &["OBJECT  = 'Crab'"]);
        cards.push(card.to_owned());
        findings(&walk(&with(PRIMARY, &[]), &cards))
    };
    assert_eq!(twice("NAXIS1  =                   99"), (vec!["mandatory-conflict NAXIS1".into()], vec![]));
    assert_eq!(twice("NAXIS1  =                   12"), (vec![], vec!["mandatory-repeated NAXIS1".into()]));
    assert_eq!(twice("OBJECT  = 'Vela'"), (vec![], vec!["repeated-keyword OBJECT".into()]));
}

#[test]
fn odd_cards_are_reported() {
    primary(&["NAXIS   = 0"], &[], &["free-format NAXIS"]);
    extension(IMAGE, &["XTENSION= 'IMAGE'"], &[], &["free-format XTENSION"]);
    primary(&["lower   = 1"], &[], &["keyword-name LOWER"]);
    primary(&["KEY     =1"], &[], &["value-indicator KEY"]);
    primary(&["CONTINUE  'x'"], &[], &["stray-continue CONTINUE"]);
    primary(&["KEY     = 1 2"], &[], &["unreadable-value KEY"]);
    primary(&["KEY     = 'open"], &[], &["unclosed-string KEY"]);
    primary(&["KEY     = 'a\tb'"], &["invalid-header KEY"], &[]);
}

#[test]
fn a_header_full_of_mistakes_is_cut_short() {
    let mut cards = with(PRIMARY, &[]);
    cards.extend((0..2 * FINDINGS_MAX).map(|n| format!("KEY{n:<5}= 'a\tb'")));
    let walk = walk(&cards, &[]);
    assert_eq!(walk.problems.len(), FINDINGS_MAX);
    assert_eq!(walk.warnings.iter().filter(|warning| warning.code == "more-findings").count(), 1);
}
