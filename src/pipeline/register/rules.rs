//! Rule C: one per file on the on-site RSE. It keeps the reaper away until the file is released.

use std::collections::BTreeMap;

use crate::ledger::FileRow;
use crate::names::Did;
use crate::pipeline::our_rules::{Standing, is_on_site_rule};
use crate::pipeline::{Context, StageError, mend};
use crate::rucio::{Grouping, Kind, NewRule};

const COMMENT: &str = "dl0-ingest: protects the on-site copy until the off-site copies are proven";

/// Places rule C on these files and returns the rule of each. A file without one waits.
pub(super) async fn protect(context: &Context, rows: &[FileRow]) -> Result<BTreeMap<Did, String>, StageError> {
    let dids: Vec<Did> = rows.iter().map(FileRow::did).collect();
    match place(context, dids.clone()).await {
        Ok(rules) => return Ok(rules),
        Err(error) if error.kind() == Kind::DuplicateRule => {}
        Err(error) => return Err(error.into()),
    }
    // a stop came between placing rules and remembering them: find those that exist, place the others
    let mut rules = BTreeMap::new();
    let mut missing = Vec::new();
    for did in dids {
        match existing(context, &did).await? {
            Existing::Permanent(rule) => {
                rules.insert(did, rule);
            }
            Existing::Ending => {}
            Existing::None => missing.push(did),
        }
    }
    if !missing.is_empty() {
        rules.extend(place(context, missing).await?);
    }
    Ok(rules)
}

async fn place(context: &Context, dids: Vec<Did>) -> Result<BTreeMap<Did, String>, crate::rucio::Error> {
    if dids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let config = context.config();
    let rule = NewRule {
        dids,
        copies: 1,
        rse_expression: config.onsite_rse.clone(),
        source_replica_expression: None,
        grouping: Grouping::None,
        lifetime: None,
        activity: config.rucio.rule_activity.clone(),
        comment: Some(COMMENT.to_owned()),
    };
    let ids = context.rucio.add_rules(&rule).await?;
    Ok(rule.dids.into_iter().zip(ids).collect())
}

enum Existing {
    /// A rule of ours without an end, or without one any more.
    Permanent(String),
    /// A rule of ours whose end has come: an earlier copy is being released.
    Ending,
    /// No rule of ours.
    None,
}

async fn existing(context: &Context, did: &Did) -> Result<Existing, StageError> {
    let config = context.config();
    let rules = context.rucio.did_rules(did).await?;
    Ok(match rules.into_iter().find(|rule| is_on_site_rule(&config, rule)) {
        Some(rule) if rule.expires_at.is_none() => Existing::Permanent(rule.id),
        // we end rules at once
        Some(rule) if rule.ends_later() => {
            mend::notice(context, "the on-site copy", &rule.id, &did.name, Standing::Ending);
            if mend::is_gone(context, &rule.id, Standing::Ending).await? {
                Existing::None
            } else {
                Existing::Permanent(rule.id)
            }
        }
        Some(_) => Existing::Ending,
        None => Existing::None,
    })
}
