//! Ending a rule that holds nothing which another rule of ours does not hold too.

use crate::engine::{Context, StageError};
use rucio_client::Kind;

/// Ends a rule and no copy, while `holds`.
pub(crate) async fn retire(
    context: &Context,
    rule: &str,
    holds: impl Fn() -> bool + Send + Sync + 'static,
) -> Result<(), StageError> {
    match context.rucio.retire_rule(rule, holds).await {
        // ended by somebody else, or by us before a stop
        Err(error) if error.kind() != Kind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
