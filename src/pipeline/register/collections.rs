//! Datasets and containers: made and attached once, then remembered.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{Context, StageError};
use crate::ledger::FileRow;
use crate::names::{Did, Lfn};
use rucio_client::{Attachment, Child, CollectionKind, Kind, NewCollection};

/// Collections made in one call; Rucio refuses lists beyond 1000.
const CHUNK: usize = 500;

/// The collections of a file: its containers from the top down, then its dataset.
pub(super) fn of(name: &Lfn) -> Vec<Did> {
    let mut chain = name.containers();
    chain.push(name.dataset());
    chain
}

/// Makes what is missing for these files, and returns the datasets that had not been known.
pub(super) async fn ensure(context: &Context, rows: &[FileRow]) -> Result<Vec<Did>, StageError> {
    let mut chains = BTreeSet::new();
    for row in rows {
        chains.insert(of(&row.name()?));
    }
    let wanted: BTreeSet<Did> = chains.iter().flatten().cloned().collect();
    let unknown: BTreeSet<Did> = context.ledger.unknown_collections(&wanted).await?.into_iter().collect();
    if unknown.is_empty() {
        return Ok(Vec::new());
    }
    let datasets: BTreeSet<&Did> = chains.iter().filter_map(|chain| chain.last()).collect();
    let new: Vec<NewCollection> = unknown
        .iter()
        .map(|did| NewCollection {
            did: did.clone(),
            kind: if datasets.contains(did) { CollectionKind::Dataset } else { CollectionKind::Container },
        })
        .collect();
    for chunk in new.chunks(CHUNK) {
        create(context, chunk).await?;
    }
    attach(context, &chains, &unknown).await?;
    let new_datasets = unknown.iter().filter(|did| datasets.contains(did)).cloned().collect();
    context.ledger.collections_known(&unknown.into_iter().collect::<Vec<_>>()).await?;
    Ok(new_datasets)
}

/// All in one call; Rucio refuses that whole if one exists, and then each is tried by itself.
async fn create(context: &Context, new: &[NewCollection]) -> Result<(), StageError> {
    match context.rucio.add_collections(new).await {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == Kind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    for collection in new {
        match context.rucio.add_collections(std::slice::from_ref(collection)).await {
            Ok(()) => {}
            Err(error) if error.kind() == Kind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn attach(context: &Context, chains: &BTreeSet<Vec<Did>>, unknown: &BTreeSet<Did>) -> Result<(), StageError> {
    let mut children: BTreeMap<Did, BTreeSet<Did>> = BTreeMap::new();
    for pair in chains.iter().flat_map(|chain| chain.windows(2)) {
        if let [parent, child] = pair
            && unknown.contains(child)
        {
            children.entry(parent.clone()).or_default().insert(child.clone());
        }
    }
    if children.is_empty() {
        return Ok(());
    }
    let attachments: Vec<Attachment> = children
        .into_iter()
        .map(|(parent, dids)| Attachment { parent, rse: None, children: dids.into_iter().map(child).collect() })
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
