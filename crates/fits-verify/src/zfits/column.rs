//! What a ZFITS table's header says of a column.

/// A column: its name and what its values are once they are decompressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// `TTYPEn`, or "column n" where there is none.
    pub name: String,
    /// Most values in a row, from `ZFORMn`.
    pub count: u64,
    /// Letter of the type in `ZFORMn`.
    pub letter: char,
    /// Bytes of a value; `None` for a letter that has no known width.
    pub width: Option<u64>,
}

impl Column {
    /// Reads `ZFORMn`: an optional count and a letter.
    pub(super) fn parse(name: String, form: &str) -> Option<Self> {
        let form = form.trim();
        let letter = form.chars().next_back().filter(char::is_ascii_uppercase)?;
        let digits = &form[..form.len() - 1];
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let count = if digits.is_empty() { Some(1) } else { digits.parse().ok().filter(|_| plain) }?;
        let width = match letter {
            'L' | 'B' | 'A' | 'S' => Some(1),
            'I' | 'U' => Some(2),
            'J' | 'V' | 'E' => Some(4),
            'K' | 'W' | 'D' => Some(8),
            _ => None,
        };
        Some(Self { name, count, letter, width })
    }

    /// Bytes of a row as ZNAXIS1 counts them.
    pub(super) fn row_bytes(&self) -> Option<u64> {
        self.count.checked_mul(self.width?)
    }

    /// Whether `size` bytes, decompressed, can be this column over `rows` rows: either one value each, or for each row a
    /// length of 4 bytes and that many bytes of values; padded to a multiple of 4 in both cases. Which of the two is not
    /// in the header where a row has at most one value.
    pub fn can_be(&self, size: u64, rows: u32) -> bool {
        self.is_plain(size, rows) || self.is_variable(size, rows)
    }

    /// Whether `size` bytes are one value for each of `rows` rows.
    pub fn is_plain(&self, size: u64, rows: u32) -> bool {
        self.count == 1 && self.width.is_none_or(|width| padded(width * u64::from(rows)) == size)
    }

    fn is_variable(&self, size: u64, rows: u32) -> bool {
        let lengths = 4 * u64::from(rows);
        let Some(values) = size.checked_sub(lengths).filter(|_| size.is_multiple_of(4)) else { return false };
        let Some(width) = self.width else { return true };
        let most = width.saturating_mul(self.count).saturating_mul(u64::from(rows));
        // below a width of 4 the padding hides how many values there are
        values <= most.saturating_add(3) && (width <= 4 || values.is_multiple_of(width))
    }

    /// What a size must be, for messages.
    pub(super) fn expected(&self, rows: u32) -> String {
        let lengths = 4 * u64::from(rows);
        match (self.count, self.width) {
            (1, Some(width)) => {
                format!("{rows} rows of one {width}-byte value take {}", padded(width * u64::from(rows)))
            }
            (count, Some(width)) => {
                let most = padded(width.saturating_mul(count).saturating_mul(u64::from(rows)).saturating_add(lengths));
                format!("{rows} rows of up to {count} {width}-byte values take {lengths} to {most}, a multiple of 4")
            }
            (_, None) => format!("{rows} rows take a multiple of 4"),
        }
    }
}

/// To a multiple of 4, as the writer pads.
fn padded(size: u64) -> u64 {
    size.checked_next_multiple_of(4).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn column(form: &str) -> Option<Column> {
        Column::parse("c".into(), form)
    }

    #[test]
    fn forms_are_a_count_and_a_letter() {
        let waveform = column("2304I").unwrap();
        assert_eq!((waveform.count, waveform.letter, waveform.row_bytes()), (2304, 'I', Some(4608)));
        assert_eq!(column("E").unwrap().row_bytes(), Some(4));
        assert_eq!(column("1Z").unwrap().width, None);
        for wrong in ["", "12", "1 J", "+1J", "J1", "é", "99999999999999999999J"] {
            assert_eq!(column(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn single_values_have_one_size_and_lengths_need_room() {
        let short = column("1I").unwrap();
        assert!(short.can_be(8, 3) && short.can_be(12, 3), "padded values, or lengths without values");
        assert!(!short.can_be(6, 3));
        let pixels = column("6I").unwrap();
        let possible: Vec<_> = (0..=70).filter(|&size| pixels.can_be(size, 3)).collect();
        assert_eq!(possible, [12, 16, 20, 24, 28, 32, 36, 40, 44, 48]);
        assert!(column("0I").unwrap().can_be(12, 3) && !column("0I").unwrap().can_be(16, 3));
        assert!(column("9223372036854775807K").unwrap().can_be((1 << 60) + 4, u32::MAX));
    }
}
