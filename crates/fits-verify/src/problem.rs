//! What is wrong with a file, and where.

use std::fmt;

use crate::findings;

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

/// What to do about a problem. [`Display`](fmt::Display) says it in words that fit anywhere; who knows where the files come
/// from can say it better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// The file was damaged or cut on its way.
    Redeliver,
    /// The writer did not finish the file.
    AwaitWriter,
    /// The file was written wrong.
    SuspectWriter,
    /// The file is odd, but safe.
    TellWriter,
    /// It is another file than its name says.
    DeliverFits,
    /// It may be right, but cannot be judged here.
    AskWritersReader,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redeliver => "have the file delivered again",
            Self::AwaitWriter => "the writer did not finish; have the file delivered again",
            Self::SuspectWriter => "report it to the writer of the file, and have it delivered again",
            Self::TellWriter => "tell the writer of the file",
            Self::DeliverFits => "deliver the FITS file itself under this name",
            Self::AskWritersReader => "check these values with the writer's own reader",
        })
    }
}

/// One defect of a file: a stable code for programs, and a sentence for the person who has to act on it.
///
/// Its [`Display`](fmt::Display) says where and what; [`Problem::remedy`] is left to the caller: `"{problem}; {remedy}"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable, kebab-case; [`findings::TABLE`] has them all.
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
    pub remedy: Remedy,
}

impl Problem {
    /// A defect with this code, whose section of the standard comes from the table of codes.
    pub(crate) fn new(code: &'static str, what: impl Into<String>, remedy: Remedy) -> Self {
        let section = findings::entry(code).and_then(|entry| entry.section);
        Self { code, place: None, keyword: None, offset: None, section, what: what.into(), remedy }
    }

    #[must_use]
    pub(crate) fn in_hdu(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    #[must_use]
    pub(crate) fn of(mut self, keyword: impl Into<String>) -> Self {
        self.keyword = Some(keyword.into());
        self
    }

    /// Names a closer section than the one of the code.
    #[must_use]
    pub(crate) fn by(mut self, section: &'static str) -> Self {
        self.section = Some(section);
        self
    }

    #[must_use]
    pub(crate) fn at(mut self, offset: u64) -> Self {
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
        Ok(())
    }
}
