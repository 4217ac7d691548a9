//! What lies on site under the name of a registered file.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::custody::{FileIdentity, OnSiteFile, State, in_millis};
use crate::datadir;
use crate::engine::triggers::trigger_path;
use crate::engine::{Context, OVERDUE, StageError, blocking};
use crate::ledger::{FileRow, now};
use crate::rules::on_site::{OnSiteRule, what_became};

/// What the disk says.
pub(crate) async fn on_disk(context: &Context, row: &FileRow) -> Result<Option<FileIdentity>, datadir::Error> {
    let (data, path) = (context.data.clone(), PathBuf::from(row.lfn.trim_start_matches('/')));
    blocking(move || data.identity(&path)).await
}

/// How long ago what lies under the file's name was last written, renamed or linked. The kernel keeps that time, and no
/// program sets it. Zero when there is nothing, or when the clock was set back since.
pub(crate) async fn unchanged_for(context: &Context, row: &FileRow) -> Result<Duration, datadir::Error> {
    let (data, path) = (context.data.clone(), PathBuf::from(row.lfn.trim_start_matches('/')));
    let Some(changed) = blocking(move || data.changed_ns(&path)).await? else { return Ok(Duration::ZERO) };
    let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(changed / 1_000_000_000).unwrap_or(0));
    Ok(SystemTime::now().duration_since(changed).unwrap_or_default())
}

/// What lies there now; if nothing, whether that is our doing.
pub(crate) async fn on_site(context: &Context, row: &FileRow) -> Result<OnSiteFile, StageError> {
    match on_disk(context, row).await {
        Ok(Some(found)) => Ok(OnSiteFile::There(found)),
        // Rucio has carried out what was asked before a stop or a time-out, after it was asked whether it had
        Ok(None) if row.state == State::Releasing => Ok(match what_became(context, row).await? {
            OnSiteRule::GivenUp => OnSiteFile::GoneAsOrdered,
            OnSiteRule::Moved => OnSiteFile::DecidedElsewhere,
            OnSiteRule::Stands | OnSiteRule::EndedByOthers => OnSiteFile::Vanished,
        }),
        Ok(None) => Ok(OnSiteFile::Vanished),
        Err(error @ (datadir::Error::Symlink { .. } | datadir::Error::NotAFile { .. })) => {
            Ok(OnSiteFile::NoFile(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a file whose copies are overdue is still as it was registered. If not, no copy of it can be made any more from
/// here.
pub(crate) async fn as_registered(context: &Context, row: &FileRow) -> Result<OnSiteFile, StageError> {
    if now() - row.state_since < in_millis(OVERDUE) {
        return Ok(OnSiteFile::There(row.identity()));
    }
    match on_site(context, row).await? {
        // a second delivery is compared, and held by that if it differs
        OnSiteFile::There(found) if found != row.identity() && !delivered_again(context, row).await? => {
            Ok(OnSiteFile::Changed(found))
        }
        found => Ok(found),
    }
}

/// Whether another delivery of the file is announced: recorded already, or its trigger lies there to be seen.
pub(crate) async fn delivered_again(context: &Context, row: &FileRow) -> Result<bool, StageError> {
    if context.ledger.is_redelivered(row).await? {
        return Ok(true);
    }
    let (data, trigger) = (context.data.clone(), trigger_path(&row.name()?));
    Ok(blocking(move || data.stat(&trigger)).await?.is_some())
}
