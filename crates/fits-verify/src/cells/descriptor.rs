//! Array descriptors: how many elements a cell has, and where they lie in the heap (section 7.3.5).

use crate::form::{BinaryForm, bits};

/// What the descriptors of a column must keep to.
#[derive(Debug)]
pub(super) struct Descriptor {
    /// Bits of an element.
    bits: u64,
    /// Bytes of the heap.
    heap: u64,
    /// Elements, at most, if `TFORMn` says so.
    most: Option<u64>,
}

/// What is wrong with a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Bad {
    #[error("its array has {length} elements at byte {place} of the heap, and neither can be negative")]
    Negative { length: i64, place: i64 },
    #[error("its array of {length} elements at byte {place} of the heap ends beyond the heap, which has {heap} bytes")]
    Beyond { length: u64, place: u64, heap: u64 },
    #[error("its array has {length} elements, but TFORMn says at most {most}")]
    More { length: u64, most: u64 },
}

impl Bad {
    pub(super) fn code(self) -> &'static str {
        if self.is_unsafe() { "array-descriptor" } else { "array-length" }
    }

    /// Whether readers could take other bytes for the array, or fail.
    pub(super) fn is_unsafe(self) -> bool {
        !matches!(self, Self::More { .. })
    }
}

impl Descriptor {
    /// Of a column, if it is one of arrays in the heap.
    pub(super) fn of(form: BinaryForm, heap: u64) -> Option<Self> {
        Some(Self { bits: form.element.and_then(bits)?, heap, most: form.most })
    }

    /// Judges a descriptor: two big-endian numbers of 32 bits each (`P`) or of 64 (`Q`).
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), Bad> {
        let narrow = bytes.as_chunks().0.iter().map(|word| i64::from(i32::from_be_bytes(*word)));
        let wide = bytes.as_chunks().0.iter().map(|word| i64::from_be_bytes(*word));
        let mut words = [0; 2];
        if bytes.len() == 8 {
            words.iter_mut().zip(narrow).for_each(|(word, number)| *word = number);
        } else {
            words.iter_mut().zip(wide).for_each(|(word, number)| *word = number);
        }
        let [length, place] = words;
        // where there are no elements, their place is undefined
        if length == 0 {
            return Ok(());
        }
        let (Ok(elements), Ok(start)) = (u64::try_from(length), u64::try_from(place)) else {
            return Err(Bad::Negative { length, place });
        };
        let size = elements.checked_mul(self.bits).map(|bits| bits.div_ceil(8));
        let end = size.and_then(|size| size.checked_add(start));
        if end.is_none_or(|end| end > self.heap) {
            return Err(Bad::Beyond { length: elements, place: start, heap: self.heap });
        }
        match self.most {
            Some(most) if elements > most => Err(Bad::More { length: elements, most }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_lie_within_the_heap() {
        let check = |form: &str, words: [i64; 2]| {
            let form = BinaryForm::parse(form).unwrap();
            let narrow = |word: i64| i32::try_from(word).unwrap().to_be_bytes();
            let bytes = match form.kind {
                b'P' => words.map(narrow).concat(),
                _ => words.map(i64::to_be_bytes).concat(),
            };
            Descriptor::of(form, 100).unwrap().check(&bytes).map_err(Bad::code)
        };
        for letter in ["P", "Q"] {
            let form = |rest: &str| format!("1{letter}{rest}");
            for (element, words) in
                [("B", [100, 0]), ("I(50)", [50, 0]), ("M", [1, 84]), ("X", [800, 0]), ("J", [0, -7])]
            {
                assert_eq!(check(&form(element), words), Ok(()), "{letter}{element} {words:?}");
            }
            for (element, words) in
                [("B", [101, 0]), ("B", [1, 100]), ("X", [793, 1]), ("J", [26, 0]), ("B", [-1, 0]), ("B", [1, -1])]
            {
                assert_eq!(check(&form(element), words), Err("array-descriptor"), "{letter}{element} {words:?}");
            }
            assert_eq!(check(&form("B(4)"), [5, 0]), Err("array-length"));
        }
        assert_eq!(check("QM", [i64::MAX, i64::MAX]), Err("array-descriptor"));
    }
}
