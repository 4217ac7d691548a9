//! How far a job has come that does a part in each round.

use std::sync::Mutex;

use super::lock;

/// The last thing that was looked at; the next ones are due. `None`: from the beginning.
#[derive(Debug)]
pub(crate) struct Cursor<T>(Mutex<Option<T>>);

impl<T> Default for Cursor<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> Cursor<T> {
    pub(crate) fn get(&self) -> Option<T> {
        lock(&self.0).clone()
    }

    pub(crate) fn set(&self, last: Option<T>) {
        *lock(&self.0) = last;
    }
}
