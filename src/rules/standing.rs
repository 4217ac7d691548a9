//! How rules of ours stand in Rucio now.

use crate::config::Config;
use crate::custody::RuleStanding;
use crate::engine::{Context, StageError};
use rucio_client::{Kind, Rule, RuleState};

use super::ours::is_ours;

/// Of a rule as Rucio reports it; `None`: Rucio does not have it.
pub(crate) fn standing_of(config: &Config, rule: Option<&Rule>) -> RuleStanding {
    match rule {
        Some(rule) if !is_ours(config, rule) => RuleStanding::Gone,
        Some(rule) if rule.expires_at.is_some() => RuleStanding::Ending,
        Some(rule) if rule.state == RuleState::Suspended => RuleStanding::Suspended,
        Some(rule) if rule.state == RuleState::Stuck => RuleStanding::Stuck,
        Some(_) => RuleStanding::Sound,
        None => RuleStanding::Gone,
    }
}

/// Asks Rucio about one rule.
pub(crate) async fn standing(context: &Context, rule: &str) -> Result<RuleStanding, StageError> {
    Ok(standing_of(&context.config(), find(context, rule).await?.as_ref()))
}

/// Whether a rule is there and has no end, whosever it is.
pub(crate) async fn stands(context: &Context, rule: &str) -> Result<bool, StageError> {
    Ok(find(context, rule).await?.is_some_and(|rule| rule.expires_at.is_none()))
}

/// A rule by its id; `None`: Rucio does not have it.
pub(crate) async fn find(context: &Context, rule: &str) -> Result<Option<Rule>, StageError> {
    match context.rucio.rule(rule).await {
        Ok(rule) => Ok(Some(rule)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
