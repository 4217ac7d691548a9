//! Which ledger's daemon has placed a rule. A daemon ends and mends only rules of its own ledger: another one may have holds,
//! and evidence, that this one knows nothing of.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::engine::{Context, StageError};
use crate::ledger::{self, Ledger, UNSIGNED};
use rucio_client::Rule;

/// The key of a rule's metadata under which its ledger stands.
const LEDGER: &str = "dl0_ingest_ledger";

/// What is placed with a rule.
pub(super) fn signature(ledger: &str) -> Value {
    json!({ LEDGER: ledger })
}

/// The ledger that a rule names; [`UNSIGNED`] if it names none.
pub(crate) fn signed_by(meta: Option<&Value>) -> &str {
    meta.and_then(|meta| meta.get(LEDGER)).and_then(Value::as_str).unwrap_or(UNSIGNED)
}

/// The ledgers whose rules are ours.
#[derive(Clone, Debug)]
pub(crate) struct OwnLedgers(BTreeSet<String>);

impl OwnLedgers {
    /// As they are now: an operator may just have taken one over.
    pub(crate) async fn of(ledger: &Ledger) -> Result<Self, ledger::Error> {
        Ok(Self(ledger.answers_for().await?))
    }

    /// Whether a rule that is not on record is one of theirs.
    pub(crate) fn have_placed(&self, rule: &Rule) -> bool {
        self.include(signed_by(rule.meta.as_ref()))
    }

    /// Whether this is one of them.
    pub(crate) fn include(&self, ledger: &str) -> bool {
        self.0.contains(ledger)
    }
}

/// What files wait for that another ledger's rule is in the way of, in words; logged once for each ledger.
pub(super) fn of_others(context: &Context, rule: &Rule) -> String {
    let by = signed_by(rule.meta.as_ref());
    let words = in_the_way(by);
    if context.memory.reported.is_news("rules of other ledgers", by) {
        tracing::error!(rule_id = rule.id, ledger = by, "{words}");
    }
    format!("somebody to decide about rule {}: {words}", rule.id)
}

/// What an operator is told of another ledger's rules.
pub(crate) fn in_the_way(ledger: &str) -> String {
    if ledger == UNSIGNED {
        return "rules of this account name no ledger and are not on record in this one; if no other dl0-ingest works here, \
                say 'dl0-ingest take-over unsigned'"
            .to_owned();
    }
    format!(
        "rules of this account belong to another dl0-ingest, with the ledger {ledger}; two must never work on one \
         interface directory: stop one of them. If that ledger is gone for good, say 'dl0-ingest take-over {ledger}'"
    )
}

/// The same, where nothing can go on.
pub(super) fn wait_for_others(context: &Context, rule: &Rule) -> StageError {
    StageError::Wait(of_others(context, rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_the_ledger_that_placed_it_or_none() {
        let named = signature("5f0e");
        assert_eq!(signed_by(Some(&named)), "5f0e");
        for other in [json!(null), json!("text"), json!({"x": 1}), json!({LEDGER: 7})] {
            assert_eq!(signed_by(Some(&other)), UNSIGNED);
        }
        assert_eq!(signed_by(None), UNSIGNED);
    }

    #[test]
    fn every_ledger_in_the_way_is_told_with_its_remedy() {
        for ledger in ["5f0e", UNSIGNED] {
            assert!(in_the_way(ledger).contains(&format!("take-over {ledger}")));
        }
    }
}
