//! From the tree of the file to typed values, gathering every mistake instead of stopping at the first.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::document::{Key, Node, Value};
use super::durations;
use super::problem::{Place, Problem};
use crate::custody::Copies;

/// Why a value cannot be used: what is wrong, and what to write instead.
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) help: String,
}

impl Refusal {
    pub(super) fn expected(what: &str, found: &Value, help: impl Into<String>) -> Self {
        Self { message: format!("expected {what}, found {}", found.found()), help: help.into() }
    }
}

/// A type that one value of the file can become.
pub(super) trait FromValue: Sized {
    fn from_value(value: &Value) -> Result<Self, Refusal>;
}

/// A closed set of words, such as `off`, `dry-run` and `on`.
pub(super) trait Keyword: Copy + 'static {
    /// Every word with its meaning.
    const WORDS: &'static [(&'static str, Self)];
}

/// What all sections of one file share while it is read.
#[derive(Default)]
pub(super) struct Decoding {
    problems: RefCell<Vec<Problem>>,
    /// Every key that was asked for, with its sections: what the file may contain.
    known: RefCell<Vec<String>>,
    unknown: RefCell<Vec<(String, Key)>>,
}

/// One mapping of the file, absent ones included (they have no entries).
pub(super) struct Section<'d> {
    decoding: &'d Decoding,
    path: String,
    place: Place,
    entries: &'d [(Key, Node)],
    asked: Vec<&'static str>,
}

impl Decoding {
    /// The top of the file.
    pub(super) fn root<'d>(&'d self, document: &'d Node) -> Section<'d> {
        self.section(String::new(), document.place, Some(document))
    }

    /// Every problem found, in the order of the file, and every key the file may contain.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<String>) {
        let known = self.known.into_inner();
        let mut problems = self.problems.into_inner();
        problems.extend(self.unknown.into_inner().iter().map(|(section, key)| unknown_key(section, key, &known)));
        problems.sort_by_key(|problem| problem.place);
        (problems, known)
    }

    fn section<'d>(&'d self, path: String, place: Place, node: Option<&'d Node>) -> Section<'d> {
        let entries: &[(Key, Node)] = match node.map(|node| &node.value) {
            // a section whose keys are all commented out is read as null
            None | Some(Value::Null) => &[],
            Some(Value::Map(entries)) => entries,
            Some(other) => {
                let help = "write its keys below it, each on a line of its own and indented by two more spaces";
                self.report(place, &path, Refusal::expected("a section", other, help));
                &[]
            }
        };
        Section { decoding: self, path, place, entries, asked: Vec::new() }
    }

    fn report(&self, place: Place, key: &str, refusal: Refusal) {
        let Refusal { message, help } = refusal;
        self.problems.borrow_mut().push(Problem { place: Some(place), key: key.to_owned(), message, help });
    }
}

impl<'d> Section<'d> {
    /// A value without which there is nothing to run; `example` shows how one looks.
    pub(super) fn required<T: FromValue>(&mut self, key: &'static str, example: &str) -> Option<T> {
        let path = self.path_of(key);
        match self.take(key) {
            Some(Node { place, value }) if !matches!(value, Value::Null) => {
                T::from_value(value).map_err(|refusal| self.decoding.report(*place, &path, refusal)).ok()
            }
            found => {
                let place = found.map_or(self.place, |node| node.place);
                let help = format!("write '{key}: {example}', with your own value");
                self.decoding.report(
                    place,
                    &path,
                    Refusal { message: "missing, and it has no default".to_owned(), help },
                );
                None
            }
        }
    }

    /// A value that may be absent (or null).
    pub(super) fn optional<T: FromValue>(&mut self, key: &'static str) -> Option<T> {
        let path = self.path_of(key);
        let Node { place, value } = self.take(key)?;
        if matches!(value, Value::Null) {
            return None;
        }
        T::from_value(value).map_err(|refusal| self.decoding.report(*place, &path, refusal)).ok()
    }

    /// A value with a default. After a mistake the default stands in, so that reading can go on.
    pub(super) fn or<T: FromValue>(&mut self, key: &'static str, default: T) -> T {
        let path = self.path_of(key);
        match self.take(key) {
            None => default,
            Some(Node { place, value }) => T::from_value(value).unwrap_or_else(|refusal| {
                self.decoding.report(*place, &path, refusal);
                default
            }),
        }
    }

    /// A value with a default that `null` switches off.
    pub(super) fn or_off<T: FromValue>(&mut self, key: &'static str, default: T) -> Option<T> {
        if self.entries.iter().any(|(found, _)| found.text == key) {
            self.optional(key)
        } else {
            Some(self.or(key, default))
        }
    }

    /// A mapping whose keys the operator chooses.
    pub(super) fn map<T: FromValue>(&mut self, key: &'static str) -> BTreeMap<String, T> {
        let path = self.path_of(key);
        let Some(node) = self.take(key) else { return BTreeMap::new() };
        let section = self.decoding.section(path, node.place, Some(node));
        let mut map = BTreeMap::new();
        for (name, Node { place, value }) in section.entries {
            match T::from_value(value) {
                Ok(value) => drop(map.insert(name.text.clone(), value)),
                Err(refusal) => self.decoding.report(*place, &format!("{}.{}", section.path, name.text), refusal),
            }
        }
        map
    }

    /// A section inside this one; empty when the file does not have it.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'d> {
        let path = self.path_of(key);
        let key_place = self.entries.iter().find(|(found, _)| found.text == key).map(|(found, _)| found.place);
        let node = self.take(key);
        self.decoding.section(path, key_place.unwrap_or(self.place), node)
    }

    /// Ends the section: a key nobody asked for is a mistake.
    pub(super) fn end(self) {
        for (key, _) in self.entries.iter().filter(|(key, _)| !self.asked.contains(&key.text.as_str())) {
            self.decoding.unknown.borrow_mut().push((self.path.clone(), key.clone()));
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn take(&mut self, key: &'static str) -> Option<&'d Node> {
        self.asked.push(key);
        self.decoding.known.borrow_mut().push(self.path_of(key));
        self.entries.iter().find(|(found, _)| found.text == key).map(|(_, node)| node)
    }
}

/// Names the nearest valid key: first among the neighbours, then the same key in another section.
fn unknown_key(section: &str, key: &Key, known: &[String]) -> Problem {
    let prefix = if section.is_empty() { String::new() } else { format!("{section}.") };
    let siblings: Vec<&str> =
        known.iter().filter_map(|path| path.strip_prefix(&prefix)).filter(|rest| !rest.contains('.')).collect();
    let elsewhere = known.iter().find(|path| path.rsplit_once('.').is_some_and(|(_, last)| last == key.text));
    let help = if let Some(near) = nearest(&key.text, siblings.iter().copied()) {
        format!("did you mean '{near}'?")
    } else if let Some((other, _)) = elsewhere.and_then(|path| path.rsplit_once('.')) {
        format!("it belongs into the section '{other}'")
    } else {
        format!("valid keys here: {}", siblings.join(", "))
    };
    let message = format!("unknown key '{}'", key.text);
    Problem { place: Some(key.place), key: section.to_owned(), message, help }
}

/// The candidate a slip of the fingers away from `word`, if there is one.
fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.replace('-', "_")), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1.max(candidate.len() / 3))
        .map(|(_, candidate)| candidate)
}

impl FromValue for String {
    fn from_value(value: &Value) -> Result<Self, Refusal> {
        match value {
            Value::Text(text) if text.trim().is_empty() => {
                Err(Refusal { message: "is empty".to_owned(), help: "write a text, or leave the key out".to_owned() })
            }
            Value::Text(text) => Ok(text.clone()),
            Value::Integer(number) => Ok(number.to_string()),
            other => Err(Refusal::expected(
                "a text",
                other,
                "write a text; put it in quotes if it looks like something else",
            )),
        }
    }
}

impl FromValue for PathBuf {
    fn from_value(value: &Value) -> Result<Self, Refusal> {
        match value {
            Value::Text(text) if !text.is_empty() => Ok(Self::from(text)),
            other => Err(Refusal::expected("a path", other, "write an absolute path, such as /srv/data")),
        }
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Result<Self, Refusal> {
        match value {
            Value::Bool(value) => Ok(*value),
            other => Err(Refusal::expected("true or false", other, "write true or false")),
        }
    }
}

impl FromValue for Duration {
    fn from_value(value: &Value) -> Result<Self, Refusal> {
        const HELP: &str = "write a number with a unit (ms, s, min, h, d), such as 200ms, 5s, 10min or '1h 30min'";
        match value {
            Value::Text(text) => durations::parse(text).ok_or_else(|| Refusal::expected("a duration", value, HELP)),
            Value::Integer(number) if *number >= 0 => {
                let help = format!("add a unit (ms, s, min, h, d), such as {number}s");
                Err(Refusal { message: format!("the duration {number} has no unit"), help })
            }
            other => Err(Refusal::expected("a duration", other, HELP)),
        }
    }
}

impl FromValue for u32 {
    fn from_value(value: &Value) -> Result<Self, Refusal> {
        match value {
            Value::Integer(number) if Self::try_from(*number).is_ok() => {
                Ok(Self::try_from(*number).unwrap_or_default())
            }
            other => {
                Err(Refusal::expected("a whole number", other, "write a whole number, without quotes or separators"))
            }
        }
    }
}

impl FromValue for usize {
    fn from_value(value: &Value) -> Result<Self, Refusal> {
        u32::from_value(value).map(|number| number as Self)
    }
}

impl FromValue for Copies {
    fn from_value(value: &Value) -> Result<Self, Refusal> {
        let refusal = |error: crate::custody::TooFewCopies| Refusal {
            message: error.to_string(),
            help: format!("write {} or more", Self::MIN.get()),
        };
        u32::from_value(value).and_then(|number| Self::try_from(number).map_err(refusal))
    }
}

impl FromValue for Url {
    fn from_value(value: &Value) -> Result<Self, Refusal> {
        const HELP: &str = "write it like https://rucio.example.org:443";
        match value {
            Value::Text(text) => Self::parse(text)
                // the text is not repeated: a password may stand in it
                .map_err(|error| Refusal { message: format!("not a URL: {error}"), help: HELP.to_owned() }),
            other => Err(Refusal::expected("a URL", other, HELP)),
        }
    }
}

impl FromValue for SocketAddr {
    fn from_value(value: &Value) -> Result<Self, Refusal> {
        const HELP: &str = "write address and port, such as 127.0.0.1:9464 or '[::1]:9464', or null to serve nothing";
        match value {
            Value::Text(text) => text.parse().map_err(|_| Refusal::expected("an address and a port", value, HELP)),
            other => Err(Refusal::expected("an address and a port", other, HELP)),
        }
    }
}

impl<T: Keyword> FromValue for T {
    fn from_value(value: &Value) -> Result<Self, Refusal> {
        let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
        let refusal = |help| Refusal::expected(&format!("one of {}", words.join(", ")), value, help);
        match value {
            Value::Text(text) => match T::WORDS.iter().find(|(word, _)| word == text) {
                Some((_, meaning)) => Ok(*meaning),
                None => Err(refusal(match nearest(text, words.iter().copied()) {
                    Some(word) => format!("did you mean '{word}'?"),
                    None => format!("write one of {}", words.join(", ")),
                })),
            },
            Value::Bool(on) if words.contains(&"on") => {
                Err(refusal(format!("did you mean '{}'?", if *on { "on" } else { "off" })))
            }
            _ => Err(refusal(format!("write one of {}", words.join(", ")))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_finds_its_key_and_a_stranger_does_not() {
        let keys = ["data_path", "state_dir", "offsite", "release"];
        assert_eq!(nearest("dta_path", keys.into_iter()), Some("data_path"));
        assert_eq!(nearest("data-path", keys.into_iter()), Some("data_path"));
        assert_eq!(nearest("State_Dir", keys.into_iter()), Some("state_dir"));
        assert_eq!(nearest("kafka", keys.into_iter()), None);
    }
}
