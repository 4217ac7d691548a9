//! Every code a finding can have: one table, from which messages take their section.

/// What a finding means for the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Unsafe: the file is not accepted.
    Rejection,
    /// Odd but safe: the file is accepted, and the log says so.
    Warning,
}

/// One code.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Stable, kebab-case: programs may compare it.
    pub code: &'static str,
    /// What it means for the file.
    pub severity: Severity,
    /// Section of the FITS Standard 4.0; `None` if the rule is not the standard's.
    pub section: Option<&'static str>,
    /// What it says, in a line.
    pub meaning: &'static str,
}

/// The entry of a code.
pub fn entry(code: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.code == code)
}

const fn rejection(code: &'static str, section: &'static str, meaning: &'static str) -> Entry {
    let section = if section.is_empty() { None } else { Some(section) };
    Entry { code, severity: Severity::Rejection, section, meaning }
}

const fn warning(code: &'static str, section: &'static str, meaning: &'static str) -> Entry {
    Entry { severity: Severity::Warning, ..rejection(code, section, meaning) }
}

/// All codes, rejections first.
pub const TABLE: &[Entry] = &[
    rejection(
        "not-fits",
        "4.4.1.1",
        "the file does not begin with `SIMPLE  =`; the message says what it is where that is easy to see",
    ),
    rejection("empty", "3.1", "the file has no bytes"),
    rejection("truncated", "3.1", "the file ends inside a header, a data unit or its padding"),
    rejection("trailing-data", "3.5", "bytes follow the last HDU that are not an HDU"),
    rejection("too-many-hdus", "", "more HDUs than are walked (65,536)"),
    rejection(
        "invalid-header",
        "4.1",
        "a control character in a value, one or a byte beyond ASCII in a keyword, a value that cannot be read in a keyword on which the data rest, or no END within 8 MiB",
    ),
    rejection(
        "keyword-damaged",
        "4.1.2.1",
        "a keyword on which the data rest is written so that readers miss it: in lower case, with a blank inside, without `= `, or one damaged byte off",
    ),
    rejection("mandatory-missing", "4.4.1", "a keyword is missing without which the HDU cannot be read"),
    rejection(
        "mandatory-value",
        "4.4.1",
        "a mandatory keyword has a value that is impossible, or not allowed in this kind of HDU",
    ),
    rejection(
        "mandatory-order",
        "4.4.1",
        "mandatory keywords are not in their order; readers find them by their place",
    ),
    rejection(
        "mandatory-conflict",
        "4.1.2.3",
        "a mandatory keyword occurs twice with different values, so readers disagree about the HDU",
    ),
    rejection(
        "repeated-conflict",
        "4.1.2.3",
        "another keyword on which the data rest occurs twice with different values, so readers disagree about the data",
    ),
    rejection("column-format", "7.3.1", "a TFORMn or TBCOLn of a table cannot be read"),
    rejection(
        "row-width",
        "7.3.1",
        "the columns of a table do not fill its rows of NAXIS1 bytes, or reach beyond them",
    ),
    rejection("heap-pointer", "7.3.5", "THEAP points outside the heap"),
    rejection(
        "array-descriptor",
        "7.3.5",
        "an array of a table lies outside the heap, or has a negative length or place",
    ),
    rejection(
        "padding",
        "3.3.1",
        "the bytes after END are not blanks, or the bytes after the data are not zeros (blanks in an ASCII table)",
    ),
    rejection(
        "unfinished-writer",
        "4.4.2.7",
        "a checksum still has the placeholder a writer puts there until it closes the file",
    ),
    rejection("checksum-mismatch", "4.4.2.7", "header and data do not sum to what CHECKSUM says"),
    rejection("checksum-damaged", "4.4.2.7", "no CHECKSUM, but a keyword that differs from it or DATASUM in one byte"),
    rejection("datasum-mismatch", "4.4.2.7", "the data do not sum to what DATASUM says"),
    rejection(
        "zfits-structure",
        "",
        "catalog, tiles and blocks of a table compressed as ZFITS contradict each other or the header",
    ),
    rejection("zfits-decode", "", "a block of such a table cannot be decompressed, or not to the size its rows need"),
    warning("checksum-absent", "4.4.2.7", "an HDU has no CHECKSUM, so nobody can know whether it is as it was written"),
    warning("checksum-undefined", "4.4.2.7", "CHECKSUM or DATASUM is there but blank, which is as good as absent"),
    warning("datasum-absent", "4.4.2.7", "an HDU has CHECKSUM but no DATASUM"),
    warning("simple-false", "4.4.1.1", "SIMPLE = F: the writer says that the file does not conform to the standard"),
    warning("random-groups", "6", "random groups, a structure out of use"),
    warning(
        "unknown-extension",
        "3.4.1",
        "an extension of a kind the standard does not know; its bytes are summed, its content is not judged",
    ),
    warning(
        "size-assumed",
        "4.4.1.2",
        "PCOUNT or GCOUNT of an image is missing; 0 and 1 are assumed, as all readers do",
    ),
    warning("free-format", "4.4.1", "a mandatory keyword is not written in fixed format"),
    warning("keyword-order", "4.4.1.2", "PCOUNT and GCOUNT of an image do not follow NAXISn"),
    warning("mandatory-repeated", "4.1.2.3", "a mandatory keyword occurs twice, with the same value"),
    warning("repeated-keyword", "4.1.2.3", "another keyword occurs more than once"),
    warning("extra-index", "4.4.1", "a keyword of an axis or a column beyond NAXIS or TFIELDS"),
    warning(
        "keyword-name",
        "4.1.2.1",
        "a keyword with other characters than A-Z, 0-9, `-` and `_`, or with blanks inside",
    ),
    warning(
        "value-indicator",
        "4.1.2.2",
        "an `=` in column 9 without the blank that makes it a value indicator; the card is a comment",
    ),
    warning("stray-continue", "4.2.1.2", "a CONTINUE card that continues nothing"),
    warning("unreadable-value", "4.2", "a value that is neither a string nor a logical nor a number"),
    warning("unclosed-string", "4.2.1.1", "a string without its closing quote, in a keyword on which no data rest"),
    warning(
        "leading-zeros",
        "4.2.3",
        "a mandatory number with zeros or a sign before it: conforming, but CFITSIO refuses it",
    ),
    warning("lower-exponent", "4.2.4", "a number whose exponent is written with a small letter"),
    warning("reserved-value", "4.4.2", "a reserved keyword has a value of the wrong type"),
    warning("date-form", "9.1.1", "a date that is not written as the standard wants it, or that no calendar has"),
    warning(
        "keyword-not-allowed",
        "4.4.2",
        "a reserved keyword where it must not be: SIMPLE in an extension, BLANK or TNULLn of floats, THEAP without a heap",
    ),
    warning(
        "column-dimensions",
        "7.3.2",
        "a TDIMn that is no list of lengths, or of more elements than its column has",
    ),
    warning("array-length", "7.3.5", "an array of a table has more elements than its TFORMn says at most"),
    warning("logical-cell", "7.3.3.1", "a logical value that is not T, F or 0; seen at `decode`"),
    warning("text-cell", "7.3.3.1", "text of a binary table beyond the characters 0x20 to 0x7e; seen at `decode`"),
    warning("bit-cell", "7.3.3.1", "bits are set behind the last one of a bit array; seen at `decode`"),
    warning(
        "ascii-cell",
        "7.2.5",
        "an ASCII table holds other characters than 0x20 to 0x7e, or a number that is none; seen at `decode`",
    ),
    warning(
        "control-character",
        "4.1.2.3",
        "a control character in a header, in no keyword, in no value and in no card on which data rest",
    ),
    warning("non-ascii", "4.1.2.3", "a byte beyond ASCII in a header"),
    warning(
        "not-decodable",
        "",
        "a block is compressed in a way that is not decoded here, so its values were not seen",
    ),
    warning("zfits-not-judged", "", "a table says it is compressed as ZFITS, in a form that is not known here"),
    warning("more-findings", "", "the headers have more findings than are listed (1,000)"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_rejections_come_first() {
        for (index, entry) in TABLE.iter().enumerate() {
            assert!(!TABLE[..index].iter().any(|other| other.code == entry.code), "{}", entry.code);
        }
        assert!(TABLE.is_sorted_by_key(|entry| entry.severity == Severity::Warning));
    }
}
