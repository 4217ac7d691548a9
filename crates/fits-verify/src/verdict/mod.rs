//! Judgement over one HDU: its cards one by one, its mandatory keywords, and its sums.

mod cards;
mod columns;
mod damaged;
mod dates;
mod judge;
mod mandatory;
mod names;
mod repeated;
mod structural;
mod sums;
mod values;

pub(crate) use judge::Judge;
pub(crate) use sums::{Sums, check as check_sums};
