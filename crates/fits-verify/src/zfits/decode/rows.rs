//! The rows in a block's values.

use crate::zfits::column::Column;

/// The values of one column over the rows of a tile.
///
/// A column with one value in each row is its values one after the other. Any other is, for each row, a length in bytes
/// (u32, little-endian) and that many bytes of values. Both are padded to a multiple
/// of 4, with anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows<'a> {
    bytes: &'a [u8],
    count: u32,
    /// Bytes of a row where all have the same; otherwise each has its length.
    plain: Option<usize>,
    width: u64,
    most: u64,
}

impl<'a> Rows<'a> {
    /// The rows in `bytes`, decompressed.
    ///
    /// # Errors
    /// The size cannot be that of so many rows.
    pub fn of(column: &Column, rows: u32, bytes: &'a [u8]) -> Result<Self, String> {
        let size = bytes.len() as u64;
        if !column.can_be(size, rows) {
            return Err(format!("{size} bytes of values, but {}", column.expected(rows)));
        }
        // where both are possible, single values are the likelier: rows of at most one value are rare
        let plain = column.width.and_then(|width| usize::try_from(width).ok());
        let plain = plain.filter(|_| column.is_plain(size, rows));
        let most = column.row_bytes().unwrap_or(u64::MAX);
        Ok(Self { bytes, count: rows, plain, width: column.width.unwrap_or(1), most })
    }

    /// Whether the rows are all there and nothing else.
    ///
    /// # Errors
    /// What is wrong, and in which row.
    pub fn check(&self) -> Result<(), String> {
        self.walk(|_| {})
    }

    /// Each row's values.
    ///
    /// # Errors
    /// As [`Rows::check`].
    pub fn to_vec(&self) -> Result<Vec<&'a [u8]>, String> {
        let mut rows = Vec::new();
        self.walk(|row| rows.push(row))?;
        Ok(rows)
    }

    fn walk(&self, mut each: impl FnMut(&'a [u8])) -> Result<(), String> {
        let mut rest = self.bytes;
        for row in 0..self.count {
            let length = match (self.plain, rest.split_first_chunk::<4>()) {
                (Some(width), _) => width,
                (None, Some((length, values))) => {
                    rest = values;
                    self.length(u32::from_le_bytes(*length), row)?
                }
                (None, None) => return Err(format!("the values end before the length of row {row}")),
            };
            let (values, more) = rest
                .split_at_checked(length)
                .ok_or_else(|| format!("row {row} has {length} bytes, but only {} are left", rest.len()))?;
            each(values);
            rest = more;
        }
        // what the padding is filled with is whatever the writer's memory held
        match rest.len() {
            0..4 => Ok(()),
            more => Err(format!("{more} bytes follow the last of {} rows", self.count)),
        }
    }

    fn length(&self, length: u32, row: u32) -> Result<usize, String> {
        let bytes = u64::from(length);
        if bytes > self.most {
            return Err(format!("row {row} has {length} bytes, but no row has more than {}", self.most));
        }
        if !bytes.is_multiple_of(self.width) {
            return Err(format!("row {row} has {length} bytes, which are no {}-byte values", self.width));
        }
        usize::try_from(length).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column(form: &str) -> Column {
        Column::parse("c".into(), form).unwrap()
    }

    fn variable(rows: &[&[u8]]) -> Vec<u8> {
        let row = |row: &&[u8]| [&u32::try_from(row.len()).unwrap().to_le_bytes()[..], row].concat();
        let mut bytes: Vec<u8> = rows.iter().flat_map(row).collect();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn one_value_a_row_and_rows_with_lengths_are_told_apart() {
        let shorts = column("1I");
        let plain = Rows::of(&shorts, 3, &[1, 0, 2, 0, 3, 0, 0, 0]).unwrap();
        assert_eq!(plain.to_vec().unwrap(), [[1, 0], [2, 0], [3, 0]]);
        let rows: [&[u8]; 3] = [&[1, 0], &[], &[3, 0]];
        assert_eq!(Rows::of(&shorts, 3, &variable(&rows)).unwrap().to_vec().unwrap(), rows);
    }

    #[test]
    fn what_is_left_over_or_missing_is_found() {
        let strings = column("5A");
        let rows: [&[u8]; 2] = [b"abcde", b"f"];
        let good = variable(&rows);
        assert_eq!(Rows::of(&strings, 2, &good).unwrap().to_vec().unwrap(), rows);
        assert!(Rows::of(&strings, 3, &good).unwrap().check().unwrap_err().contains("before the length of row 2"));
        for (at, flip, said) in [(0, 2, "no row has more than 5"), (9, 5, "only 3 are left")] {
            let mut bytes = good.clone();
            bytes[at] ^= flip;
            let error = Rows::of(&strings, 2, &bytes).unwrap().check().unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let error = Rows::of(&strings, 2, &variable(&[b"", b"", b""])).unwrap().check().unwrap_err();
        assert!(error.contains("4 bytes follow"), "{error}");
        let error = Rows::of(&column("6I"), 2, &variable(&[b"abc", b"d"])).unwrap().check().unwrap_err();
        assert!(error.contains("no 2-byte values"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(0_u8..6, 0..80), rows in 0_u32..9, form in prop::sample::select(vec!["1I", "4A", "1Z", "3K"])) {
            if let Ok(rows) = Rows::of(&column(form), rows, &bytes) {
                let _ = rows.to_vec();
            }
        }
    }
}
