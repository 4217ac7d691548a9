//! Which of Rucio's rules are ours, known by what they are: a stop may come between placing a rule and remembering it, and
//! a lost ledger remembers none.

use crate::config::Config;
use crate::rucio::{Kind, Rule, RuleState};

use super::{Context, StageError};

fn is_ours(config: &Config, rule: &Rule) -> bool {
    rule.account == config.rucio.account
}

/// Rule A of a dataset: permanent, one copy off site.
pub(crate) fn is_first_copy_rule(config: &Config, rule: &Rule) -> bool {
    is_ours(config, rule)
        && rule.rse_expression == config.offsite.expression
        && rule.copies == 1
        && rule.expires_at.is_none()
}

/// Rule B of a file: permanent and with a source; nothing else of ours looks like that.
pub(crate) fn is_further_copies_rule(config: &Config, rule: &Rule) -> bool {
    was_further_copies_rule(config, rule) && rule.expires_at.is_none()
}

/// Rule B of a file, which may be about to end.
pub(super) fn was_further_copies_rule(config: &Config, rule: &Rule) -> bool {
    is_ours(config, rule) && rule.source_replica_expression.is_some() && rule.rse_expression != config.onsite_rse
}

/// Rule S of a settled dataset: permanent, off site, without a source, and not rule A.
pub(crate) fn is_settled_rule(config: &Config, rule: &Rule) -> bool {
    is_ours(config, rule)
        && rule.source_replica_expression.is_none()
        && rule.expires_at.is_none()
        && rule.rse_expression != config.offsite.expression
        && rule.rse_expression != config.onsite_rse
}

/// Rule C of a file, which ends when the file is released. (One RSE cannot hold more than one copy.)
pub(crate) fn is_on_site_rule(config: &Config, rule: &Rule) -> bool {
    is_ours(config, rule) && rule.rse_expression == config.onsite_rse && rule.copies == 1
}

/// How a rule that we rely on was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// As it was placed.
    Sound,
    /// Rucio's transfers for it have failed; it is tried again sooner if it is boosted.
    Stuck,
    /// Somebody has stopped it.
    Suspended,
    /// Somebody has given it an end.
    Ending,
    /// Somebody has removed it, or made it another account's.
    Gone,
}

impl Standing {
    /// Of a rule as Rucio tells it; `None`: Rucio does not have it.
    pub(super) fn of(config: &Config, rule: Option<&Rule>) -> Self {
        match rule {
            Some(rule) if !is_ours(config, rule) => Self::Gone,
            Some(rule) if rule.expires_at.is_some() => Self::Ending,
            Some(rule) if rule.state == RuleState::Suspended => Self::Suspended,
            Some(rule) if rule.state == RuleState::Stuck => Self::Stuck,
            Some(_) => Self::Sound,
            None => Self::Gone,
        }
    }

    /// Whether it holds nothing any more, or soon will not.
    pub(super) const fn is_ending(self) -> bool {
        matches!(self, Self::Ending | Self::Gone)
    }

    /// Asks Rucio.
    pub(super) async fn ask(context: &Context, rule: &str) -> Result<Self, StageError> {
        Ok(Self::of(&context.config(), find(context, rule).await?.as_ref()))
    }

    /// The word for it in logs and metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Stuck => "stuck",
            Self::Suspended => "suspended",
            Self::Ending => "ending",
            Self::Gone => "gone",
        }
    }
}

/// Whether a rule is there and has no end, whosever it is.
pub(super) async fn stands(context: &Context, rule: &str) -> Result<bool, StageError> {
    Ok(find(context, rule).await?.is_some_and(|rule| rule.expires_at.is_none()))
}

pub(super) async fn find(context: &Context, rule: &str) -> Result<Option<Rule>, StageError> {
    match context.rucio.rule(rule).await {
        Ok(rule) => Ok(Some(rule)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
