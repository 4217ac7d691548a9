//! Collects what may happen next.

use crate::custody_model::explore::{Step, What};
use crate::custody_model::world::{File, NAMES, World};

pub(crate) struct Steps<const N: usize> {
    world: World<N>,
    /// The file that is dealt with.
    pub(crate) file: usize,
    /// Storages answer one after the other.
    pub(crate) one_by_one: bool,
    pub(crate) possible: Vec<Step<World<N>>>,
}

impl<const N: usize> Steps<N> {
    pub(crate) fn new(world: World<N>) -> Self {
        Self { world, file: 0, one_by_one: false, possible: Vec::with_capacity(16) }
    }

    /// It will happen if it can again and again.
    pub(crate) fn fair(&mut self, text: &'static str, change: impl FnOnce(&mut File)) {
        self.push(text, None, true, change);
    }

    /// It may happen.
    pub(crate) fn unfair(&mut self, text: &'static str, change: impl FnOnce(&mut File)) {
        self.push(text, None, false, change);
    }

    /// It will happen at an RSE.
    pub(crate) fn fair_at(&mut self, rse: usize, text: &'static str, change: impl FnOnce(&mut File)) {
        self.push(text, Some(rse), true, change);
    }

    /// It may happen at an RSE.
    pub(crate) fn unfair_at(&mut self, rse: usize, text: &'static str, change: impl FnOnce(&mut File)) {
        self.push(text, Some(rse), false, change);
    }

    /// It will happen, and may itself be wrong.
    pub(crate) fn checked(&mut self, text: &'static str, change: impl FnOnce(&mut File) -> Option<String>) {
        let file = self.file;
        self.everywhere(text, None, true, |world| change(&mut world.files[file]));
    }

    /// A misfortune: it may happen as long as there are some to come.
    pub(crate) fn misfortune(&mut self, rse: Option<usize>, text: &'static str, change: impl FnOnce(&mut File)) {
        if self.world.misfortunes == 0 {
            return;
        }
        let file = self.file;
        self.everywhere(text, rse, false, |world| {
            world.misfortunes -= 1;
            change(&mut world.files[file]);
            None
        });
    }

    fn push(&mut self, text: &'static str, rse: Option<usize>, fair: bool, change: impl FnOnce(&mut File)) {
        let file = self.file;
        self.everywhere(text, rse, fair, |world| {
            change(&mut world.files[file]);
            None
        });
    }

    /// It changes more than the file.
    pub(crate) fn everywhere(
        &mut self,
        text: &'static str,
        rse: Option<usize>,
        fair: bool,
        change: impl FnOnce(&mut World<N>) -> Option<String>,
    ) {
        let mut to = self.world;
        let broken = change(&mut to);
        let what = What { text, file: self.file, rse: rse.map(|rse| NAMES[rse]) };
        self.possible.push(Step { what, fair, to, broken });
    }
}
