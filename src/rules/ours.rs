//! Which of Rucio's rules are ours, known by what they are: a stop may come between placing a rule and remembering it, and
//! a lost ledger remembers none.

use crate::config::Config;
use rucio_client::Rule;

pub(super) fn is_ours(config: &Config, rule: &Rule) -> bool {
    rule.account == config.rucio.account
}

/// The first-copy rule of a dataset: permanent, one copy off site.
pub(crate) fn is_first_copy_rule(config: &Config, rule: &Rule) -> bool {
    was_first_copy_rule(config, rule) && rule.expires_at.is_none()
}

/// The same, which may be about to end.
pub(super) fn was_first_copy_rule(config: &Config, rule: &Rule) -> bool {
    is_ours(config, rule) && rule.rse_expression == config.offsite.expression && rule.copies == 1
}

/// The further-copies rule of a file: permanent and with a source; nothing else of ours looks like that.
pub(crate) fn is_further_copies_rule(config: &Config, rule: &Rule) -> bool {
    was_further_copies_rule(config, rule) && rule.expires_at.is_none()
}

/// The same, which may be about to end.
pub(super) fn was_further_copies_rule(config: &Config, rule: &Rule) -> bool {
    is_ours(config, rule) && rule.source_replica_expression.is_some() && rule.rse_expression != config.onsite_rse
}

/// The settled rule of a dataset: permanent, off site, without a source, and not the first-copy rule.
pub(crate) fn is_settled_rule(config: &Config, rule: &Rule) -> bool {
    is_ours(config, rule)
        && rule.source_replica_expression.is_none()
        && rule.expires_at.is_none()
        && rule.rse_expression != config.offsite.expression
        && rule.rse_expression != config.onsite_rse
}

/// The on-site rule of a file, which ends when the file is released. (One RSE cannot hold more than one copy.)
pub(crate) fn is_on_site_rule(config: &Config, rule: &Rule) -> bool {
    is_ours(config, rule) && rule.rse_expression == config.onsite_rse && rule.copies == 1
}
