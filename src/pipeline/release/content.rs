//! Bytes that somebody wrote in place: size and modification time can be set back, the kernel's own time of the last change
//! cannot. Hard links, backups and changed permissions move that time as well; so the file is read again, and its content
//! decides.

use crate::custody::HoldCode;
use crate::custody::invariants::same_content;
use crate::datadir;
use crate::engine::{Context, StageError, blocking};
use crate::ledger::FileRow;
use crate::reading::{Reading, contents, read_once};

/// Whether the on-site file, whose identity is as verified, still has the content that was verified. If not, or if that
/// cannot be known now, what becomes of it is on record.
pub(super) async fn is_as_verified(context: &Context, row: &FileRow) -> Result<bool, StageError> {
    let (data, name, identity, options) =
        (context.data.clone(), row.name()?, row.identity(), context.reading_options());
    let known = row.changed_ns;
    let again = blocking(move || -> Result<_, datadir::Error> {
        let changed = data.changed_ns(name.relative())?;
        let is_known = changed.is_some() && changed == known;
        Ok((!is_known).then(|| (changed, read_once(&data, &name, identity, &options))))
    });
    let Some((changed, reading)) = again.await? else { return Ok(true) };
    match reading {
        Reading::Read(report) => {
            context.metrics.bytes_read(report.fixity.bytes);
            if let Err(violation) = same_content(&row.contents()?, &contents(&report)) {
                let reason =
                    format!("the on-site file was overwritten in place since it was verified: {}", violation.why);
                context.hold(row, HoldCode::Changed, &reason).await?;
                return Ok(false);
            }
            tracing::info!(
                lfn = row.lfn,
                "the on-site file was touched since it was verified; its content is the same"
            );
            context.ledger.read_again(row, changed).await?;
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
