//! Whether two doors lead to one storage: a file that is behind one of them, and by Rucio's word not behind the other, is
//! asked for there.
//!
//! Nothing is written for it. A file that is not found proves that the two are told apart at that moment. One that is found,
//! with its size, twice, while Rucio knows of no replica there, is the same file seen through another door (or was left there
//! by somebody, which makes its next copy no copy either).

use crate::config::StorageCheck;
use crate::engine::{Context, StageError};
use crate::ledger::FileRow;
use crate::storage;
use rucio_client::{ReplicaQuery, ReplicaState};

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Witness {
    /// It is not there.
    Apart,
    /// It is.
    Same,
    /// Somebody did not answer, or the file is no witness any more.
    Unknown,
}

/// Asks at `other` for a file that is at `here`.
pub(crate) async fn witness(context: &Context, row: &FileRow, here: &str, other: &str) -> Result<Witness, StageError> {
    if context.config().offsite.storage_check_of(other) == StorageCheck::Off {
        return Ok(Witness::Unknown);
    }
    let Some(url) = context.memory.doors.url(other, &row.lfn) else { return Ok(Witness::Unknown) };
    for _ in 0..2 {
        if !is_only_here(context, row, here, other).await? {
            return Ok(Witness::Unknown);
        }
        match context.storage.examine(&url, &[]).await {
            Err(storage::Error::NotFound { .. }) => return Ok(Witness::Apart),
            // a door that sends on may send to whoever has the file
            Ok(found) if found.bytes == row.bytes && found.led_to.is_none() => {}
            Ok(_) | Err(_) => return Ok(Witness::Unknown),
        }
    }
    // a transfer may have begun in between
    let only_here = is_only_here(context, row, here, other).await?;
    Ok(if only_here { Witness::Same } else { Witness::Unknown })
}

/// Whether Rucio has the file at one of them, and nothing of it at the other. A file on site need not be registered yet.
async fn is_only_here(context: &Context, row: &FileRow, here: &str, other: &str) -> Result<bool, StageError> {
    let did = row.did();
    let query = ReplicaQuery { dids: std::slice::from_ref(&did), rse_expression: None, all_states: true, schemes: &[] };
    let listed = context.rucio.replicas(&query).await?;
    let on_site = here == context.config().onsite_rse;
    let Some(states) = listed.first().map(|listing| &listing.states) else { return Ok(on_site) };
    if on_site {
        return Ok(!states.contains_key(other));
    }
    Ok(states.get(here) == Some(&ReplicaState::Available) && !states.contains_key(other))
}
