//! The 32-bit ones'-complement sum of FITS CHECKSUM and DATASUM (section 4.4.2.7, appendix J).

/// Accumulators that are filled side by side: two 128-bit registers' worth, which every 64-bit processor has.
const LANES: usize = 4;
/// Additions of a byte that a 16-bit counter takes without overflow: 257 × 0xff is its limit.
const ADDITIONS: usize = 256;
/// Every other byte of a word.
const MASK: u64 = 0x00ff_00ff_00ff_00ff;

/// A running ones'-complement sum of big-endian 32-bit words, fed in slices of any length.
///
/// Bytes are summed per position within the word and weighted only at the end. That needs no byte swap, so the inner
/// loop is plain masks, shifts and additions which the compiler vectorises on any target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Sum of the bytes at positions 0 to 3 (mod 4) of the stream.
    columns: [u64; 4],
    /// Bytes seen so far, modulo 4.
    phase: usize,
}

impl Sum {
    /// Adds the next bytes of the stream.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while self.phase != 0 {
            let Some((&first, rest)) = bytes.split_first() else { return };
            self.push(first);
            bytes = rest;
        }
        let (words, tail) = bytes.as_chunks::<8>();
        for run in words.chunks(LANES * ADDITIONS) {
            let (rows, rest) = run.as_chunks::<LANES>();
            self.add_rows(rows);
            for word in rest {
                let (halves, _) = word.as_chunks::<4>();
                for half in halves {
                    self.add(half.map(u64::from));
                }
            }
        }
        for &byte in tail {
            self.push(byte);
        }
    }

    /// Adds up to [`ADDITIONS`] rows. Four 16-bit counters share a lane: even bytes go to one, odd bytes to another.
    fn add_rows(&mut self, rows: &[[[u8; 8]; LANES]]) {
        let (mut even, mut odd) = ([0_u64; LANES], [0_u64; LANES]);
        for row in rows {
            for ((even, odd), word) in even.iter_mut().zip(&mut odd).zip(row) {
                let word = u64::from_le_bytes(*word);
                *even += word & MASK;
                *odd += (word >> 8) & MASK;
            }
        }
        for (even, odd) in even.into_iter().zip(odd) {
            for half in [0, 32] {
                let counter = |lane: u64, shift: u32| (lane >> (half + shift)) & 0xffff;
                self.add([counter(even, 0), counter(odd, 0), counter(even, 16), counter(odd, 16)]);
            }
        }
    }

    fn add(&mut self, more: [u64; 4]) {
        for (column, more) in self.columns.iter_mut().zip(more) {
            *column += more;
        }
    }

    fn push(&mut self, byte: u8) {
        if let Some(column) = self.columns.get_mut(self.phase) {
            *column += u64::from(byte);
        }
        self.phase = (self.phase + 1) % 4;
    }

    /// The sum so far, a missing rest of the last word counting as zeros. All ones (`u32::MAX`) is minus zero.
    pub fn value(&self) -> u32 {
        let [a, b, c, d] = self.columns.map(u128::from);
        fold((a << 24) + (b << 16) + (c << 8) + d)
    }

    /// The sum of this stream followed by another one. Both must be whole numbers of words.
    #[must_use]
    pub fn followed_by(&self, other: &Self) -> Self {
        let mut total = self.clone();
        total.add(other.columns);
        total.phase = other.phase;
        total
    }
}

/// Folds the carries back in until the sum fits 32 bits.
fn fold(mut sum: u128) -> u32 {
    loop {
        let carry = sum >> 32;
        if carry == 0 {
            return u32::try_from(sum & u128::from(u32::MAX)).unwrap_or(u32::MAX);
        }
        sum = (sum & u128::from(u32::MAX)) + carry;
    }
}

/// The 16 characters which, as the value of a CHECKSUM card in fixed format, add `!sum` to an HDU: if the HDU sums to
/// `sum` while its CHECKSUM holds 16 digits 0, it sums to all ones with them (appendix J).
pub fn encode_checksum(sum: u32) -> String {
    let mut text = [0_u8; 16];
    for (column, byte) in (!sum).to_be_bytes().into_iter().enumerate() {
        let mut quarters = [byte / 4 + b'0'; 4];
        quarters[0] += byte % 4;
        // punctuation between the digits and letters is avoided in pairs, so that the total stays
        while quarters.iter().any(|quarter| !quarter.is_ascii_alphanumeric()) {
            for pair in quarters.as_chunks_mut::<2>().0 {
                if pair.iter().any(|quarter| !quarter.is_ascii_alphanumeric()) {
                    pair[0] += 1;
                    pair[1] -= 1;
                }
            }
        }
        for (row, quarter) in quarters.into_iter().enumerate() {
            // the string begins in column 12, one byte before a word boundary
            text[(4 * row + column + 1) % 16] = quarter;
        }
    }
    text.into_iter().map(char::from).collect()
}

/// Whether two sums are the same number: in ones' complement all zeros and all ones both mean zero.
pub(crate) fn same(a: u32, b: u32) -> bool {
    let normal = |n: u32| if n == u32::MAX { 0 } else { n };
    normal(a) == normal(b)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, word by word with end-around carry.
    fn plain(bytes: &[u8]) -> u32 {
        let mut sum = 0_u64;
        for chunk in bytes.chunks(4) {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            sum += u64::from(u32::from_be_bytes(word));
            sum = (sum & 0xffff_ffff) + (sum >> 32);
        }
        u32::try_from(sum).unwrap_or(u32::MAX)
    }

    #[test]
    fn ones_everywhere_is_minus_zero() {
        let mut sum = Sum::default();
        sum.update(&vec![0xff; 70_000]);
        assert_eq!(sum.value(), u32::MAX);
        assert!(same(u32::MAX, 0) && !same(1, 0));
    }

    proptest! {
        #[test]
        fn an_encoded_sum_completes_its_hdu(words in proptest::collection::vec(any::<u32>(), 3..50)) {
            // the value of a fixed-format card begins at an offset of 11 in the card: 3 modulo 4
            let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_be_bytes).collect();
            bytes.extend_from_slice(b"xxx0000000000000000x");
            let text = encode_checksum(plain(&bytes));
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            let at = bytes.len() - 17;
            bytes[at..at + 16].copy_from_slice(text.as_bytes());
            prop_assert_eq!(plain(&bytes), u32::MAX);
        }

        #[test]
        fn equals_the_definition_for_any_split(bytes in proptest::collection::vec(any::<u8>(), 0..40_000), cuts in proptest::collection::vec(0_usize..5_000, 0..40)) {
            let mut sum = Sum::default();
            let mut rest = &bytes[..];
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                sum.update(head);
                rest = tail;
            }
            sum.update(rest);
            prop_assert_eq!(sum.value(), plain(&bytes));
        }
    }
}
