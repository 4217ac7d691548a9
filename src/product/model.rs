//! The model, read once from its table.

use std::sync::LazyLock;

/// The embedded table.
const TABLE: &str = include_str!("model-1.4.tsv");

/// The first HDU with this keyword holds the product metadata.
pub const MARKER: &str = "CTAOMETA";

/// Version of the model, for messages.
pub(super) const VERSION: &str = "1.4";

/// The one pattern of the model, which `convert` knows by hand.
const MESSENGER: &str = r"^(cosmic-ray|muon|neutrino|photon|electron|proton|pdgid[+-]\d+)$";

/// Fields and groups in the order of the model.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) fields: Vec<Field>,
    pub(super) groups: Vec<Group>,
}

/// A leaf of the model.
#[derive(Debug)]
pub(super) struct Field {
    /// Short keyword, or `HIERARCH CTAO …`.
    pub(super) keyword: &'static str,
    /// Flat key.
    pub(super) key: &'static str,
    /// Its type; more than one where any of several will do.
    pub(super) kinds: Vec<Kind>,
    pub(super) required: bool,
    pub(super) default: Fallback,
}

/// What stands for an absent value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fallback {
    None,
    Literal(&'static str),
    /// An identifier made from the content.
    Derived,
}

/// An inner node of the model.
#[derive(Debug)]
pub(super) struct Group {
    /// Flat key of the group.
    pub(super) key: &'static str,
    pub(super) required: bool,
    /// A list of such groups, numbered in the key.
    pub(super) list: bool,
}

/// Type of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Float,
    Uuid,
    Date,
    Time,
    Url,
    Email,
    Messenger,
    TimeUnit,
    /// A number in this unit, or a string with a number and a unit.
    Quantity(&'static str),
    OneOf(Vec<&'static str>),
    /// Any of them, joined with `|`.
    Flags(Vec<&'static str>),
    /// `SDH001`: a component and its number.
    DataSource,
}

/// The model of this build.
pub(super) fn model() -> &'static Model {
    static MODEL: LazyLock<Model> = LazyLock::new(|| Model::parse(TABLE));
    &MODEL
}

impl Model {
    fn parse(table: &'static str) -> Self {
        let mut model = Self { fields: Vec::new(), groups: Vec::new() };
        for row in table.lines().filter(|line| !line.starts_with('#')).skip(1) {
            let mut columns = row.split('\t');
            let mut next = || columns.next().unwrap_or_default();
            let (keyword, key, kind, required, default, values) = (next(), next(), next(), next(), next(), next());
            let required = required == "required";
            if let (Some((shape @ ("group" | "list"), _)), "") = (kind.split_once(':'), keyword) {
                model.groups.push(Group { key, required, list: shape == "list" });
                continue;
            }
            let kind = Kind::parse(kind, values);
            let default = match default {
                "" => Fallback::None,
                "factory" => Fallback::Derived,
                literal => Fallback::Literal(literal),
            };
            // one row per alternative of a union type
            match model.fields.iter_mut().find(|field| field.key == key) {
                Some(field) => field.kinds.push(kind),
                None => model.fields.push(Field { keyword, key, kinds: vec![kind], required, default }),
            }
        }
        model
    }

    /// The field with this short keyword.
    pub(super) fn by_keyword(&self, keyword: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.keyword == keyword)
    }

    /// The field with this flat key.
    pub(super) fn by_key(&self, key: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.key == key)
    }

    /// The groups a field lies in, outermost first.
    pub(super) fn groups_of(&self, key: &str) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(move |group| is_below(key, group.key))
    }
}

/// Whether a flat key lies below a group's.
pub(super) fn is_below(key: &str, group: &str) -> bool {
    key.strip_prefix(group).is_some_and(|rest| rest.starts_with("__"))
}

impl Kind {
    fn parse(name: &'static str, values: &'static str) -> Self {
        let values: Vec<_> = values.split(',').filter(|value| !value.is_empty()).collect();
        let unit = name.strip_prefix("Quantity[").and_then(|rest| rest.strip_suffix(']'));
        match name {
            "int" => Self::Integer,
            "float" => Self::Float,
            "UUID" => Self::Uuid,
            "date" => Self::Date,
            "Time" => Self::Time,
            "AnyUrl" => Self::Url,
            "EmailStr" => Self::Email,
            "Pattern" if values == [MESSENGER] => Self::Messenger,
            "Unit" => Self::TimeUnit,
            "Flags" => Self::Flags(values),
            "group:ACADADataSource" => Self::DataSource,
            _ => match unit {
                Some(unit) => Self::Quantity(unit),
                None if !values.is_empty() => Self::OneOf(values),
                None => Self::Text,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_understood() {
        let rows = TABLE.lines().filter(|line| !line.starts_with('#')).count() - 1;
        let alternatives: usize = model().fields.iter().map(|field| field.kinds.len()).sum();
        assert_eq!(alternatives + model().groups.len(), rows);
        for row in TABLE.lines() {
            let kind = row.split('\t').nth(2).unwrap_or("str");
            let known_text = row.starts_with('#') || kind == "str" || kind == "type" || kind.contains(':');
            let values = row.split('\t').nth(5).unwrap_or_default();
            let parsed = Kind::parse(kind, values);
            assert!(known_text || parsed != Kind::Text, "unknown type {kind}");
            assert!(kind != "Pattern" || parsed == Kind::Messenger, "unknown pattern {values}");
        }
    }

    #[test]
    fn parents_come_before_children_and_keywords_are_unique() {
        for (index, group) in model().groups.iter().enumerate() {
            let later = &model().groups[index + 1..];
            assert!(!later.iter().any(|other| is_below(group.key, other.key)), "{}", group.key);
        }
        for field in &model().fields {
            let same = model().fields.iter().filter(|other| other.keyword == field.keyword).count();
            assert_eq!(same, 1, "{}", field.keyword);
        }
    }
}
