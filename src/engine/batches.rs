//! How large a batch may be, and what is done with one that fails as a whole.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The parts of a batch that are still to be tried. What fails as a whole is tried in halves, until the one that is meant
/// stands alone, so that it keeps no other from its road.
pub(crate) struct Halves<T>(Vec<Vec<T>>);

impl<T> Halves<T> {
    /// All of it is tried first.
    pub(crate) fn of(all: Vec<T>) -> Self {
        Self(vec![all])
    }

    /// The part to try next, in the order of the batch; never an empty one.
    pub(crate) fn next(&mut self) -> Option<Vec<T>> {
        loop {
            let part = self.0.pop()?;
            if !part.is_empty() {
                return Some(part);
            }
        }
    }

    /// What is left of this part is tried once more.
    pub(crate) fn again(&mut self, rest: Vec<T>) {
        self.0.push(rest);
    }

    /// This part failed: its halves are next. One that stands alone cannot be split, and is left out.
    pub(crate) fn split(&mut self, mut part: Vec<T>) {
        if part.len() > 1 {
            let second = part.split_off(part.len() / 2);
            self.0.extend([second, part]);
        }
    }
}

/// How many files a stage takes at once: fewer after a batch failed while Rucio was up, since as many again might never pass
/// (too much for Rucio to do in time, or too many answers of which one goes wrong); then gradually more, up to the stage's
/// own number.
pub(super) struct BatchSize(AtomicUsize);

impl Default for BatchSize {
    fn default() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }
}

impl BatchSize {
    /// How many to claim of the `wanted` ones.
    pub(super) fn of(&self, wanted: usize) -> usize {
        wanted.min(self.0.load(Ordering::Relaxed))
    }

    /// So many failed together: half of them are tried next.
    pub(super) fn failed(&self, files: usize) {
        self.0.store((files / 2).max(1), Ordering::Relaxed);
    }

    /// So many passed together: if that was the most, a quarter more may.
    pub(super) fn passed(&self, files: usize) {
        if files >= self.0.load(Ordering::Relaxed) {
            self.0.store(files + files / 4 + 1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_fails_keeps_no_other_from_being_tried_with_others() {
        for bad in 0..10 {
            let (mut halves, mut passed, mut alone) = (Halves::of((0..10).collect()), Vec::new(), None);
            while let Some(part) = halves.next() {
                match part.as_slice() {
                    [one] if *one == bad => alone = Some(*one),
                    some if some.contains(&bad) => halves.split(part),
                    _ => passed.extend(part),
                }
            }
            assert_eq!(alone, Some(bad));
            assert_eq!(passed, (0..10).filter(|one| *one != bad).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_part_that_cannot_be_split_is_not_tried_again() {
        let mut halves = Halves::of(vec![1]);
        let part = halves.next().unwrap();
        halves.split(part);
        assert_eq!(halves.next(), None);
        assert_eq!(Halves::<u8>::of(Vec::new()).next(), None);
    }

    #[test]
    fn batches_shrink_when_they_fail_and_grow_again_when_they_pass() {
        let size = BatchSize::default();
        assert_eq!(size.of(500), 500);
        size.failed(500);
        assert_eq!(size.of(500), 250);
        size.failed(1);
        assert_eq!(size.of(500), 1);
        let mut rounds = 0;
        while size.of(500) < 500 {
            size.passed(size.of(500));
            rounds += 1;
        }
        assert!((10..40).contains(&rounds), "{rounds}");
    }
}
