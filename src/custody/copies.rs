//! How many off-site copies a release needs.

use serde::{Deserialize, Serialize};

/// The number of verified off-site copies at distinct sites that a release requires: never less than two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Copies(u32);

/// Fewer than two copies were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} off-site copies are too few; the data are unrepeatable, so at least {min} are needed", min = Copies::MIN.0)]
pub struct TooFewCopies(u32);

impl Copies {
    /// The least number a release may rest on.
    pub const MIN: Self = Self(2);

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Copies {
    type Error = TooFewCopies;

    fn try_from(n: u32) -> Result<Self, TooFewCopies> {
        if n < Self::MIN.0 { Err(TooFewCopies(n)) } else { Ok(Self(n)) }
    }
}

impl From<Copies> for u32 {
    fn from(copies: Copies) -> Self {
        copies.0
    }
}

impl Default for Copies {
    fn default() -> Self {
        Self::MIN
    }
}
