//! Rucio's own tools that must leave the on-site RSE alone: an attribute of the RSE invites each.

use std::collections::BTreeMap;

use serde_json::Value;

/// The attribute, and what comes of it.
const INVITED: [(&str, &str); 2] = [
    (
        "decommission",
        "Rucio's decommissioning ends the rules that protect files there before they have copies, and its reaper deletes them",
    ),
    (
        "enable_suspicious_file_recovery",
        "Rucio's replica recoverer may declare files there bad that have no other copy, and Rucio then gives them up",
    ),
];

/// What the attributes of the on-site RSE invite, in words.
pub(super) fn invited(rse: &str, attributes: &BTreeMap<String, Value>) -> Vec<String> {
    let is_set = |value: &&Value| match value {
        Value::Null => false,
        Value::Bool(set) => *set,
        Value::String(text) => !matches!(text.to_ascii_lowercase().as_str(), "" | "false"),
        _ => true,
    };
    let said = |(attribute, what): (&str, &str)| {
        let value = attributes.get(attribute).filter(is_set)?;
        Some(format!("the on-site RSE {rse} has the attribute {attribute} = {value}: {what}; remove the attribute"))
    };
    INVITED.into_iter().filter_map(said).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_attribute_invites_is_said_unless_it_is_off() {
        let said = |attribute: &str, value: Value| invited("ONSITE", &[(attribute.to_owned(), value)].into());
        for (attribute, _) in INVITED {
            for set in [json!(true), json!("True"), json!("profile=generic_move,status=processing"), json!(1)] {
                let said = said(attribute, set);
                assert!(said.len() == 1 && said[0].contains(attribute), "{said:?}");
            }
            for unset in [json!(false), json!("False"), json!(""), json!(null)] {
                assert!(said(attribute, unset).is_empty());
            }
        }
        assert!(said("site", json!("LAPALMA")).is_empty());
    }
}
