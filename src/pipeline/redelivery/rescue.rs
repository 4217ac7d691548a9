//! Other content under the name of a file that Rucio is about to delete by that name: it is moved out of the way, into
//! `invalid/`, or it would be deleted with the old copy.
//!
//! Each step can be repeated after a stop: the announcement, the reason file, the move, the trigger.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::custody::invariants::{other_content_may_be_moved, trigger_of_moved_may_go};
use crate::custody::{Contents, FileIdentity};
use crate::datadir::{self, DataDir};
use crate::engine::set_aside::{numbered, reason_path};
use crate::engine::triggers::remove_trigger_of;
use crate::engine::{Context, Effect, StageError, announce, blocking};
use crate::ledger::{FileRow, Redelivery};
use crate::names::Lfn;

/// Where the content is to lie.
enum Place {
    /// Nothing but perhaps its own reason is there.
    Free(PathBuf),
    /// It lies there already: a stop came between the move and the end.
    Taken(PathBuf),
}

/// Saves what was delivered, with the content that was just read.
pub(super) async fn from_deletion(
    context: &Context,
    redelivery: &Redelivery,
    delivered: &Contents,
    why: &str,
) -> Result<(), StageError> {
    let row = &redelivery.row;
    let (data, name, found) = (context.data.clone(), row.name()?, redelivery.identity);
    let reason = json!({
        "lfn": row.lfn,
        "delivered": found,
        "reasons": [{"code": "other-content", "message": why}],
        "what_to_do": "the LFN belongs to a file with other content, which has its copies off site; \
                       if this content is wanted, deliver it under a name of its own",
    });
    let (looked_at, planned, ours) = (data.clone(), name.invalid_path(), reason.clone());
    let place = match blocking(move || place(&looked_at, &planned, found, &ours)).await? {
        Place::Free(place) | Place::Taken(place) => place,
    };
    let Some(on_record) = context.ledger.unmoved(row).await? else { return Ok(()) };
    if let Err(violation) = other_content_may_be_moved(on_record.state, &row.contents()?, delivered, &place) {
        return context.stop(row, &violation).await;
    }
    let verdict = json!({ "moved_to": place, "reasons": reason["reasons"] });
    announce(context, row, Effect { name: "set-aside", identity: found, because: ("verdict", verdict) }).await?;
    let moved_to = place.clone();
    blocking(move || move_away(&data, &name, &place, found, &reason)).await?;
    if trigger_goes(context, row, moved_to.clone(), found).await? {
        report(row, &moved_to);
    }
    Ok(())
}

/// Finishes what a stop interrupted after the move. `false`: what was delivered lies in none of its places.
pub(super) async fn finish(context: &Context, redelivery: &Redelivery) -> Result<bool, StageError> {
    let (data, name, found) = (context.data.clone(), redelivery.row.name()?, redelivery.identity);
    let moved_to = blocking(move || {
        let Place::Taken(place) = place(&data, &name.invalid_path(), found, &Value::Null)? else { return Ok(None) };
        Ok::<_, datadir::Error>(Some(place))
    })
    .await?;
    let Some(place) = moved_to else { return Ok(false) };
    if trigger_goes(context, &redelivery.row, place.clone(), found).await? {
        report(&redelivery.row, &place);
    }
    Ok(true)
}

/// The trigger goes last, when the disk says that it announces nothing any more. `false`: it stays, and the file is held.
async fn trigger_goes(
    context: &Context,
    row: &FileRow,
    place: PathBuf,
    found: FileIdentity,
) -> Result<bool, StageError> {
    let (data, name) = (context.data.clone(), row.name()?);
    let (looked_at, path) = (data.clone(), name.relative().to_owned());
    let (set_aside, still_in_place) = blocking(move || {
        let lies = |path: &Path| Ok(looked_at.stat(path)?.is_some_and(|stat| datadir::identity(&stat) == found));
        Ok::<_, datadir::Error>((lies(&place)?, lies(&path)?))
    })
    .await?;
    if let Err(violation) = trigger_of_moved_may_go(set_aside, still_in_place) {
        return context.stop(row, &violation).await.map(|()| false);
    }
    blocking(move || remove_trigger_of(&data, &name, found)).await?;
    Ok(true)
}

fn report(row: &FileRow, place: &Path) {
    let moved_to = place.display();
    tracing::error!(lfn = row.lfn, %moved_to, "other content came under a name that is being released; it is set aside");
}

fn move_away(
    data: &DataDir,
    name: &Lfn,
    place: &Path,
    found: FileIdentity,
    reason: &Value,
) -> Result<(), datadir::Error> {
    match data.write_new(&reason_path(place), format!("{reason:#}\n").as_bytes()) {
        Err(datadir::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    if data.identity(place)? == Some(found) {
        // a move by link and unlink may have been stopped half-way
        if data.identity(name.relative())? == Some(found) {
            data.remove_leftover(name.relative(), found)?;
        }
    } else {
        data.move_aside(name.relative(), place, found)?;
    }
    Ok(())
}

/// The place of this content: where it lies, or the first one that is free or has just its own reason.
fn place(data: &DataDir, planned: &Path, found: FileIdentity, reason: &Value) -> Result<Place, datadir::Error> {
    for candidate in numbered(planned) {
        match data.stat(&candidate)? {
            Some(stat) if datadir::identity(&stat) == found => return Ok(Place::Taken(candidate)),
            Some(_) => {}
            None if data.stat(&reason_path(&candidate))?.is_none() => return Ok(Place::Free(candidate)),
            None => {
                let (file, _) = data.open(&reason_path(&candidate))?;
                if serde_json::from_reader::<_, Value>(std::io::BufReader::new(file))
                    .is_ok_and(|there| there == *reason)
                {
                    return Ok(Place::Free(candidate));
                }
            }
        }
    }
    Ok(Place::Free(planned.to_owned()))
}
