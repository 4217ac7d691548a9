//! Why a file is held for an operator.

use std::fmt;

/// Why a file is held. The names stand in ledgers, audit records and `--json`, and stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum HoldCode {
    /// What lies on site is not the file that was verified.
    Changed,
    /// A copy contradicts the file, or evidence that was complete is not any more.
    Evidence,
    /// An invariant would have been broken.
    Invariant,
    /// Rucio has another kind of DID under a name that it needs: a dataset where its directory must be a container, or the
    /// other way round.
    NameTaken,
    /// The rule that protects the on-site copy is not on record.
    NoRule,
    /// Other content was delivered, or is registered, under its name.
    OtherContent,
    /// Rucio refuses to register it.
    RefusedByRucio,
    /// Rucio has the on-site replica in a state that it should not have.
    ReplicaState,
    /// Rucio does not list the file any more.
    UnknownToRucio,
    /// Nothing protects the on-site copy, and Rucio may delete it.
    Unprotected,
    /// The on-site file is gone although nobody released it.
    Vanished,
}

impl HoldCode {
    /// All codes, by name.
    pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;

    /// The name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The code of that name; `None` for one of another version.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }

    /// Whether a file held for this reason stops the releases of all files until an operator has looked.
    pub const fn is_contradiction(self) -> bool {
        match self {
            Self::Changed
            | Self::Evidence
            | Self::Invariant
            | Self::NoRule
            | Self::UnknownToRucio
            | Self::Unprotected
            | Self::Vanished => true,
            Self::NameTaken | Self::OtherContent | Self::RefusedByRucio | Self::ReplicaState => false,
        }
    }
}

impl fmt::Display for HoldCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_the_way_through_the_ledger() {
        for &code in HoldCode::ALL {
            assert_eq!(HoldCode::parse(code.as_str()), Some(code));
        }
        assert_eq!(HoldCode::parse("content-differs"), None, "of an older ledger");
    }
}
