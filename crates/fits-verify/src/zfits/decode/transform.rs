//! What is done to 16-bit values before they are coded. Both keep the number of bytes; a last odd byte is left alone.

/// Undoes diff: every value was replaced by its difference from the one before.
pub(super) fn undo_diff(bytes: &mut [u8]) {
    let mut sum = 0_u16;
    for value in bytes.as_chunks_mut::<2>().0 {
        sum = sum.wrapping_add(u16::from_le_bytes(*value));
        *value = sum.to_le_bytes();
    }
}

/// Undoes smoothing: from the third on, the mean of the two values before was taken away. The mean is one of signed
/// numbers, rounded towards zero.
pub(super) fn undo_smoothing(bytes: &mut [u8]) {
    let (values, _) = bytes.as_chunks_mut::<2>();
    let [first, second, rest @ ..] = values else { return };
    let (mut before, mut last) = (i16::from_le_bytes(*first), i16::from_le_bytes(*second));
    for value in rest {
        let mean = i16::midpoint(before, last);
        (before, last) = (last, i16::from_le_bytes(*value).wrapping_add(mean));
        *value = last.to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(values: &[i16]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn means_are_rounded_towards_zero() {
        let mut values = bytes(&[-1, -2, 10, 0]);
        undo_smoothing(&mut values);
        assert_eq!(values, bytes(&[-1, -2, 9, 3]));
    }

    proptest! {
        #[test]
        fn both_undo_their_definition(values in prop::collection::vec(any::<i16>(), 0..200)) {
            let mut differences = values.clone();
            for n in (1..values.len()).rev() {
                differences[n] = values[n].wrapping_sub(values[n - 1]);
            }
            let mut undone = bytes(&differences);
            undo_diff(&mut undone);
            prop_assert_eq!(&undone, &bytes(&values));

            let mut smooth = values.clone();
            for n in (2..values.len()).rev() {
                let sum = i32::from(values[n - 1]) + i32::from(values[n - 2]);
                // towards zero, as integers are divided
                let mean = (sum - sum % 2) / 2;
                smooth[n] = values[n].wrapping_sub(i16::try_from(mean).unwrap_or_default());
            }
            let mut undone = bytes(&smooth);
            undo_smoothing(&mut undone);
            prop_assert_eq!(undone, bytes(&values));
        }
    }
}
