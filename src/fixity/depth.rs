//! How closely a file is looked at.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How closely the tables of a file are looked at. Each depth includes the ones before it; `docs/integrity.md`
/// says what each of them sees.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, strum::IntoStaticStr,
)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Headers, sizes, CHECKSUM and DATASUM; tables like any other data.
    Checksums,
    /// Compressed tables tile by tile and block by block, without decompression, and where plain tables have the arrays
    /// of their cells: next to no cost.
    #[default]
    Structure,
    /// Every block decompressed, and its values' size compared with rows and column type; text, logicals and bits of
    /// plain tables.
    Decode,
}

impl Depth {
    /// All of them, the shallowest first.
    pub const ALL: [Self; 3] = [Self::Checksums, Self::Structure, Self::Decode];

    /// As configuration and command line have it.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that is no depth.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a depth; use one of checksums, structure, decode")]
pub struct UnknownDepth(String);

impl FromStr for Depth {
    type Err = UnknownDepth;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|depth| depth.name() == name).ok_or_else(|| UnknownDepth(name.to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_everywhere() {
        for depth in Depth::ALL {
            assert_eq!(depth.to_string().parse(), Ok(depth));
            assert_eq!(serde_json::to_value(depth).unwrap(), depth.name());
        }
        assert!("deep".parse::<Depth>().unwrap_err().to_string().contains("checksums, structure, decode"));
        assert!(Depth::Checksums < Depth::default() && Depth::default() < Depth::Decode);
    }
}
