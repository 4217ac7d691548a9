//! What is wrong with a file, and where.

use std::fmt;

use super::findings;

/// Remedy for a file that was damaged or cut on its way.
pub const REDELIVER: &str = "have ACADA deliver the file again";
/// Remedy for a file that was written wrong.
pub(crate) const SUSPECT_WRITER: &str = "report it to the writer of the file, and have it delivered again";
/// Remedy for what is odd but safe.
pub(crate) const TELL_WRITER: &str = "tell the writer of the file";

/// An HDU as messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index, 0 for the primary HDU.
    pub index: usize,
    /// EXTNAME, if it has one.
    pub name: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.index) {
            (Some(name), index) => write!(f, "HDU {index} '{name}'"),
            (None, 0) => write!(f, "HDU 0 (primary)"),
            (None, index) => write!(f, "HDU {index}"),
        }
    }
}

/// One defect of a file: a stable code for programs, and a sentence for the person who has to act on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable, kebab-case.
    pub code: &'static str,
    /// The HDU, if the defect belongs to one.
    pub place: Option<Place>,
    /// The keyword, if the defect belongs to one.
    pub keyword: Option<String>,
    /// Byte offset in the file.
    pub offset: Option<u64>,
    /// Section of the standard, if the rule is the standard's.
    pub section: Option<&'static str>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl Problem {
    /// A defect with this code, whose section of the standard comes from the [table](crate::findings::TABLE).
    pub fn new(code: &'static str, what: impl Into<String>, remedy: &'static str) -> Self {
        let section = findings::entry(code).and_then(|entry| entry.section);
        Self { code, place: None, keyword: None, offset: None, section, what: what.into(), remedy }
    }

    /// Names the HDU.
    #[must_use]
    pub fn in_hdu(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Names the keyword.
    #[must_use]
    pub fn of(mut self, keyword: impl Into<String>) -> Self {
        self.keyword = Some(keyword.into());
        self
    }

    /// Names a closer section than the one of the code.
    #[must_use]
    pub fn by(mut self, section: &'static str) -> Self {
        self.section = Some(section);
        self
    }

    /// Names the byte in the file.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if let Some(place) = &self.place {
            write!(f, "{place}")?;
            separator = ", ";
        }
        if let Some(keyword) = &self.keyword {
            write!(f, "{separator}{keyword}")?;
            separator = " ";
        }
        if let Some(offset) = self.offset {
            write!(f, "{}at byte {offset}", if separator.is_empty() { "" } else { " " })?;
            separator = ": ";
        }
        if !separator.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.what)?;
        if let Some(section) = self.section {
            write!(f, " (FITS 4.0, section {section})")?;
        }
        write!(f, "; {}", self.remedy)
    }
}
