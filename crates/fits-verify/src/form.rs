//! `TFORMn`: the formats of columns (sections 7.2.1 and 7.3.1).

/// The format of a binary column: `rT`, with what strings and arrays in the heap add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BinaryForm {
    /// Elements in a cell.
    pub(crate) repeat: u64,
    /// The letter of the type.
    pub(crate) kind: u8,
    /// Of an array in the heap (`P`, `Q`) the letter of its elements.
    pub(crate) element: Option<u8>,
    /// Of an array in the heap the most elements it has, if that is said.
    pub(crate) most: Option<u64>,
    /// Of text cut into strings of equal width (`rAw`) this width.
    pub(crate) string: Option<u64>,
}

impl BinaryForm {
    /// Reads a format; what follows it, is left alone, as the standard leaves it open.
    pub(crate) fn parse(form: &str) -> Option<Self> {
        let form = form.trim_end();
        let digits = form.bytes().take_while(u8::is_ascii_digit).count();
        let (repeat, rest) = form.split_at(digits);
        // more digits than these could never fit a file
        let repeat: u64 = if repeat.is_empty() { 1 } else { repeat.parse().ok()? };
        let (&kind, rest) = rest.as_bytes().split_first()?;
        let plain = Self { repeat, kind, element: None, most: None, string: None };
        match kind {
            b'P' | b'Q' => {
                let (&element, rest) = rest.split_first()?;
                bits(element).filter(|_| repeat <= 1)?;
                let most = rest.strip_prefix(b"(").and_then(number);
                Some(Self { element: Some(element), most, ..plain })
            }
            b'A' => Some(Self { string: number(rest).filter(|width| *width > 0), ..plain }),
            _ => bits(kind).map(|_| plain),
        }
    }

    /// Bytes of a cell in the row.
    pub(crate) fn bytes(&self) -> i128 {
        let repeat = i128::from(self.repeat);
        match self.kind {
            b'P' => repeat * 8,
            b'Q' => repeat * 16,
            kind => (repeat * i128::from(bits(kind).unwrap_or_default()) + 7) / 8,
        }
    }

    /// The letter of the values, wherever they lie.
    pub(crate) fn values(&self) -> u8 {
        self.element.unwrap_or(self.kind)
    }
}

/// Bits of one element.
pub(crate) fn bits(kind: u8) -> Option<u64> {
    Some(match kind {
        b'X' => 1,
        b'L' | b'B' | b'A' => 8,
        b'I' => 16,
        b'J' | b'E' => 32,
        b'K' | b'D' | b'C' => 64,
        b'M' => 128,
        _ => return None,
    })
}

/// The number that some bytes begin with.
fn number(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&bytes[..digits]).ok()?.parse().ok()
}

/// The format of a column of an ASCII table: `Aw`, `Iw`, `Fw.d`, `Ew.d`, `Dw.d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AsciiForm {
    /// The letter of the type.
    pub(crate) kind: u8,
    /// Characters.
    pub(crate) width: u32,
}

impl AsciiForm {
    /// Reads a format.
    pub(crate) fn parse(form: &str) -> Option<Self> {
        let (&kind, rest) = form.trim().as_bytes().split_first()?;
        let rest = std::str::from_utf8(rest).ok()?;
        let (width, fraction) = rest.split_once('.').map_or((rest, None), |(width, fraction)| (width, Some(fraction)));
        let number = |text: &str| text.parse::<u32>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let fraction = fraction.map(number);
        match kind {
            b'A' | b'I' if fraction.is_none() => {}
            b'F' | b'E' | b'D' if matches!(fraction, Some(Some(_))) => {}
            _ => return None,
        }
        number(width).filter(|width| *width > 0).map(|width| Self { kind, width })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_of_binary_columns() {
        for (form, width) in [
            ("D", 8),
            ("1J", 4),
            ("64I", 128),
            ("0A", 0),
            ("12A4", 12),
            ("9X", 2),
            ("1QB", 16),
            ("0PB", 0),
            ("PE(100)", 8),
            ("2M", 32),
            ("3C", 24),
            ("K  ", 8),
        ] {
            assert_eq!(BinaryForm::parse(form).map(|form| form.bytes()), Some(width), "{form}");
        }
        for form in ["", "12", "1Z", "2PE", "QZ", "P", "d", "99999999999999999999999J", "-1J", "é"] {
            assert_eq!(BinaryForm::parse(form), None, "{form}");
        }
    }

    #[test]
    fn what_strings_and_arrays_add() {
        let form = |text| BinaryForm::parse(text).map(|form| (form.values(), form.most, form.string));
        assert_eq!(form("1PE(100)"), Some((b'E', Some(100), None)));
        assert_eq!(form("QB"), Some((b'B', None, None)));
        assert_eq!(form("PB()"), Some((b'B', None, None)));
        assert_eq!(form("12A4"), Some((b'A', None, Some(4))));
        assert_eq!(form("12A"), Some((b'A', None, None)));
    }

    #[test]
    fn widths_of_ascii_columns() {
        for (form, width) in [("A8", 8), ("I4", 4), ("F8.2", 8), ("E15.7", 15), ("D25.17", 25)] {
            assert_eq!(AsciiForm::parse(form).map(|form| form.width), Some(width), "{form}");
        }
        for form in ["", "A", "I0", "F8", "F8.", "B8", "A8.2", "8A", "I+4", "é8"] {
            assert_eq!(AsciiForm::parse(form), None, "{form}");
        }
    }
}
