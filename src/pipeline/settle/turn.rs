//! One step with one dataset: how it may end, and the settled rule placed.

use crate::custody::brakes::Brake;
use crate::custody::settling::{DatasetRule, Unsettled};
use crate::engine::{Context, StageError};
use crate::names::Did;
use crate::rules::settled;

/// What became of a turn with one dataset.
pub(super) enum Turn {
    /// No file has a rule of its own any more.
    Settled,
    /// Some have gone; the others are next, everything asked afresh.
    Going,
    /// Something moves in it again.
    Moved,
    /// The operator wants nothing given up now.
    Braked(Brake),
    /// It stays as it is.
    Stays(Unsettled),
}

/// Places the settled rule.
pub(super) async fn place(context: &Context, dataset: &Did, planned: &DatasetRule) -> Result<Turn, StageError> {
    let expression = planned.expression();
    if expression == context.config().offsite.expression {
        let why = format!("a rule on '{expression}' would be the same as that of the first copies");
        return Ok(Turn::Stays(Unsettled::other(why)));
    }
    if settled::order(context, dataset, planned).await? {
        return Ok(Turn::Going);
    }
    let why = format!("a rule of ours on '{expression}' is about to end; a permanent one follows when it is gone");
    Ok(Turn::Stays(Unsettled::other(why)))
}
