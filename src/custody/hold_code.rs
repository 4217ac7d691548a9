//! Why a file is held for an operator.

use std::fmt;

/// Why a file is held. The names stand in ledgers, audit records and `--json`, and stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum HoldCode {
    /// What lies on site is not the file that was verified.
    Changed,
    /// Its dataset, or a container above it, is closed in Rucio.
    ClosedCollection,
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

    /// What an operator does before the file goes on (`retry`). `docs/operations.md` has the same words.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Changed => {
                "compare what lies on site with the checksums on record and with the copies; put the verified file back under \
                 its name, or move the other one away with its trigger"
            }
            Self::ClosedCollection => {
                "reopen what the reason names as closed, if it is to take more files: rucio did update --open SCOPE:NAME"
            }
            Self::Evidence => {
                "look at the copy that the reason names, in Rucio and at its storage; if it is bad, declare it bad in Rucio, so \
                 that it is made anew"
            }
            Self::Invariant => {
                "keep the log and the ledger and report it: something is recorded otherwise than it can be; let no release go \
                 on before that is understood"
            }
            Self::NameTaken => {
                "have it written, with its trigger, into a directory that has either files or directories; or end the other \
                 use of the name in Rucio"
            }
            Self::NoRule => {
                "see whether Rucio has a rule on it at the on-site RSE (rucio rule list); the file is registered once more, which \
                 brings one"
            }
            Self::OtherContent => {
                "find out which content belongs to the name, the one that lies on site or the one that is registered; deliver \
                 the other under a name of its own"
            }
            Self::RefusedByRucio => {
                "the reason has Rucio's own words: mend there what it refuses, such as a right, a limit or a name"
            }
            Self::ReplicaState => {
                "find out why Rucio has the replica in that state (rucio replica list file), and make it AVAILABLE there, or \
                 remove it"
            }
            Self::UnknownToRucio => {
                "find out who removed it from Rucio, and whether its copies are still at the data centres; they are held by \
                 nothing"
            }
            Self::Unprotected => {
                "save the file outside the data directory first, unless its copies are proven; then find out who ended the rule"
            }
            Self::Vanished => {
                "find out who removed it, and where a copy is left (dl0-ingest audit --copies); put the same file back under its \
                 name"
            }
        }
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
            Self::ClosedCollection
            | Self::NameTaken
            | Self::OtherContent
            | Self::RefusedByRucio
            | Self::ReplicaState => false,
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
    fn each_code_has_a_remedy_of_its_own() {
        let remedies: std::collections::BTreeSet<&str> = HoldCode::ALL.iter().map(|code| code.remedy()).collect();
        assert_eq!(remedies.len(), HoldCode::ALL.len());
        assert!(remedies.iter().all(|remedy| remedy.len() > 40));
    }

    #[test]
    fn codes_survive_the_way_through_the_ledger() {
        for &code in HoldCode::ALL {
            assert_eq!(HoldCode::parse(code.as_str()), Some(code));
        }
        assert_eq!(HoldCode::parse("content-differs"), None, "of an older ledger");
    }
}
