//! Triggers that have done their work go, each only while it announces the file that is dealt with (I1).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::custody::FileIdentity;
use crate::custody::invariants::trigger_may_go;
use crate::datadir::{self, DataDir};
use crate::ledger::FileRow;
use crate::names::{Lfn, TRIGGER_SUFFIX};

use super::{Context, StageError, blocking};

/// Triggers removed in one go by the housekeeping.
const LEFT_TRIGGERS: i64 = 500;

/// The trigger of a file, relative to the data root.
pub(crate) fn trigger_path(name: &Lfn) -> PathBuf {
    let mut path = name.relative().as_os_str().to_owned();
    path.push(TRIGGER_SUFFIX);
    PathBuf::from(path)
}

/// Removes the trigger, unless a new delivery has come in between and the trigger is its.
pub(crate) fn remove_trigger_of(data: &DataDir, name: &Lfn, rejected: FileIdentity) -> Result<(), datadir::Error> {
    match data.stat(name.relative())? {
        Some(stat) if datadir::identity(&stat) != rejected => Ok(()),
        _ => {
            data.remove_trigger(&trigger_path(name))?;
            data.sync_beside(name.relative())
        }
    }
}

/// Removes the triggers that a stop or a second delivery left behind.
pub(crate) async fn remove_left_triggers(context: &Context) -> Result<(), StageError> {
    let left = context.ledger.triggers_to_remove(LEFT_TRIGGERS).await?;
    remove_triggers(context, left).await
}

/// Removes the triggers of registered files (I1), each only while its file is the one that was registered.
pub(crate) async fn remove_triggers(context: &Context, rows: Vec<FileRow>) -> Result<(), StageError> {
    let mut allowed = Vec::with_capacity(rows.len());
    for row in rows {
        match trigger_may_go(row.state, row.on_site_rule.as_deref()) {
            Ok(()) => allowed.push(row),
            Err(violation) => {
                tracing::error!(lfn = row.lfn, "{violation}; its trigger stays");
                context.trip(Some(&row.lfn), &violation).await?;
            }
        }
    }
    if allowed.is_empty() {
        return Ok(());
    }
    let data = context.data.clone();
    let removed = blocking(move || remove_from_disk(&data, &allowed)).await;
    let mut gone = Vec::with_capacity(removed.len());
    let mut failed = Vec::new();
    for (id, lfn, result) in removed {
        match result {
            Ok(true) => gone.push(id),
            Ok(false) => {
                tracing::debug!(lfn, "the file on site is not the one registered; its trigger is judged again");
            }
            Err(error) => failed.push(error),
        }
    }
    context.ledger.triggers_gone(&gone).await?;
    match failed.first() {
        None => Ok(()),
        Some(error) => Err(StageError::Wait(format!(
            "triggers of {} registered files cannot be removed, the first because: {error}",
            failed.len()
        ))),
    }
}

fn remove_from_disk(data: &DataDir, rows: &[FileRow]) -> Vec<(i64, String, Result<bool, datadir::Error>)> {
    let remove = |row: &FileRow| {
        let Ok(name) = row.name() else { return Ok(false) };
        match data.stat(name.relative())? {
            // a file that is gone already was released; its trigger announces nothing
            Some(stat) if datadir::identity(&stat) != row.identity() => Ok(false),
            _ => data.remove_trigger(&trigger_path(&name)).map(|()| true),
        }
    };
    let mut removed: Vec<_> = rows.iter().map(|row| (row.id, row.lfn.clone(), remove(row))).collect();
    // once for each directory, or the first error of each file there
    let mut synced = BTreeSet::new();
    for (_, lfn, result) in &mut removed {
        let path = Path::new(lfn.trim_start_matches('/'));
        if matches!(result, Ok(true)) && !synced.contains(&path.parent()) {
            match data.sync_beside(path) {
                Ok(()) => drop(synced.insert(path.parent())),
                Err(error) => *result = Err(error),
            }
        }
    }
    removed
}
