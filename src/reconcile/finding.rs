//! What a reconciliation finds, in stable codes and in words.

use std::fmt;

use serde::Serialize;

use crate::custody::State;

/// What is wrong. `docs/operations.md` has the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Code {
    /// On disk, and nobody knows it.
    Dark,
    /// Said to be on site, and not on disk.
    Missing,
    /// Rucio has an on-site replica that the ledger does not have on site.
    Orphan,
    /// The ledger says registered, Rucio has no on-site replica.
    Unregistered,
    /// Rucio has the on-site replica in a state that it should not have.
    ReplicaState,
    /// Sizes differ.
    WrongSize,
    /// Rucio's adler32 is not the ledger's.
    WrongChecksum,
    /// The bytes on disk are not those that were verified.
    WrongContent,
    /// Another file lies under the name of the one that was verified.
    Changed,
    /// The file could not be read.
    Unreadable,
    /// The rule that protects the on-site copy has ended or is gone.
    Unprotected,
    /// Gone on site, and too few sites hold a right copy.
    TooFewCopies,
    /// Not registered yet, and its trigger is gone.
    Unannounced,
    /// The trigger of a file that is registered or released, or one that nobody has taken.
    ForgottenTrigger,
    /// Released, and still on disk.
    LeftOnSite,
    /// In `invalid/` without a reason, or unknown to the ledger.
    LeftoverInInvalid,
    /// An invariant is broken in another way.
    BrokenInvariant,
}

impl Code {
    /// All codes, in the order of the table.
    pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;

    /// The code in tables and JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The invariant that this breaks, if it breaks one.
    pub const fn invariant(self) -> Option<&'static str> {
        match self {
            Self::Unannounced => Some("I1"),
            Self::TooFewCopies => Some("I2"),
            Self::Missing => Some("I3"),
            Self::Unprotected => Some("I5"),
            Self::WrongContent => Some("I7"),
            _ => None,
        }
    }

    /// What an operator does about it, for a file of which the ledger says no more.
    const fn remedy(self) -> &'static str {
        match self {
            Self::Dark => {
                "if ACADA wanted it ingested, make its trigger (--repair does so for a sound file); otherwise move it out of the data directory"
            }
            Self::Missing => {
                "look for the file and for who removed it; if it is lost here, an off-site copy may be the only one: declare the replica lost in Rucio only after looking there"
            }
            Self::Orphan => {
                "--repair takes it into custody if it is what Rucio says; otherwise find out who registered it"
            }
            Self::Unregistered => {
                "find out who removed the replica in Rucio; then hold the file with 'dl0-ingest hold' and decide with the disk in view"
            }
            Self::ReplicaState => "see what Rucio knows of this replica, and mend it there",
            Self::WrongSize => {
                "hold the file with 'dl0-ingest hold', and find out whether it was cut on disk or registered with another size"
            }
            Self::WrongChecksum => {
                "hold the file with 'dl0-ingest hold', and find out who registered other content under its name in Rucio"
            }
            Self::WrongContent => {
                "hold the file with 'dl0-ingest hold', compare the copies off site with the ledger's checksums, and find out what \
                 wrote over it: it was done without a trace in size and time"
            }
            Self::Changed => {
                "hold the file with 'dl0-ingest hold', and find out who put another one in its place; if ACADA delivered it, make \
                 its trigger"
            }
            Self::Unreadable => "mend the disk or the permissions, and audit again",
            Self::Unprotected => {
                "hold the file at once with 'dl0-ingest hold', and place a rule on the on-site RSE by hand: Rucio may delete this copy"
            }
            Self::TooFewCopies => {
                "stop releases ('dl0-ingest hold --all'), find the copies that are left, keep them with rules of your own, and have Rucio copy them again"
            }
            Self::Unannounced => {
                "nothing is lost while the ledger stands; make the trigger again, a relative link to the file"
            }
            Self::ForgottenTrigger => {
                "a running daemon takes or removes it, and 'dl0-ingest status' names those it cannot take; --repair removes it \
                 if the file is the registered one"
            }
            Self::LeftOnSite => {
                "the daemon leaves it alone; if ACADA delivered it, make its trigger: it is compared, and the same content goes \
                 its road once more. Compare it with the copies off site before anybody removes it"
            }
            Self::LeftoverInInvalid => {
                "somebody put it there by hand, or the ledger was lost: read it, then keep or remove it"
            }
            Self::BrokenInvariant => {
                "stop releases ('dl0-ingest hold --all') and look at the file with 'dl0-ingest show'"
            }
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What can be mended without deciding anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// Remove the trigger of a file that is registered, or released and gone.
    RemoveTrigger,
    /// Make the trigger of a sound file.
    MakeTrigger,
    /// Take a file into custody that Rucio has on site.
    Restore,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RemoveTrigger => "remove its trigger",
            Self::MakeTrigger => "read it and, if it is sound, make its trigger",
            Self::Restore => "read it and, if it is what Rucio says, take it into custody",
        })
    }
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finding {
    /// What.
    pub code: Code,
    /// The LFN, or the path for what cannot have one.
    pub file: String,
    /// The file's state in the ledger.
    pub state: Option<State>,
    /// The invariant that is broken by it.
    pub invariant: Option<&'static str>,
    /// The facts.
    pub message: String,
    /// What can be done about it at once.
    pub repair: Option<Repair>,
}

impl Finding {
    /// What an operator does about it.
    pub const fn remedy(&self) -> &'static str {
        match (self.code, self.state) {
            (Code::Orphan, Some(State::Released)) => {
                "find out which rule keeps it or who registered it again ('rucio rule list'); if it is not on disk, see with \
                 'dl0-ingest why' that its copies stand before the replica goes in Rucio"
            }
            (Code::Orphan, Some(_)) => {
                "find out who registered it: the file was set aside as bad, and copies of it may be on their way; remove the \
                 replica and its rules in Rucio"
            }
            (code, _) => code.remedy(),
        }
    }

    /// The stable keys of `--json`.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "code": self.code,
            "file": self.file,
            "state": self.state.map(State::as_str),
            "invariant": self.invariant,
            "message": self.message,
            "remedy": self.remedy(),
            "repair": self.repair,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_a_remedy_of_its_own() {
        let remedies: std::collections::BTreeSet<&str> = Code::ALL.iter().map(|code| code.remedy()).collect();
        assert_eq!(remedies.len(), Code::ALL.len());
    }
}
