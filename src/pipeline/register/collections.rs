//! Datasets and containers: asked for, made and attached for all files of a batch at once, then remembered.

use std::collections::{BTreeMap, BTreeSet};

use super::obstacles::{Statuses, chain, fresh, obstacle};
use crate::engine::{Context, StageError, after_failures};
use crate::ledger::{FileRow, Postpone};
use crate::names::Did;
use rucio_client::{Attachment, Child, CollectionKind, Kind, NewCollection};

/// Collections made in one call; Rucio refuses lists beyond 1000.
const CHUNK: usize = 500;
/// How often it is asked what is there when somebody makes the same collections meanwhile.
const LOOKS: usize = 3;

/// What is reported of a scope.
const NO_SCOPE: &str = "no such scope";

/// What became of making collections.
enum Made {
    All,
    /// Somebody has made one of them since it was asked what is there.
    Overtaken,
    /// Rucio has no such scope.
    NoScope(String),
}

/// Files with the collections that each needs, from the top down.
type Chained = Vec<(FileRow, Vec<(Did, CollectionKind)>)>;

/// What `ensure` leaves.
pub(super) struct Ensured {
    /// The files that have all their collections.
    pub(super) rows: Vec<FileRow>,
    /// Datasets that had not been known.
    pub(super) new_datasets: Vec<Did>,
}

/// Makes what is missing for these files. One whose name cannot be had is held, and nothing is made for it.
pub(super) async fn ensure(context: &Context, rows: Vec<FileRow>) -> Result<Ensured, StageError> {
    let _turn = context.memory.making_collections.lock().await;
    let mut chained = Chained::with_capacity(rows.len());
    for row in rows {
        let chain = chain(&row.name()?);
        chained.push((row, chain));
    }
    let unknown = context.ledger.unknown_collections(&names(&chained, |_| true)).await?;
    let unknown: BTreeSet<Did> = unknown.into_iter().collect();
    if unknown.is_empty() {
        let rows = chained.into_iter().map(|(row, _)| row).collect();
        return Ok(Ensured { rows, new_datasets: Vec::new() });
    }
    let chained = make(context, chained, &unknown).await?;
    attach(context, &chained, &unknown).await?;
    let made: BTreeSet<Did> = names(&chained, |did| unknown.contains(did));
    context.ledger.collections_known(&made.into_iter().collect::<Vec<_>>()).await?;
    let datasets = chained.iter().filter_map(|(_, chain)| chain.last()).map(|(dataset, _)| dataset);
    let new_datasets: BTreeSet<&Did> = datasets.filter(|dataset| unknown.contains(dataset)).collect();
    let new_datasets = new_datasets.into_iter().cloned().collect();
    Ok(Ensured { rows: chained.into_iter().map(|(row, _)| row).collect(), new_datasets })
}

fn names(chained: &Chained, wanted: impl Fn(&Did) -> bool) -> BTreeSet<Did> {
    chained.iter().flat_map(|(_, chain)| chain).map(|(did, _)| did).filter(|did| wanted(did)).cloned().collect()
}

/// Asks what Rucio has of the collections of files that need an unknown one, and makes the others. Returns the files that
/// have theirs.
async fn make(context: &Context, chained: Chained, unknown: &BTreeSet<Did>) -> Result<Chained, StageError> {
    let needs = |chain: &[(Did, CollectionKind)]| chain.iter().any(|(did, _)| unknown.contains(did));
    let (mut needing, mut ready): (Chained, Chained) = chained.into_iter().partition(|(_, chain)| needs(chain));
    let asked: Vec<Did> = names(&needing, |_| true).into_iter().collect();
    let mut looks = 0;
    while looks < LOOKS {
        let mut there = context.rucio.did_statuses(&asked).await?;
        let mut missing = BTreeMap::new();
        let mut refused = Vec::new();
        for (row, chain) in &needing {
            if let Some((code, why)) = obstacle(&row.name()?, &there) {
                refused.push((row, code, why));
                continue;
            }
            for (did, kind) in chain {
                if !there.contains_key(did) {
                    // for the files that follow, it is there: the first of two that exclude each other has the name
                    there.insert(did.clone(), fresh(*kind));
                    missing.insert(did.clone(), *kind);
                }
            }
        }
        match create(context, missing).await? {
            Made::All => {}
            Made::Overtaken => {
                looks += 1;
                continue;
            }
            Made::NoScope(scope) => {
                let (lacking, others): (Chained, Chained) =
                    needing.into_iter().partition(|(row, _)| row.scope == scope);
                looks += usize::from(lacking.is_empty());
                wait_for_scope(context, lacking, &scope).await?;
                needing = others;
                continue;
            }
        }
        // not before what they exclude is there
        for (row, code, why) in &refused {
            context.hold(row, *code, why).await?;
        }
        let held: BTreeSet<i64> = refused.iter().map(|(row, ..)| row.id).collect();
        ready.extend(needing.into_iter().filter(|(row, _)| !held.contains(&row.id)));
        return Ok(ready);
    }
    let why = "Rucio says that a dataset or container exists, and does not list it; it is asked again";
    Err(StageError::Wait(why.to_owned()))
}

/// Scope by scope, so that one that Rucio does not have is known.
async fn create(context: &Context, missing: BTreeMap<Did, CollectionKind>) -> Result<Made, StageError> {
    let new: Vec<NewCollection> = missing.into_iter().map(|(did, kind)| NewCollection { did, kind }).collect();
    for of_scope in new.chunk_by(|one, next| one.did.scope == next.did.scope) {
        for chunk in of_scope.chunks(CHUNK) {
            match context.rucio.add_collections(chunk).await {
                Ok(()) => {}
                Err(error) if error.kind() == Kind::AlreadyExists => return Ok(Made::Overtaken),
                Err(error) if error.class() == Some("ScopeNotFound") => {
                    let scope = chunk.first().map(|new| new.did.scope.clone());
                    return Ok(Made::NoScope(scope.unwrap_or_default()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(new) = of_scope.first() {
            context.memory.reported.is_over(&new.did.scope, NO_SCOPE);
        }
    }
    Ok(Made::All)
}

/// Files of a scope that Rucio does not have: somebody may make it, and the others need not wait for that.
async fn wait_for_scope(context: &Context, lacking: Chained, scope: &str) -> Result<(), StageError> {
    let config = context.config();
    let waits_for = format!(
        "the scope '{scope}', which Rucio does not have; if the path is right, have it made: rucio scope add {scope} --account {}",
        config.rucio.account
    );
    if context.memory.reported.is_news(scope, NO_SCOPE) {
        tracing::error!(scope, files = lacking.len(), "files cannot be registered and wait for {waits_for}");
    }
    let put_off = |(row, _): (FileRow, _)| Postpone {
        id: row.id,
        delay: after_failures(&config.retry, row.attempts),
        waits_for: waits_for.clone(),
        failed: true,
    };
    Ok(context.ledger.postpone(&lacking.into_iter().map(put_off).collect::<Vec<_>>()).await?)
}

async fn attach(context: &Context, chained: &Chained, unknown: &BTreeSet<Did>) -> Result<(), StageError> {
    // datasets and containers of one container in attachments of their own: Rucio takes no mixture in one
    let mut children: BTreeMap<(&Did, bool), BTreeSet<&Did>> = BTreeMap::new();
    for pair in chained.iter().flat_map(|(_, chain)| chain.windows(2)) {
        if let [(parent, _), (child, kind)] = pair
            && unknown.contains(child)
        {
            children.entry((parent, *kind == CollectionKind::Dataset)).or_default().insert(child);
        }
    }
    let attachments: Vec<Attachment> = children
        .into_iter()
        .map(|((parent, _), dids)| Attachment {
            parent: parent.clone(),
            rse: None,
            children: dids.into_iter().cloned().map(child).collect(),
        })
        .collect();
    match context.rucio.attach(&attachments).await {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == Kind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    // servers before 38 refuse what is attached already, whatever they are asked to ignore
    for Attachment { parent, children, .. } in attachments {
        for child in children {
            let single = Attachment { parent: parent.clone(), rse: None, children: vec![child] };
            match context.rucio.attach(&[single]).await {
                Ok(()) => {}
                Err(error) if error.kind() == Kind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn child(did: Did) -> Child {
    Child { did, bytes: None, adler32: None, meta: serde_json::Map::new() }
}

/// Rucio refused to register these files: looks at what it has under their names. Those that it cannot have are held; the
/// others are returned. If it does not have a collection any more, that is forgotten, and an error says so.
pub(super) async fn without_obstacles(
    context: &Context,
    rows: Vec<FileRow>,
    refusal: &rucio_client::Error,
) -> Result<Vec<FileRow>, StageError> {
    let collections = of(&rows)?;
    let asked: Vec<Did> = rows.iter().map(FileRow::did).chain(collections.iter().cloned()).collect();
    let there: Statuses = context.rucio.did_statuses(&asked).await?;
    let gone: BTreeSet<Did> = collections.into_iter().filter(|did| !there.contains_key(did)).collect();
    if !gone.is_empty() {
        return Err(forgotten(context, gone, refusal).await?);
    }
    let mut left = Vec::with_capacity(rows.len());
    for row in rows {
        match obstacle(&row.name()?, &there) {
            Some((code, why)) => context.hold(&row, code, &why).await?,
            None => left.push(row),
        }
    }
    Ok(left)
}

/// The collections of these files.
pub(super) fn of(rows: &[FileRow]) -> Result<BTreeSet<Did>, StageError> {
    let mut all = BTreeSet::new();
    for row in rows {
        all.extend(chain(&row.name()?).into_iter().map(|(did, _)| did));
    }
    Ok(all)
}

/// Rucio may not have these any more: at the next attempt it is asked for them, and what is missing is made.
pub(super) async fn forgotten(
    context: &Context,
    collections: BTreeSet<Did>,
    refusal: &rucio_client::Error,
) -> Result<StageError, StageError> {
    context.ledger.collections_unknown(&collections).await?;
    Ok(StageError::Wait(format!("{refusal}; its collections are looked for again")))
}
