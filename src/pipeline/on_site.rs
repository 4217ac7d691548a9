//! What became of a registered file on site, and of the rule that protects it there.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::custody::{FileIdentity, HoldCode, State, in_millis};
use crate::datadir;
use crate::ledger::{EndOfRule, FileRow, now};

use super::our_rules::find;
use super::set_aside::trigger_path;
use super::{Context, StageError, blocking};

/// After this long without its copies, a file's rule and the file itself are looked at: somebody may have removed either.
pub(super) const DOUBTFUL: Duration = Duration::from_mins(5);

/// What the disk says.
pub(super) async fn on_disk(context: &Context, row: &FileRow) -> Result<Option<FileIdentity>, datadir::Error> {
    let (data, path) = (context.data.clone(), PathBuf::from(row.lfn.trim_start_matches('/')));
    blocking(move || data.identity(&path)).await
}

/// How long ago what lies under the file's name was last written, renamed or linked. The kernel keeps that time, and no
/// program sets it. Zero when there is nothing, or when the clock was set back since.
pub(super) async fn unchanged_for(context: &Context, row: &FileRow) -> Result<Duration, datadir::Error> {
    let (data, path) = (context.data.clone(), PathBuf::from(row.lfn.trim_start_matches('/')));
    let Some(stat) = blocking(move || data.stat(&path)).await? else { return Ok(Duration::ZERO) };
    let seconds = u64::try_from(stat.st_ctime).unwrap_or(0);
    let changed = UNIX_EPOCH + Duration::from_secs(seconds);
    Ok(SystemTime::now().duration_since(changed).unwrap_or_default())
}

/// What lies on site under the file's name; `None` when there is no file and the matter is settled: held, given up by a
/// request that came late, or decided by somebody else.
pub(super) async fn on_site(context: &Context, row: &FileRow) -> Result<Option<FileIdentity>, StageError> {
    match on_disk(context, row).await {
        Ok(Some(found)) => Ok(Some(found)),
        // Rucio has carried out what was asked before a stop or a time-out, after it was asked whether it had
        Ok(None) if row.state == State::Releasing => match on_site_rule(context, row).await? {
            OnSiteRule::GivenUp => {
                context.ledger.release_ordered(row, EndOfRule::Found).await?;
                context.wait(row, Duration::ZERO, "Rucio to delete the on-site copy").await.map(|()| None)
            }
            OnSiteRule::Moved => Ok(None),
            OnSiteRule::Stands | OnSiteRule::EndedByOthers => vanished(context, row).await.map(|()| None),
        },
        Ok(None) => vanished(context, row).await.map(|()| None),
        Err(error @ (datadir::Error::Symlink { .. } | datadir::Error::NotAFile { .. })) => {
            context.hold(row, HoldCode::Changed, &error.to_string()).await.map(|()| None)
        }
        Err(error) => Err(error.into()),
    }
}

async fn vanished(context: &Context, row: &FileRow) -> Result<(), StageError> {
    context.hold(row, HoldCode::Vanished, "the on-site file is gone although nobody released it").await
}

/// Whether a file whose copies are overdue is still as it was registered. If not, no copy of it can be made any more from
/// here, and it is held.
pub(super) async fn can_still_be_copied(context: &Context, row: &FileRow) -> Result<bool, StageError> {
    if now() - row.state_since < in_millis(DOUBTFUL) {
        return Ok(true);
    }
    let Some(found) = on_site(context, row).await? else { return Ok(false) };
    // a second delivery is compared, and held by that if it differs
    if found == row.identity() || delivered_again(context, row).await? {
        return Ok(true);
    }
    let reason = format!(
        "the on-site file changed after it was registered, before it had its copies: {:?} then, {found:?} now",
        row.identity()
    );
    context.hold(row, HoldCode::Changed, &reason).await.map(|()| false)
}

/// Whether another delivery of the file is announced: recorded already, or its trigger lies there to be seen.
pub(super) async fn delivered_again(context: &Context, row: &FileRow) -> Result<bool, StageError> {
    if context.ledger.is_redelivered(row).await? {
        return Ok(true);
    }
    let (data, trigger) = (context.data.clone(), trigger_path(&row.name()?));
    Ok(blocking(move || data.stat(&trigger)).await?.is_some())
}

/// What became in Rucio of rule C of a file whose release is decided and not on record as ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnSiteRule {
    /// It has no end, or there is none on record.
    Stands,
    /// We have ended it, and a stop or a time-out came before that was on record.
    GivenUp,
    /// Somebody else has ended it, or given it an end.
    EndedByOthers,
    /// The file or its rule is not what it was when the question was asked: the answer is about nothing.
    Moved,
}

/// Asks Rucio, and then the ledger, since `row` may be older than the announcement. We end a rule at once, and never before
/// that is announced.
pub(super) async fn on_site_rule(context: &Context, row: &FileRow) -> Result<OnSiteRule, StageError> {
    let Some(rule) = &row.on_site_rule else { return Ok(OnSiteRule::Stands) };
    let found = find(context, rule).await?;
    let on_record = context.ledger.unmoved(row).await?.filter(|on_record| on_record.on_site_rule == row.on_site_rule);
    let Some(on_record) = on_record else { return Ok(OnSiteRule::Moved) };
    Ok(match found {
        Some(rule) if rule.expires_at.is_none() => OnSiteRule::Stands,
        Some(rule) if rule.ends_later() => OnSiteRule::EndedByOthers,
        _ if on_record.release_announced_at.is_some() => OnSiteRule::GivenUp,
        _ => OnSiteRule::EndedByOthers,
    })
}
