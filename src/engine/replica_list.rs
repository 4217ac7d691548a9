//! Rucio's lists of replicas are not always true.

use crate::names::Did;
use rucio_client::Kind;

use super::{Context, StageError};

/// What a file waits for when Rucio contradicts itself.
pub(crate) const UNTRUE_LIST: &str = "a true answer from Rucio: its list of replicas left out a file that it has";

/// Whether Rucio has a file that it left out of a list of replicas. It lists each file that it has, also without a copy, so
/// that only a list that is not true leaves out one that it has.
pub(crate) async fn is_known(context: &Context, did: &Did) -> Result<bool, StageError> {
    match context.rucio.did(did).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == Kind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}
