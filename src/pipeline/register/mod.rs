//! Verified → Registered: replica, attachment and metadata in one call a batch, then the protecting rule, then the
//! triggers go.

mod collections;
mod obstacles;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::apart;
use crate::config::Config;
use crate::custody::invariants::{AfterFailure, failure_is_met_rightly};
use crate::custody::{HoldCode, State};
use crate::datadir;
use crate::engine::triggers::remove_triggers;
use crate::engine::{Context, Halves, STILL_WRITING, Stage, StageError, after_failures, blocking};
use crate::ledger::{FileRow, Postpone, Registration};
use crate::names::Did;
use crate::rules::{first_copy, on_site};
use collections::Ensured;
use rucio_client::{Adler32, Attachment, Child, Kind, NotAdler32, ReplicaListing, ReplicaQuery, ReplicaState};

/// Registers files.
pub struct Register;

/// Prefix of the metadata keys that are ours and not the product model's.
pub const OUR_PREFIX: &str = "dl0_ingest__";

impl Stage for Register {
    const NAME: &'static str = "register";
    const STATE: State = State::Verified;
    const NEEDS_RUCIO: bool = true;

    fn batch(&self, config: &Config) -> usize {
        config.register.batch
    }

    fn parallel(&self, config: &Config) -> usize {
        config.register.parallel
    }

    fn gather(&self, config: &Config) -> Duration {
        config.register.gather
    }

    async fn work(&self, context: &Context, rows: Vec<FileRow>) -> Result<(), StageError> {
        on_site::may_be_registered(context).await?;
        let rows = still_as_verified(context, rows).await?;
        let (rows, old) = compare_with_rucio(context, rows).await?;
        let new: Vec<FileRow> = rows.iter().filter(|row| !old.contains_key(&row.did())).take(1).cloned().collect();
        apart::tell_from_the_site(context, &new).await;
        if rows.is_empty() {
            return Ok(());
        }
        let Ensured { rows, new_datasets } = collections::ensure(context, rows).await?;
        first_copy::order_early(context, &new_datasets).await;
        let rows = attach(context, rows, &old).await?;
        complete_metadata(context, rows.iter().filter(|row| old.contains_key(&row.did()))).await?;
        let mut registrations = Vec::with_capacity(rows.len());
        for (row, rule) in on_site::order(context, rows).await? {
            if let Some(on_site_rule) = rule {
                registrations.push(Registration { row, on_site_rule });
            } else {
                let why = "the end of the rule that held an earlier on-site copy";
                context.wait(&row, on_site::ENDING, why).await?;
            }
        }
        // no copy can be there yet, and a look would take from the backlog that is being registered
        let first_look = context.config().replicate.poll;
        let moved = context.ledger.registered(&registrations, first_look).await?;
        let moved: BTreeSet<i64> = moved.into_iter().collect();
        for Registration { row, on_site_rule } in registrations.iter().filter(|one| moved.contains(&one.row.id)) {
            if let Some(earlier) = row.on_site_rule.as_ref().filter(|earlier| *earlier != on_site_rule) {
                on_site::end_beside(context, earlier).await?;
            }
        }
        let registered: Vec<FileRow> = registrations
            .into_iter()
            .filter(|registration| moved.contains(&registration.row.id))
            .map(|registration| FileRow {
                state: State::Registered,
                on_site_rule: Some(registration.on_site_rule),
                ..registration.row
            })
            .collect();
        context.wake(State::Registered);
        for row in &registered {
            tracing::info!(lfn = row.lfn, scope = row.scope, rse = context.config().onsite_rse, "file registered");
        }
        remove_triggers(context, registered).await
    }
}

/// Keeps the files that are on disk as they were verified; the others are verified anew or held.
async fn still_as_verified(context: &Context, rows: Vec<FileRow>) -> Result<Vec<FileRow>, StageError> {
    let data = context.data.clone();
    let looked: Vec<(FileRow, Result<_, datadir::Error>)> = blocking(move || {
        let look = |row: FileRow| {
            let path = std::path::Path::new(row.lfn.trim_start_matches('/'));
            // both from one look
            let found = data.stat(path).and_then(|stat| {
                let both = |stat| Ok((datadir::regular(path, &stat)?, datadir::changed_ns(&stat)));
                stat.map(both).transpose()
            });
            (row, found)
        };
        rows.into_iter().map(look).collect()
    })
    .await;
    let mut same = Vec::with_capacity(looked.len());
    for (row, found) in looked {
        match found {
            // one that was not read since its delivery is read before its on-site copy goes
            Ok(Some((found, changed)))
                if found == row.identity() && row.changed_ns.is_none_or(|known| known == changed) =>
            {
                same.push(row);
            }
            Ok(Some((found, _))) => {
                tracing::warn!(lfn = row.lfn, "file changed after it was verified, reading it again");
                let why = "it changed on disk before it was registered";
                context.ledger.rediscovered(&row, found, why, STILL_WRITING).await?;
            }
            Ok(None) => {
                let delay = after_failures(&context.config().retry, row.attempts);
                let waits_for = "its data file is gone; it goes on when it comes back".to_owned();
                let is_news = row.waits_for.as_deref() != Some(&waits_for);
                if is_news && context.memory.troubles.is_first("the data file is gone", &row.lfn) {
                    tracing::error!(lfn = row.lfn, stage = Register::NAME, "{waits_for}");
                }
                context.ledger.postpone(&[Postpone { id: row.id, delay, waits_for, failed: true }]).await?;
            }
            Err(error @ (datadir::Error::Symlink { .. } | datadir::Error::NotAFile { .. })) => {
                context.hold(&row, HoldCode::Changed, &error.to_string()).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(same)
}

/// What Rucio had before, with the adler32 as it is written there.
type Old = BTreeMap<Did, Option<Adler32>>;

/// Compares with what Rucio has already under these names, and returns those that it had.
/// Other content is held (I7); what Rucio is still deleting waits, because registering it again would do nothing.
async fn compare_with_rucio(context: &Context, rows: Vec<FileRow>) -> Result<(Vec<FileRow>, Old), StageError> {
    if rows.is_empty() {
        return Ok((rows, Old::new()));
    }
    let on_site = context.config().onsite_rse.clone();
    let dids: Vec<Did> = rows.iter().map(FileRow::did).collect();
    let query = ReplicaQuery { dids: &dids, rse_expression: None, all_states: true, schemes: &[] };
    let known: HashMap<Did, ReplicaListing> =
        context.rucio.replicas(&query).await?.into_iter().map(|listing| (listing.did.clone(), listing)).collect();
    let mut good = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(listing) = known.get(&row.did()) else {
            good.push(row);
            continue;
        };
        let contents = row.contents()?;
        if listing.bytes != contents.bytes
            || listing.adler32.as_ref().is_some_and(|theirs| *theirs != *contents.adler32)
        {
            let reason = format!(
                "Rucio has this LFN with other content: {} bytes, adler32 {}; the file on site has {} bytes, adler32 {}",
                listing.bytes,
                listing.adler32.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string),
                contents.bytes,
                contents.adler32
            );
            context.hold(&row, HoldCode::OtherContent, &reason).await?;
            continue;
        }
        match listing.states.get(&on_site) {
            None | Some(ReplicaState::Available) => good.push(row),
            Some(ReplicaState::BeingDeleted) => {
                let waits_for = format!("Rucio is still deleting the earlier copy at {on_site}");
                context.wait(&row, Duration::from_secs(5), &waits_for).await?;
            }
            Some(state) => {
                let reason = format!("Rucio has a replica at {on_site} in state {state:?} for this file");
                context.hold(&row, HoldCode::ReplicaState, &reason).await?;
            }
        }
    }
    let old = known.into_iter().map(|(did, listing)| (did, listing.adler32)).collect();
    Ok((good, old))
}

/// Replica, attachment and metadata for all files in one call. If Rucio refuses the call for good, halves are tried until
/// the file it refuses stands alone; that one is held.
async fn attach(context: &Context, rows: Vec<FileRow>, old: &Old) -> Result<Vec<FileRow>, StageError> {
    let mut attached = Vec::with_capacity(rows.len());
    let mut parts = Halves::of(rows);
    while let Some(mut batch) = parts.next() {
        match context.rucio.attach(&attachments(context, &batch, old)?).await {
            Ok(()) => attached.append(&mut batch),
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Unsupported) => {
                let tried = batch.len();
                let left = collections::without_obstacles(context, batch, &error).await?;
                match error.kind() {
                    _ if left.len() < tried => parts.again(left),
                    Kind::Unsupported => refused(context, &mut parts, left, error).await?,
                    // it has them all and says that it lacks one: they are looked for once more
                    _ => return Err(collections::forgotten(context, collections::of(&left)?, &error).await?),
                }
            }
            Err(error) if !concerns_a_file(error.kind()) => return Err(error.into()),
            // servers before 38 refuse what is attached already, whatever they are asked to ignore
            Err(error)
                if error.kind() == Kind::AlreadyExists && batch.len() == 1 && is_attached(context, &batch).await? =>
            {
                attached.append(&mut batch);
            }
            Err(error) => refused(context, &mut parts, batch, error).await?,
        }
    }
    attached.sort_by_key(|row| row.id);
    Ok(attached)
}

/// Rucio refuses these files for good: halves are tried, and the one that stands alone is held.
async fn refused(
    context: &Context,
    parts: &mut Halves<FileRow>,
    batch: Vec<FileRow>,
    error: rucio_client::Error,
) -> Result<(), StageError> {
    if batch.len() > 1 {
        parts.split(batch);
        return Ok(());
    }
    if let Err(violation) = failure_is_met_rightly(error.is_transient(), AfterFailure::GivenUp) {
        context.trip(batch.first().map(|row| row.lfn.as_str()), &violation).await?;
        return Err(error.into());
    }
    for row in &batch {
        context.hold(row, HoldCode::RefusedByRucio, &error.to_string()).await?;
    }
    Ok(())
}

/// Whether all these files are in their datasets, with an on-site replica.
async fn is_attached(context: &Context, rows: &[FileRow]) -> Result<bool, StageError> {
    let on_site = context.config().onsite_rse.clone();
    for row in rows {
        let did = row.did();
        let query = ReplicaQuery {
            dids: std::slice::from_ref(&did),
            rse_expression: Some(&on_site),
            all_states: false,
            schemes: &[],
        };
        let listed = context.rucio.replicas(&query).await?;
        let there = listed.iter().any(|listing| listing.states.contains_key(&on_site));
        if !there || !context.rucio.content(&row.dataset_did()).await?.contains(&did) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a refusal may be about one file of the batch and not about all we do.
fn concerns_a_file(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::ConsistencyMismatch | Kind::Invalid | Kind::AlreadyExists | Kind::Unsupported | Kind::UnsafeMetadataKey
    )
}

fn attachments(context: &Context, rows: &[FileRow], old: &Old) -> Result<Vec<Attachment>, StageError> {
    let mut by_dataset: BTreeMap<Did, Vec<Child>> = BTreeMap::new();
    for row in rows {
        let (did, contents) = (row.did(), row.contents()?);
        let adler32 = match old.get(&did) {
            Some(Some(written)) => written.clone(),
            _ => contents.adler32.parse().map_err(|error: NotAdler32| StageError::Wait(error.to_string()))?,
        };
        let child = Child { did, bytes: Some(contents.bytes), adler32: Some(adler32), meta: metadata(row)? };
        by_dataset.entry(row.dataset_did()).or_default().push(child);
    }
    let rse = context.config().onsite_rse.clone();
    Ok(by_dataset
        .into_iter()
        .map(|(parent, children)| Attachment { parent, rse: Some(rse.clone()), children })
        .collect())
}

/// What Rucio shall know of a file: the product's flat keys, whether its FITS checksums are right, and its fixity.
fn metadata(row: &FileRow) -> Result<Map<String, Value>, StageError> {
    let contents = row.contents()?;
    let mut metadata = row.metadata()?;
    // the incumbent's key; a file without any checksum has nothing that is wrong
    metadata.insert("valid_fits_checksum".to_owned(), row.valid_fits_checksum.unwrap_or(true).into());
    metadata.insert(format!("{OUR_PREFIX}crc32c"), contents.crc32c.into());
    metadata.insert(format!("{OUR_PREFIX}blake3"), contents.blake3.into());
    Ok(metadata)
}

/// Rucio stores metadata of an attachment for new DIDs only: for the others, what is missing is written now.
async fn complete_metadata(context: &Context, old: impl Iterator<Item = &FileRow>) -> Result<(), StageError> {
    let old: Vec<&FileRow> = old.collect();
    if old.is_empty() {
        return Ok(());
    }
    let dids: Vec<Did> = old.iter().map(|row| row.did()).collect();
    let known = context.rucio.metadata(&dids).await?;
    let mut sets = Vec::new();
    for row in old {
        let wanted = metadata(row)?;
        let there = known.get(&row.did());
        if !wanted.iter().all(|(key, value)| there.is_some_and(|there| there.get(key) == Some(value))) {
            sets.push((row.did(), wanted));
        }
    }
    if !sets.is_empty() {
        context.rucio.set_metadata(&sets).await?;
    }
    Ok(())
}
