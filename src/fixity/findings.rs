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

/// What an operator does about a file that is rejected, by the code of its first reason; `None` for one of another version.
pub fn remedy(code: &str) -> Option<&'static str> {
    REMEDIES.iter().find(|(of, _)| *of == code).map(|(_, remedy)| *remedy)
}

/// Each names whom to ask and what for. The file is written once more in any case.
const REMEDIES: &[(&str, &str)] = &[
    ("not-fits", "see what was delivered in its place: the reason says what it looks like"),
    ("empty", "ask ACADA why a file without a byte was announced; the disk may have been full"),
    ("truncated", "ask ACADA whether the writer was stopped; compare the size with what it believes to have written"),
    (
        "trailing-data",
        "ask ACADA what was appended after the last HDU: an earlier, longer file may have been written over",
    ),
    ("too-many-hdus", "ask ACADA why a product has that many HDUs; it must be split"),
    ("invalid-header", "have the writer's header corrected: the reason names the card"),
    (
        "keyword-damaged",
        "see whether the disk damages bytes (its own log), or the writer misspells the keyword that is named",
    ),
    ("mandatory-missing", "have the writer put in the keyword that is named"),
    ("mandatory-value", "have the writer put a possible value into the keyword that is named"),
    ("mandatory-order", "have the writer put the mandatory keywords into their order"),
    ("mandatory-conflict", "have the writer leave out one of the two mandatory keywords that are named"),
    ("repeated-conflict", "find out which of the two values is meant, and have the writer leave out the other"),
    ("column-format", "have the format of the column that is named corrected in the writer"),
    ("row-width", "have the writer's columns and NAXIS1 brought together"),
    ("heap-pointer", "have the writer's THEAP and PCOUNT brought together"),
    ("array-descriptor", "ask ACADA whether the heap was written whole: a descriptor points beyond it"),
    ("padding", "ask ACADA what stands in the padding: blocks of two files may have been mixed"),
    ("unfinished-writer", "see in ACADA's log why the writer ended before it closed the file, and yet announced it"),
    (
        "checksum-mismatch",
        "read it again with dl0-ingest verify: another result means a bad disk, the same one a bad writer",
    ),
    ("checksum-damaged", "see whether the disk damages bytes (its own log): the name of a checksum is off by one byte"),
    (
        "datasum-mismatch",
        "look at the data of the HDU that is named: they, and not the header, are not what was summed",
    ),
    ("zfits-structure", "ask ACADA for the version of its ZFITS writer: catalog and tiles contradict each other"),
    ("zfits-decode", "ask ACADA whether the compressor reported an error: a block cannot be decompressed"),
    ("no-data-hdu", "ask ACADA whether events were taken at all; a file without them is not ingested"),
    ("missing-metadata", "have the writer put in the product metadata, or set verify.reject_missing_metadata to false"),
    ("invalid-metadata", "have the writer's product metadata corrected: the reason names each keyword"),
    ("checksum-absent", "have the writer put in CHECKSUM, or set verify.require_checksum to false"),
    ("checksum-undefined", "have the writer fill in CHECKSUM and DATASUM, or set verify.require_checksum to false"),
];

/// All codes in the order of the page: for each severity those of the walk, then ours.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    let replaced = |entry: &'static Entry| OURS.iter().find(|ours| ours.code == entry.code).unwrap_or(entry);
    let added = OURS.iter().filter(|ours| fits_verify::findings::entry(ours.code).is_none());
    TABLE.iter().map(replaced).chain(added)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_to_reject_has_a_remedy_of_its_own_and_there_are_no_others() {
        let may_reject = |entry: &&Entry| {
            entry.severity == Severity::Rejection
                || entry.meaning.contains("`verify.require_checksum: true` a rejection")
        };
        let codes: BTreeSet<&str> = entries().filter(may_reject).map(|entry| entry.code).collect();
        let told: BTreeSet<&str> = REMEDIES.iter().map(|(code, _)| *code).collect();
        assert_eq!(told, codes);
        assert_eq!(REMEDIES.iter().map(|(_, remedy)| *remedy).collect::<BTreeSet<_>>().len(), REMEDIES.len());
    }
}
