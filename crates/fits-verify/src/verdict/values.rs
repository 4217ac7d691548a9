//! The values of reserved keywords: of the right type, and where they may be (sections 4.4.2, 5.3, 7.2.2, 7.3.2 and 9.1).

use super::dates;
use super::judge::Judge;
use crate::card::{Card, Content, Value};
use crate::form::{AsciiForm, BinaryForm};
use crate::header::Header;
use crate::layout::Kind;
use crate::problem::Remedy;

/// The type that a value must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Text,
    Integer,
    Number,
    Logical,
}

impl Type {
    fn has(self, value: &Value) -> bool {
        match self {
            Self::Text => matches!(value, Value::Text(_)),
            Self::Integer => matches!(value, Value::Integer(_)),
            Self::Number => matches!(value, Value::Integer(_) | Value::Real(_)),
            Self::Logical => matches!(value, Value::Logical(_)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Logical => "T or F",
        }
    }
}

/// Reserved keywords, their type, and the section that says so.
const RESERVED: &[(&str, Type, &str)] = &[
    ("EXTNAME", Type::Text, "4.4.2.6"),
    ("EXTVER", Type::Integer, "4.4.2.6"),
    ("EXTLEVEL", Type::Integer, "4.4.2.6"),
    ("INHERIT", Type::Logical, "4.4.2.6"),
    ("EXTEND", Type::Logical, "4.4.2.1"),
    ("ORIGIN", Type::Text, "4.4.2.1"),
    ("TELESCOP", Type::Text, "4.4.2.2"),
    ("INSTRUME", Type::Text, "4.4.2.2"),
    ("OBSERVER", Type::Text, "4.4.2.2"),
    ("OBJECT", Type::Text, "4.4.2.2"),
    ("AUTHOR", Type::Text, "4.4.2.3"),
    ("REFERENC", Type::Text, "4.4.2.3"),
    ("BSCALE", Type::Number, "4.4.2.5"),
    ("BZERO", Type::Number, "4.4.2.5"),
    ("BUNIT", Type::Text, "4.4.2.5"),
    ("BLANK", Type::Integer, "4.4.2.5"),
    ("DATAMAX", Type::Number, "4.4.2.5"),
    ("DATAMIN", Type::Number, "4.4.2.5"),
    ("MJD-OBS", Type::Number, "9.5"),
    ("MJD-BEG", Type::Number, "9.5"),
    ("MJD-AVG", Type::Number, "9.5"),
    ("MJD-END", Type::Number, "9.5"),
];

/// The same of columns.
const COLUMNS: &[(&str, Type)] = &[
    ("TTYPE", Type::Text),
    ("TUNIT", Type::Text),
    ("TDISP", Type::Text),
    ("TDIM", Type::Text),
    ("TSCAL", Type::Number),
    ("TZERO", Type::Number),
];

impl Judge<'_> {
    /// Judges what is reserved, and is there.
    pub(crate) fn reserved_values(&mut self) {
        let table = matches!(self.kind, Kind::AsciiTable | Kind::BinaryTable);
        let header = self.header;
        let forms = if table { forms(header) } else { Vec::new() };
        for card in header.cards().iter().filter(|card| !matches!(card.content, Content::Text(_))) {
            let Some(value) = card.value().filter(|value| **value != Value::Undefined) else { continue };
            if let Some((_, expected, section)) = RESERVED.iter().find(|(keyword, ..)| *keyword == card.keyword) {
                self.typed(card, value, *expected, section);
            } else if card.keyword.starts_with("DATE") {
                self.date(card, value);
            } else if table && let Some((root, column)) = column(&card.keyword) {
                let form = column.checked_sub(1).and_then(|at| forms.get(at).copied().flatten());
                self.column_value(card, value, root, form);
            }
        }
        self.misplaced();
    }

    fn typed(&mut self, card: &Card, value: &Value, expected: Type, section: &'static str) {
        if !expected.has(value) {
            let what = format!("is not {}", expected.name());
            let problem = self.at(card, "reserved-value", what, Remedy::TellWriter).by(section);
            self.walk.warn(problem);
        }
    }

    /// `DATE`, `DATEREF` and the like, and nothing that only begins so (section 9.1.1 and table 32).
    fn date(&mut self, card: &Card, value: &Value) {
        let known = ["DATE", "DATEREF", "DATE-OBS", "DATE-BEG", "DATE-AVG", "DATE-END"];
        if !known.contains(&card.keyword.as_str()) {
            return;
        }
        let what = match value {
            Value::Text(text) if dates::is_date(text.trim_end()) => return,
            Value::Text(text) => format!("is '{text}', which is no date of the form YYYY-MM-DD[Thh:mm:ss[.s…]]"),
            _ => "is not a string".to_owned(),
        };
        let problem = self.at(card, "date-form", what, Remedy::TellWriter);
        self.walk.warn(problem);
    }

    /// A keyword that this HDU must not have.
    fn misplaced(&mut self) {
        let primary = *self.kind == Kind::Primary;
        let bitpix = self.integer("BITPIX").unwrap_or_default();
        let array = matches!(self.kind, Kind::Primary | Kind::Image);
        let no_heap = *self.kind == Kind::BinaryTable
            && self.integer("PCOUNT") == Some(0)
            && self.header.logical("ZTABLE") != Some(true);
        for (keyword, wrong, section, what) in [
            ("SIMPLE", !primary, "4.4.1.1", "belongs into the primary header only"),
            ("INHERIT", primary, "4.4.2.6", "belongs into extensions only"),
            (
                "BLANK",
                array && bitpix < 0,
                "5.3",
                "must not be used where the data are floats: NaN stands for what is undefined",
            ),
            ("THEAP", no_heap, "7.3.2", "must not be used where PCOUNT is 0: there is no heap"),
        ] {
            let card = self.header.get(keyword).filter(|card| wrong && card.value().is_some());
            if let Some(card) = card {
                let problem = self.at(card, "keyword-not-allowed", what.to_owned(), Remedy::TellWriter).by(section);
                self.walk.warn(problem);
            }
        }
    }

    /// A keyword of a column: of its type, and fit for what the column holds.
    fn column_value(&mut self, card: &Card, value: &Value, root: &str, form: Option<&str>) {
        let binary = *self.kind == Kind::BinaryTable;
        let section = if binary { "7.3.2" } else { "7.2.2" };
        if let Some((_, expected)) = COLUMNS.iter().find(|(known, _)| *known == root) {
            self.typed(card, value, *expected, section);
        }
        let Some(form) = form else { return };
        let wrong = if binary {
            let Some(form) = BinaryForm::parse(form) else { return };
            match (root, value) {
                ("TNULL", value) => null(form, value),
                ("TSCAL" | "TZERO", Value::Integer(_) | Value::Real(_)) => scale(form),
                ("TDIM", Value::Text(text)) => dimensions(form, text).map(|what| ("column-dimensions", what)),
                _ => None,
            }
        } else {
            let Some(form) = AsciiForm::parse(form) else { return };
            match (root, value) {
                ("TNULL", value) if !Type::Text.has(value) => Some(("reserved-value", "is not a string".to_owned())),
                ("TSCAL" | "TZERO", _) if form.kind == b'A' => {
                    Some(("keyword-not-allowed", "must not be used with a column of text".to_owned()))
                }
                _ => None,
            }
        };
        if let Some((code, what)) = wrong {
            let problem = self.at(card, code, what, Remedy::TellWriter).by(section);
            self.walk.warn(problem);
        }
    }
}

/// The `TFORMn` of each column.
fn forms(header: &Header) -> Vec<Option<&str>> {
    let mut forms = vec![None; 999];
    for card in header.cards() {
        let index = card.keyword.strip_prefix("TFORM").and_then(|index| index.parse::<usize>().ok());
        let slot = index.and_then(|index| forms.get_mut(index.checked_sub(1)?));
        if let (Some(slot @ None), Some(Value::Text(form))) = (slot, card.value()) {
            *slot = Some(form.as_str());
        }
    }
    forms
}

type Wrong = Option<(&'static str, String)>;

/// `TNULLn` is an integer, for columns of integers, within their range.
fn null(form: BinaryForm, value: &Value) -> Wrong {
    let range: std::ops::RangeInclusive<i128> = match form.values() {
        b'B' => 0..=0xff,
        b'I' => i16::MIN.into()..=i16::MAX.into(),
        b'J' => i32::MIN.into()..=i32::MAX.into(),
        b'K' => i64::MIN.into()..=i64::MAX.into(),
        other => {
            let what =
                format!("must not be used with a column of the type {}: only integers have it", char::from(other));
            return Some(("keyword-not-allowed", what));
        }
    };
    match value {
        Value::Integer(null) if range.contains(null) => None,
        Value::Integer(null) => {
            Some(("reserved-value", format!("is {null}, which no value of the column can be, so it marks nothing")))
        }
        _ => Some(("reserved-value", "is not an integer".to_owned())),
    }
}

/// Text, logicals and bits are not scaled.
fn scale(form: BinaryForm) -> Wrong {
    let kind = form.values();
    let what = || format!("must not be used with a column of the type {}", char::from(kind));
    matches!(kind, b'A' | b'L' | b'X').then(|| ("keyword-not-allowed", what()))
}

/// `TDIMn` is a list of lengths, `(i,j,…)`, that the elements of a cell fill or more. Of an array in the heap each cell has
/// a number of its own.
fn dimensions(form: BinaryForm, text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let lengths = inner.map(|inner| inner.split(',').map(|length| length.trim().parse::<u64>()));
    let Some(Ok(lengths)) = lengths.map(Iterator::collect::<Result<Vec<_>, _>>) else {
        return Some(format!("is '{text}', which is no list of lengths (i,j,…)"));
    };
    let product = lengths.iter().try_fold(1_u64, |product, length| product.checked_mul(*length));
    let most = if form.element.is_some() { form.most? } else { form.repeat };
    let fits = product.is_some_and(|product| product <= most);
    (!fits).then(|| format!("is '{text}', which are more elements than the {most} of a cell"))
}

/// Root and index of a keyword of a column.
fn column(keyword: &str) -> Option<(&str, usize)> {
    let root = keyword.trim_end_matches(|c: char| c.is_ascii_digit());
    (root == "TNULL" || COLUMNS.iter().any(|(known, _)| *known == root))
        .then(|| keyword[root.len()..].parse().ok())?
        .map(|index| (root, index))
}
