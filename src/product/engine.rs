//! From a header to validated metadata, generic over the model.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::model::{Default, Field, Group, Kind, Model, VERSION, is_below};
use super::{Defect, Invalid, MARKER, Metadata, convert, rules};
use fits_verify::{Card, Header, Value};

/// How the model's keys begin in a HIERARCH card. Other namespaces are other people's.
const NAMESPACE: &str = "HIERARCH CTAO ";
/// Name space of the identifiers derived from a file's content.
const DERIVED: Uuid = Uuid::from_u128(0x9d58_832a_480d_4e2e_9496_e1b6_93a6_0fbb);
/// Most problems that are listed.
const DEFECTS_MAX: usize = 100;
/// Most entries of a list.
const LIST_MAX: usize = 1000;

/// What a header gives for one flat key.
#[derive(Debug)]
pub(super) struct Given {
    /// The keyword as the header has it.
    pub(super) keyword: String,
    pub(super) offset: u64,
    pub(super) value: Source,
}

/// A value on its way.
#[derive(Debug)]
pub(super) enum Source {
    /// As on the card.
    Card(Value),
    /// Already converted by a rule.
    Ready(Json),
    /// Unusable, and said so. It counts as given: its group is present, and it is not missing.
    Refused,
}

impl Given {
    /// A defect of this value.
    pub(super) fn defect(&self, what: impl Into<String>) -> Defect {
        let value = match &self.value {
            Source::Card(Value::Undefined) | Source::Refused => None,
            Source::Card(value) => Some(shown(value)),
            Source::Ready(json) => Some(json.to_string()),
        };
        Defect { keyword: self.keyword.clone(), value, offset: Some(self.offset), what: what.into() }
    }
}

/// A value as messages show it.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    match value {
        Value::Undefined => String::new(),
        Value::Logical(logical) => if *logical { "T" } else { "F" }.to_owned(),
        Value::Integer(n) => n.to_string(),
        // with its decimal point
        Value::Real(real) => format!("{real:?}"),
        Value::Complex(text) => text.clone(),
        Value::Text(text) if text.chars().count() > LONGEST => {
            format!("'{}…'", text.chars().take(LONGEST).collect::<String>())
        }
        Value::Text(text) => format!("'{text}'"),
    }
}

/// The header's values under their flat keys, and what was wrong on the way.
#[derive(Debug, std::default::Default)]
pub(super) struct Input {
    pub(super) given: BTreeMap<String, Given>,
    pub(super) defects: Vec<Defect>,
}

/// Validates a header.
pub(super) fn run(model: &Model, header: &Header, content: &[u8; 32]) -> Result<Metadata, Invalid> {
    let mut input = Input::collect(model, header);
    let ignored = rules::observation(model, header, &mut input);
    rules::data_source(&mut input);
    let mut keys = input.validate(model, content);
    rules::across(&mut keys, &mut input);
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
            let keyword = rules::current_keyword(&card.keyword);
            let key = match keyword.strip_prefix(NAMESPACE) {
                Some(path) => rules::current_key(path.to_lowercase().replace(' ', "__")),
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
                Ok(Value::Text(text)) if !text.is_ascii() => {
                    let given = given(Value::Text(text));
                    let what = "contains characters beyond ASCII, which a header must not";
                    input.refuse(given, what.to_owned(), repeated)
                }
                Ok(value) => given(value),
                Err(fault) => input.refuse(given(Value::Undefined), fault.to_string(), repeated),
            };
            input.given.insert(key, given);
        }
        rules::renamed(header, &mut input);
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

    /// Whether anything below a group is given.
    pub(super) fn has(&self, group: &str) -> bool {
        self.given.keys().any(|key| is_below(key, group))
    }

    /// Converts every field of the model that applies, in the model's order.
    fn validate(&mut self, model: &Model, content: &[u8; 32]) -> Map<String, Json> {
        let mut keys = Map::new();
        for group in model.groups.iter().filter(|group| group.required) {
            let fields = || model.fields.iter().filter(|field| is_below(field.key, group.key));
            if !self.has(group.key) && !fields().any(|field| field.required) {
                let keywords: Vec<_> = fields().map(|field| field.keyword).collect();
                self.defects.push(Defect::new(keywords.join(", "), "are all missing, and at least one is needed"));
            }
        }
        for (key, field) in self.expanded(model) {
            if !model.groups_of(field.key).all(|group| group.required || self.has(group.key)) {
                continue;
            }
            let Some(given) = self.given.get(&key) else {
                match field.default {
                    Default::Literal(default) => drop(keys.insert(key, default.into())),
                    Default::Derived => drop(keys.insert(key, Uuid::new_v5(&DERIVED, content).to_string().into())),
                    Default::None if field.required => self.defects.push(Defect::new(name(field, &key), "is missing")),
                    Default::None => {}
                }
                continue;
            };
            match &given.value {
                Source::Refused => {}
                Source::Ready(json) => drop(keys.insert(key, json.clone())),
                Source::Card(Value::Undefined) => match field.default {
                    Default::None if !field.required => {}
                    Default::None => self.defects.push(given.defect("has no value")),
                    _ if field.keyword == MARKER => self.defects.push(given.defect("has no value")),
                    _ => self.defects.push(given.defect("has no value; give one, or leave the keyword out")),
                },
                Source::Card(value) => match convert::any(&field.kinds, value) {
                    Ok(json) => drop(keys.insert(key, json)),
                    Err(what) => self.defects.push(given.defect(what)),
                },
            }
        }
        keys
    }

    /// The fields with their keys, those of lists once per entry. Parts of a value written as one are left out.
    fn expanded<'m>(&self, model: &'m Model) -> Vec<(String, &'m Field)> {
        let mut expanded = Vec::new();
        let mut done: Option<&Group> = None;
        for field in &model.fields {
            let whole = |other: &Field| other.kinds.contains(&Kind::DataSource) && is_below(field.key, other.key);
            if model.fields.iter().any(whole) {
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

/// The text of all COMMENT cards, a line each.
fn comments(header: &Header) -> Value {
    let cards = header.cards().iter().filter(|card| card.keyword == "COMMENT");
    let lines: Vec<_> = cards.map(|card| card.commentary().unwrap_or_default()).collect();
    Value::Text(lines.join("\n"))
}
