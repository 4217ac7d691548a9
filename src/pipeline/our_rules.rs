//! Which of Rucio's rules are ours, known by what they are: a stop may come between placing a rule and remembering it, and
//! a lost ledger remembers none.

use crate::config::Config;
use crate::rucio::{Kind, Rule};

use super::{Context, StageError};

fn is_ours(config: &Config, rule: &Rule) -> bool {
    rule.account == config.rucio.account
}

/// Rule A of a dataset: permanent, one copy off site.
pub(crate) fn is_rule_a(config: &Config, rule: &Rule) -> bool {
    is_ours(config, rule)
        && rule.rse_expression == config.offsite.expression
        && rule.copies == 1
        && rule.expires_at.is_none()
}

/// Rule B of a file: permanent and with a source; nothing else of ours looks like that.
pub(crate) fn is_rule_b(config: &Config, rule: &Rule) -> bool {
    is_ours(config, rule)
        && rule.source_replica_expression.is_some()
        && rule.expires_at.is_none()
        && rule.rse_expression != config.onsite_rse
}

/// Rule C of a file, which ends when the file is released. (One RSE cannot hold more than one copy.)
pub(crate) fn is_rule_c(config: &Config, rule: &Rule) -> bool {
    is_ours(config, rule) && rule.rse_expression == config.onsite_rse && rule.copies == 1
}

/// Whether a rule is there and has no end.
pub(super) async fn stands(context: &Context, rule: &str) -> Result<bool, StageError> {
    match context.rucio.rule(rule).await {
        Ok(rule) => Ok(rule.expires_at.is_none()),
        Err(error) if error.kind() == Kind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}
