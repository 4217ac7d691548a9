//! Every code that a finding of ours can have: those of the FITS walk, and our own. `docs/findings.md` is checked against
//! it.

use fits_verify::findings::{Entry, Severity, TABLE};
use fits_verify::{Problem, Remedy};
use serde::Serialize;

/// One thing found in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable, kebab-case: for programs.
    pub code: &'static str,
    /// Where, what, and what to do: for people.
    pub message: String,
}

impl From<&Problem> for Finding {
    fn from(problem: &Problem) -> Self {
        // here it is known who delivers
        let remedy = match problem.remedy {
            Remedy::Redeliver => "have ACADA deliver the file again".to_owned(),
            Remedy::AwaitWriter => "the writer did not finish; have ACADA deliver the file again".to_owned(),
            other => other.to_string(),
        };
        Self { code: problem.code, message: format!("{problem}; {remedy}") }
    }
}

/// What the walk does not know of, and what our configuration changes about one of its codes.
const OURS: &[Entry] = &[
    Entry {
        code: "no-data-hdu",
        severity: Severity::Rejection,
        section: None,
        meaning: "no HDU has data, or an event file has no table of events: it was cut between two HDUs",
    },
    Entry {
        code: "missing-metadata",
        severity: Severity::Rejection,
        section: None,
        meaning: "no HDU has CTAOMETA; with `verify.reject_missing_metadata: false` only a warning",
    },
    Entry {
        code: "invalid-metadata",
        severity: Severity::Rejection,
        section: None,
        meaning: "the product metadata break the CTAO data model; every problem is named, by keyword; with `verify.reject_missing_metadata: false` only a warning",
    },
    Entry {
        code: "checksum-absent",
        severity: Severity::Warning,
        section: Some("4.4.2.7"),
        meaning: "an HDU has no CHECKSUM; with `verify.require_checksum: true` a rejection",
    },
    Entry {
        code: "checksum-undefined",
        severity: Severity::Warning,
        section: Some("4.4.2.7"),
        meaning: "CHECKSUM or DATASUM is there but blank, which is as good as absent; with `verify.require_checksum: true` a rejection",
    },
    Entry {
        code: "metadata-ignored",
        severity: Severity::Warning,
        section: None,
        meaning: "keywords of the data model that have no effect, such as a pointing without times",
    },
];

/// All codes in the order of the page: for each severity those of the walk, then ours.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    let replaced = |entry: &'static Entry| OURS.iter().find(|ours| ours.code == entry.code).unwrap_or(entry);
    let added = OURS.iter().filter(|ours| fits_verify::findings::entry(ours.code).is_none());
    TABLE.iter().map(replaced).chain(added)
}
