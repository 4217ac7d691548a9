//! The on-site file of a registered one: is it there, and has it still the content that was verified?
//!
//! Bytes can be written in place and the modification time set back; the kernel's own time of the last change cannot. On the
//! other hand files are touched, linked, restored from a backup, or copied back by Rucio, with the same content. So whatever
//! looks otherwise than it did is read again, and its content decides.

use std::time::Duration;

use crate::custody::invariants::same_content;
use crate::custody::{FileIdentity, HoldCode, OnSiteFile};
use crate::datadir;
use crate::ledger::{EndOfRule, FileRow};
use crate::reading::{Reading, contents, read_once};

use super::context::{Context, blocking};
use super::error::StageError;

/// Goes on (`true`) only if the registered file is on site, as far as it was looked at. If not, the matter is settled here:
/// the file is held, or its release turns out to be carried out, or somebody else has decided about it.
pub(crate) async fn hold_unless_on_site(
    context: &Context,
    row: &FileRow,
    found: OnSiteFile,
) -> Result<bool, StageError> {
    match found {
        OnSiteFile::There(_) => return Ok(true),
        OnSiteFile::DecidedElsewhere => {}
        OnSiteFile::GoneAsOrdered => {
            context.ledger.release_ordered(row, EndOfRule::Found).await?;
            context.wait(row, Duration::ZERO, "Rucio to delete the on-site copy").await?;
        }
        OnSiteFile::Vanished => {
            context.hold(row, HoldCode::Vanished, "the on-site file is gone although nobody released it").await?;
        }
        OnSiteFile::NoFile(what) => context.hold(row, HoldCode::Changed, &what).await?,
        OnSiteFile::Changed(there) => return is_as_verified(context, row, there).await,
    }
    Ok(false)
}

/// Whether the on-site file, found with this identity, still has the content that was verified; the ledger then has its new
/// identity. If not, or if that cannot be known now, what becomes of it is on record.
pub(crate) async fn is_as_verified(context: &Context, row: &FileRow, there: FileIdentity) -> Result<bool, StageError> {
    let (data, name, options) = (context.data.clone(), row.name()?, context.reading_options());
    let (known, expected) = (row.changed_ns, row.identity());
    let again = blocking(move || -> Result<_, datadir::Error> {
        let changed = data.changed_ns(name.relative())?;
        let is_known = there == expected && changed.is_some() && changed == known;
        Ok((!is_known).then(|| (changed, read_once(&data, &name, there, &options))))
    });
    let Some((changed, reading)) = again.await? else { return Ok(true) };
    match reading {
        Reading::Read(report) => {
            context.metrics.bytes_read(report.fixity.bytes);
            if let Err(violation) = same_content(&row.contents()?, &contents(&report)) {
                let how = if there == expected {
                    "was overwritten in place since it was verified"
                } else {
                    "is not the one that was verified"
                };
                let reason = format!("the on-site file {how}: {}", violation.why);
                context.hold(row, HoldCode::Changed, &reason).await?;
                return Ok(false);
            }
            tracing::info!(
                lfn = row.lfn,
                "the on-site file was touched since it was verified; its content is the same"
            );
            context.ledger.read_again(row, there, changed).await?;
            Ok(true)
        }
        // the next look sees it
        Reading::Changed(_) | Reading::Missing => {
            context.wait(row, context.config().confirm.poll, "another look at the on-site file").await?;
            Ok(false)
        }
        Reading::Failed(reason) => Err(StageError::Wait(reason)),
        Reading::Cancelled => Ok(false),
    }
}
