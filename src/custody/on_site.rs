//! What a look at the interface directory finds of a registered file.

use super::FileIdentity;

/// What lies on site under a registered file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnSiteFile {
    /// A file.
    There(FileIdentity),
    /// Another file than was registered, and nobody announced it; as found.
    Changed(FileIdentity),
    /// Something that is no file, in words.
    NoFile(String),
    /// Nothing, although nobody released it.
    Vanished,
    /// Nothing, and Rucio has carried out our request to release it.
    GoneAsOrdered,
    /// Nothing, and somebody else has decided about the file meanwhile.
    DecidedElsewhere,
}
