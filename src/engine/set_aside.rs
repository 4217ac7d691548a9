//! Setting a bad file aside: into `invalid/`, with its reason beside it, replacing nothing.
//!
//! The order makes every step safe to repeat: durable intent, reason file, move, trigger, ledger.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::custody::FileIdentity;
use crate::custody::invariants::{file_may_be_set_aside, trigger_of_rejected_may_go};
use crate::datadir::{self, DataDir};
use crate::fixity::Report;
use crate::ledger::{FileRow, Sentence, now};
use crate::names::Lfn;

use super::triggers::remove_trigger_of;
use super::{Context, Effect, STILL_WRITING, StageError, announce, blocking};

/// Rejects a file for these reasons.
pub(crate) async fn reject(context: &Context, row: &FileRow, report: &Report) -> Result<(), StageError> {
    let name = row.name()?;
    let (data, planned) = (context.data.clone(), name.invalid_path());
    let destination = blocking(move || free_destination(&data, &planned)).await?;
    let words = report.reasons.iter().map(|r| r.message.as_str()).collect::<Vec<_>>().join("; ");
    let sentence = Sentence {
        code: report.reasons.first().map_or("unknown", |reason| reason.code).to_owned(),
        reason: words,
        invalid_path: destination.to_string_lossy().into_owned(),
    };
    if !context.ledger.rejecting(row, &sentence).await? {
        return Ok(());
    }
    let reason_file = json!({
        "lfn": row.lfn,
        "rejected_at": crate::ledger::iso(now()),
        "delivered_at": crate::ledger::iso(row.discovered_at),
        "bytes": report.fixity.bytes,
        "adler32": report.fixity.adler32_hex(),
        "crc32c": report.fixity.crc32c_hex(),
        "blake3": report.fixity.blake3_hex(),
        "reasons": report.reasons,
        "warnings": report.warnings,
        "what_to_do": "mend the cause, then deliver the file again under its name with a new trigger; \
                       this copy is kept until somebody removes it",
    });
    let mut sentenced = row.clone();
    sentenced.reason_code = Some(sentence.code);
    sentenced.reason = Some(sentence.reason);
    sentenced.invalid_path = Some(sentence.invalid_path);
    carry_out(context, &sentenced, &reason_file).await
}

/// Finishes what a stop interrupted.
pub(crate) async fn resume(context: &Context, row: &FileRow) -> Result<(), StageError> {
    let row = &elsewhere_if_taken(context, row).await?;
    let reason_file = json!({
        "lfn": row.lfn,
        "rejected_at": crate::ledger::iso(now()),
        "delivered_at": crate::ledger::iso(row.discovered_at),
        "bytes": row.bytes,
        "reasons": [{"code": row.reason_code, "message": row.reason}],
        "what_to_do": "mend the cause, then deliver the file again under its name with a new trigger; \
                       this copy is kept until somebody removes it",
    });
    carry_out(context, row, &reason_file).await
}

/// Chooses another place if a stranger's file has come to lie where this one was to go.
async fn elsewhere_if_taken(context: &Context, row: &FileRow) -> Result<FileRow, StageError> {
    let planned = PathBuf::from(row.invalid_path.clone().unwrap_or_default());
    let (data, place, identity) = (context.data.clone(), planned.clone(), row.identity());
    let stranger = blocking(move || data.stat(&place)).await?.is_some_and(|stat| datadir::identity(&stat) != identity);
    if !stranger {
        return Ok(row.clone());
    }
    let data = context.data.clone();
    let free = blocking(move || free_destination(&data, &planned)).await?.to_string_lossy().into_owned();
    let sentence = Sentence {
        code: row.reason_code.clone().unwrap_or_default(),
        reason: row.reason.clone().unwrap_or_default(),
        invalid_path: free.clone(),
    };
    context.ledger.rejecting(row, &sentence).await?;
    Ok(FileRow { invalid_path: Some(free), ..row.clone() })
}

async fn carry_out(context: &Context, row: &FileRow, reason_file: &Value) -> Result<(), StageError> {
    let name = row.name()?;
    let verdict = json!({ "moved_to": row.invalid_path, "findings": reason_file });
    announce(context, row, Effect { name: "set-aside", identity: row.identity(), because: ("verdict", verdict) })
        .await?;
    let text = format!("{reason_file:#}\n");
    let destination = PathBuf::from(row.invalid_path.clone().unwrap_or_default());
    let Some(on_record) = context.ledger.unmoved(row).await? else {
        // delivered anew, or held by an operator: the sentence is void
        return Ok(());
    };
    if let Err(violation) = file_may_be_set_aside(&on_record.decision(), &destination) {
        return context.stop(row, &violation).await;
    }
    let (data, identity) = (context.data.clone(), row.identity());
    let moved = {
        let name = name.clone();
        blocking(move || move_with_reason(&data, &name, &destination, identity, &text)).await
    };
    match moved {
        Ok(Outcome::Aside) => {}
        Ok(Outcome::Replaced(found)) => {
            // what was judged is gone without our doing, and another file has come in its place
            let why = "it was replaced while it was being set aside";
            context.ledger.rediscovered(row, found, why, STILL_WRITING).await?;
            return Ok(());
        }
        Ok(Outcome::Vanished) => {
            tracing::error!(lfn = row.lfn, "a rejected file vanished before it could be set aside");
            context.ledger.remark(row, "vanished", "the rejected file was removed by somebody else").await?;
        }
        Err(error) => return Err(error.into()),
    }
    let data = context.data.clone();
    let still_in_place = {
        let (data, path) = (data.clone(), name.relative().to_owned());
        blocking(move || data.identity(&path)).await? == Some(identity)
    };
    if let Err(violation) = trigger_of_rejected_may_go(&on_record.decision(), still_in_place) {
        return context.stop(row, &violation).await;
    }
    blocking(move || remove_trigger_of(&data, &name, identity)).await?;
    context.ledger.rejected(row).await?;
    tracing::error!(
        lfn = row.lfn,
        code = row.reason_code,
        moved_to = row.invalid_path,
        "file rejected: {}",
        row.reason.as_deref().unwrap_or_default()
    );
    Ok(())
}

enum Outcome {
    /// It lies where it was sentenced to.
    Aside,
    /// Another file is in its place now.
    Replaced(FileIdentity),
    /// It is nowhere.
    Vanished,
}

fn move_with_reason(
    data: &DataDir,
    name: &Lfn,
    destination: &Path,
    identity: FileIdentity,
    reason_file: &str,
) -> Result<Outcome, datadir::Error> {
    if data.identity(destination)? == Some(identity) {
        // a move by link and unlink may have been stopped half-way
        if data.identity(name.relative())? == Some(identity) {
            data.remove_leftover(name.relative(), identity)?;
        }
        return Ok(Outcome::Aside);
    }
    match data.identity(name.relative())? {
        Some(found) if found == identity => {}
        Some(found) => return Ok(Outcome::Replaced(found)),
        None => return Ok(Outcome::Vanished),
    }
    match data.write_new(&reason_path(destination), reason_file.as_bytes()) {
        Err(datadir::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    data.move_aside(name.relative(), destination, identity)?;
    Ok(Outcome::Aside)
}

/// A place in `invalid/` that is free, and so is the name of its reason file.
fn free_destination(data: &DataDir, planned: &Path) -> Result<PathBuf, datadir::Error> {
    for candidate in numbered(planned) {
        if data.stat(&candidate)?.is_none() && data.stat(&reason_path(&candidate))?.is_none() {
            return Ok(candidate);
        }
    }
    Ok(planned.to_owned())
}

/// `planned`, `planned.2`, `planned.3`, …
pub(crate) fn numbered(planned: &Path) -> impl Iterator<Item = PathBuf> {
    let further = (2_u32..).map(|number| {
        let mut name = planned.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    });
    std::iter::once(planned.to_owned()).chain(further)
}

/// The reason of a rejected file, beside it.
pub(crate) fn reason_path(destination: &Path) -> PathBuf {
    let mut path = destination.as_os_str().to_owned();
    path.push(".reason.json");
    PathBuf::from(path)
}
