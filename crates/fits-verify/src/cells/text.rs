//! Text and numbers in cells (sections 7.2.5 and 7.3.3.1).

use super::cell::Cell;

/// What a cell of an ASCII table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Real,
}

/// The characters that the standard calls text.
pub(super) fn is_text(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e)
}

/// The first byte that is no text, in strings of equal width that a 0 may end; what follows the 0 is undefined.
/// `ended` is whether the string that the piece begins in is over.
pub(super) fn beyond(cell: &Cell<'_>, string: u64, ended: &mut bool) -> Option<usize> {
    if cell.from == 0 {
        *ended = false;
    }
    let mut at = 0;
    while at < cell.part.len() {
        let inside = (cell.from + at as u64) % string;
        *ended &= inside != 0;
        let left = usize::try_from(string - inside).unwrap_or(usize::MAX);
        let piece = &cell.part[at..at.saturating_add(left).min(cell.part.len())];
        if !*ended && let Some(bad) = piece.iter().position(|&byte| !is_text(byte)) {
            if piece[bad] != 0 {
                return Some(at + bad);
            }
            *ended = true;
        }
        at += piece.len();
    }
    None
}

/// Whether a cell is blank or a number as Fortran reads it: digits with a sign, in reals perhaps with a point and an
/// exponent, whose letter may be left out before a sign.
pub(super) fn is_number(cell: &[u8], kind: Kind) -> bool {
    let cell = cell.trim_ascii();
    let unsigned =
        |bytes: &[u8]| bytes.strip_prefix(b"+").or(bytes.strip_prefix(b"-")).map_or(bytes.len(), <[u8]>::len);
    let after_sign = |bytes: &[u8]| bytes.len() - unsigned(bytes);
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = &cell[after_sign(cell)..];
    let whole = digits(rest);
    let rest = &rest[whole..];
    if cell.is_empty() || kind == Kind::Integer {
        return cell.is_empty() || whole > 0 && rest.is_empty();
    }
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => (digits(rest), &rest[digits(rest)..]),
        _ => (0, rest),
    };
    let exponent = match rest {
        [] => return whole + fraction > 0,
        [b'E' | b'D', rest @ ..] => rest,
        [b'+' | b'-', ..] => rest,
        _ => return false,
    };
    let power = &exponent[after_sign(exponent)..];
    whole + fraction > 0 && !power.is_empty() && digits(power) == power.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_fortran_reads_them() {
        for (cell, integer, real) in [
            ("", true, true),
            ("  12 ", true, true),
            ("-7", true, true),
            ("+", false, false),
            ("1 2", false, false),
            ("1.5", false, true),
            (".5", false, true),
            (".", false, false),
            ("5.", false, true),
            ("1.5E-3", false, true),
            ("1.5D3", false, true),
            ("15-3", false, true),
            ("1.5e3", false, false),
            ("1.5E", false, false),
            ("abc", false, false),
            ("NaN", false, false),
        ] {
            let found = [Kind::Integer, Kind::Real].map(|kind| is_number(cell.as_bytes(), kind));
            assert_eq!(found, [integer, real], "{cell:?}");
        }
    }

    #[test]
    fn a_zero_ends_a_string_and_not_the_next_one() {
        let beyond = |bytes: &[u8], string| {
            let cell = Cell { row: 0, offset: 0, from: 0, part: bytes };
            super::beyond(&cell, string, &mut true)
        };
        assert_eq!(beyond(b"ab\0\xff", 4), None);
        assert_eq!(beyond(b"ab\0\xff", 2), None);
        assert_eq!(beyond(b"a\0\xffb", 2), Some(2));
        assert_eq!(beyond(b"ab\0\xffcd", 4), None);
        assert_eq!(beyond(b"ab\0\xff\x01d", 4), Some(4));
        assert_eq!(beyond(b"a\xe9\0b", 4), Some(1));
    }
}
