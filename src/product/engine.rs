//! From a header to validated metadata, generic over the model.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::input::{Given, Input, Source};
use super::model::{Fallback, Field, Group, Kind, MARKER, Model, VERSION, is_below};
use super::outcome::{Defect, Invalid, Metadata};
use super::{convert, key_rules};
use fits_verify::{Card, Header, Value};

/// How the model's keys begin in a HIERARCH card. Other namespaces are other people's.
const NAMESPACE: &str = "HIERARCH CTAO ";
/// Name space of the identifiers derived from a file's content.
const DERIVED: Uuid = Uuid::from_u128(0x9d58_832a_480d_4e2e_9496_e1b6_93a6_0fbb);
/// Most problems that are listed.
const DEFECTS_MAX: usize = 100;
/// Most entries of a list.
const LIST_MAX: usize = 1000;

/// Validates a header.
pub(super) fn run(model: &Model, header: &Header, content: &[u8; 32]) -> Result<Metadata, Invalid> {
    let mut input = Input::collect(model, header);
    let ignored = key_rules::observation(model, header, &mut input);
    key_rules::data_source(&mut input);
    let mut keys = input.validate(model, content);
    key_rules::across(&mut keys, &mut input);
    if input.defects.is_empty() {
        Ok(Metadata { keys, ignored: ignored.into_iter().collect() })
    } else {
        Err(Invalid { problems: input.defects })
    }
}

impl Input {
    /// Sorts the cards under flat keys. Of a repeated keyword the first card counts; between the short keyword and the
    /// HIERARCH card of the same key, the later one.
    fn collect(model: &Model, header: &Header) -> Self {
        let mut input = Self::default();
        let mut first_cards: HashMap<&str, &Card> = HashMap::new();
        for card in header.cards() {
            let keyword = key_rules::current_keyword(&card.keyword);
            let key = match keyword.strip_prefix(NAMESPACE) {
                Some(path) => key_rules::current_key(path.to_lowercase().replace(' ', "__")),
                None => match model.by_keyword(keyword) {
                    Some(field) => field.key.to_owned(),
                    None => continue,
                },
            };
            if input.defects.len() >= DEFECTS_MAX {
                input.defects.push(Defect::new("the header", "has more problems than are listed here"));
                break;
            }
            if model.find(&key).is_none() {
                input.unknown(model, card, &key);
                continue;
            }
            let first = *first_cards.entry(&card.keyword).or_insert(card);
            let repeated = first.offset != card.offset;
            let value = match card.keyword.as_str() {
                "COMMENT" if repeated => continue,
                "COMMENT" => Ok(comments(header)),
                _ => first.lenient_value(),
            };
            let given =
                |value| Given { keyword: card.keyword.clone(), offset: first.offset, value: Source::Card(value) };
            let given = match value {
                // the walk has warned of what is replaced
                Ok(Value::Text(text)) if card.keyword != "COMMENT" => given(Value::Text(plain(text))),
                Ok(value) => given(value),
                Err(fault) => input.refuse(given(Value::Undefined), fault.to_string(), repeated),
            };
            input.given.insert(key, given);
        }
        key_rules::renamed(header, &mut input);
        input
    }

    /// Notes a defect of a value, once for all its cards.
    fn refuse(&mut self, given: Given, what: String, repeated: bool) -> Given {
        if !repeated {
            self.defects.push(given.defect(what));
        }
        Given { value: Source::Refused, ..given }
    }

    fn unknown(&mut self, model: &Model, card: &Card, key: &str) {
        let near = model.fields.iter().map(|field| (strsim::damerau_levenshtein(field.key, key), field));
        let hint = match near.min_by_key(|(distance, _)| *distance) {
            Some((1..=3, field)) => {
                format!("; did you mean {NAMESPACE}{}?", field.key.replace("__", " ").to_uppercase())
            }
            _ => String::new(),
        };
        let what = format!("is not a key of the CTAO data product model {VERSION}{hint}");
        self.defects.push(Defect { keyword: card.keyword.clone(), value: None, offset: Some(card.offset), what });
    }

    /// Converts every field of the model that applies, in the model's order.
    fn validate(&mut self, model: &Model, content: &[u8; 32]) -> Map<String, Json> {
        let mut keys = Map::new();
        for group in model.groups.iter().filter(|group| group.required) {
            let fields = || model.fields.iter().filter(|field| is_below(field.key, group.key));
            // a field of a group within it is missed only where that group is there, or must be
            let missed = |field: &Field| {
                field.required && !model.is_part(field) && model.groups_of(field.key).all(|group| group.required)
            };
            if !self.has(group.key) && !fields().any(missed) {
                let keywords: Vec<_> = fields().map(|field| field.keyword).collect();
                self.defects.push(Defect::new(keywords.join(", "), "are all missing, and at least one is needed"));
            }
        }
        for (key, field) in self.expanded(model) {
            if !model.groups_of(field.key).all(|group| group.required || self.has(group.key)) {
                continue;
            }
            match self.value(field, &key, content) {
                Ok(Some(value)) => drop(keys.insert(key, value)),
                Ok(None) => {}
                Err(defect) => self.defects.push(defect),
            }
        }
        keys
    }

    /// The value of one field, if it has one.
    fn value(&self, field: &Field, key: &str, content: &[u8; 32]) -> Result<Option<Json>, Defect> {
        let Some(given) = self.given.get(key) else {
            return match field.default {
                Fallback::Literal(default) => Ok(Some(default.into())),
                Fallback::Derived => Ok(Some(Uuid::new_v5(&DERIVED, content).to_string().into())),
                Fallback::None if field.required => Err(Defect::new(name(field, key), "is missing")),
                Fallback::None => Ok(None),
            };
        };
        match &given.value {
            Source::Refused => Ok(None),
            Source::Ready(json) => Ok(Some(json.clone())),
            Source::Card(Value::Undefined) => match field.default {
                Fallback::None if !field.required => Ok(None),
                Fallback::None => Err(given.defect("has no value")),
                _ if field.keyword == MARKER => Err(given.defect("has no value")),
                _ => Err(given.defect("has no value; give one, or leave the keyword out")),
            },
            Source::Card(value) => convert::any(&field.kinds, value).map(Some).map_err(|what| given.defect(what)),
        }
    }

    /// The fields with their keys, those of lists once per entry. Parts of a value written as one are left out.
    fn expanded<'m>(&self, model: &'m Model) -> Vec<(String, &'m Field)> {
        let mut expanded = Vec::new();
        let mut done: Option<&Group> = None;
        for field in &model.fields {
            if model.is_part(field) {
                continue;
            }
            let Some(list) = model.groups_of(field.key).find(|group| group.list) else {
                expanded.push((field.key.to_owned(), field));
                continue;
            };
            if done.is_some_and(|done| done.key == list.key) {
                continue;
            }
            done = Some(list);
            let entries = self.given.keys().filter_map(|key| entry(key, list)).map(|(index, _)| index + 1).max();
            for index in 0..entries.unwrap_or(0) {
                for field in model.fields.iter().filter(|field| is_below(field.key, list.key)) {
                    expanded.push((format!("{}__{index}{}", list.key, &field.key[list.key.len()..]), field));
                }
            }
        }
        expanded
    }
}

impl Model {
    /// Whether a field is a part of a value that is written as one.
    fn is_part(&self, field: &Field) -> bool {
        let whole = |other: &Field| other.kinds.contains(&Kind::DataSource) && is_below(field.key, other.key);
        self.fields.iter().any(whole)
    }

    /// The field a flat key stands for, its index taken out if it is one of a list.
    fn find(&self, key: &str) -> Option<&Field> {
        match self.groups.iter().find(|group| group.list && is_below(key, group.key)) {
            Some(list) => self.by_key(&format!("{}__{}", list.key, entry(key, list)?.1)),
            None => self.by_key(key),
        }
    }
}

/// Index and rest of a key in a list.
fn entry<'k>(key: &'k str, list: &Group) -> Option<(usize, &'k str)> {
    let (index, rest) = key.strip_prefix(list.key)?.strip_prefix("__")?.split_once("__")?;
    let number = index.parse::<usize>().ok().filter(|number| *number < LIST_MAX && number.to_string() == index)?;
    Some((number, rest))
}

/// A field as messages name it: the keyword to write.
fn name(field: &Field, key: &str) -> String {
    if field.keyword.starts_with(NAMESPACE) {
        format!("{NAMESPACE}{}", key.replace("__", " ").to_uppercase())
    } else {
        field.keyword.to_owned()
    }
}

/// A text with `?` for each byte that no header may have: other readers put it there, and not every catalogue can keep
/// such a byte.
fn plain(text: String) -> String {
    let odd = |c: char| !c.is_ascii() || c.is_ascii_control() && c != '\t';
    if text.contains(odd) { text.replace(odd, "?") } else { text }
}

/// The text of all COMMENT cards, a line each.
fn comments(header: &Header) -> Value {
    let cards = header.cards().iter().filter(|card| card.keyword == "COMMENT");
    let lines: Vec<_> = cards.map(|card| plain(card.commentary().unwrap_or_default().to_owned())).collect();
    Value::Text(lines.join("\n"))
}
