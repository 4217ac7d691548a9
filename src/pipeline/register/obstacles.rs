//! What Rucio has under the names that a file needs, and whether it lets the file have them. A directory is a dataset for the
//! files in it and a container for the directories in it, and Rucio knows a name once: it cannot be both.

use std::collections::BTreeMap;

use crate::custody::HoldCode;
use crate::names::{Did, Lfn};
use rucio_client::{CollectionKind, DidKind, DidStatus};

/// What Rucio has, or is about to have, under some names.
pub(super) type Statuses = BTreeMap<Did, DidStatus>;

/// The collections of a file: its containers from the top down, then its dataset.
pub(super) fn chain(name: &Lfn) -> Vec<(Did, CollectionKind)> {
    let containers = name.containers().into_iter().map(|did| (did, CollectionKind::Container));
    containers.chain([(name.dataset(), CollectionKind::Dataset)]).collect()
}

/// A new collection, as Rucio will have it.
pub(super) const fn fresh(kind: CollectionKind) -> DidStatus {
    let kind = match kind {
        CollectionKind::Dataset => DidKind::Dataset,
        CollectionKind::Container => DidKind::Container,
    };
    DidStatus { kind, open: Some(true) }
}

/// Why a file cannot be registered under its name.
pub(super) fn obstacle(name: &Lfn, found: &Statuses) -> Option<(HoldCode, String)> {
    let taken = taken(name, found).map(|why| (HoldCode::NameTaken, why));
    taken.or_else(|| closed(name, found).map(|why| (HoldCode::ClosedCollection, why)))
}

/// What is closed and would have to take something.
fn closed(name: &Lfn, found: &Statuses) -> Option<String> {
    let chain = chain(name);
    let is_closed = |did: &Did| found.get(did).is_some_and(|status| status.open == Some(false));
    if let Some((dataset, _)) = chain.last().filter(|(dataset, _)| is_closed(dataset)) {
        return Some(format!("Rucio has the dataset {dataset} as closed: it takes no more files"));
    }
    let pairs = chain.windows(2).filter_map(|pair| Some((&pair.first()?.0, &pair.get(1)?.0)));
    let mut growing = pairs.filter(|(parent, child)| is_closed(parent) && !found.contains_key(child));
    let (container, child) = growing.next()?;
    Some(format!("Rucio has the container {container} as closed: it does not take {}, which is new", child.name))
}

/// What stands under its names and is of another kind, in words.
fn taken(name: &Lfn, found: &Statuses) -> Option<String> {
    let kind = |did: &Did| found.get(did).map(|status| status.kind);
    for (did, needed) in chain(name) {
        let path = &did.name;
        let why = match (needed, kind(&did)) {
            (CollectionKind::Container, Some(DidKind::Dataset)) => format!(
                "Rucio has {path} as a dataset, for files in that directory itself; this file lies in a directory below it, \
                 for which it would have to be a container"
            ),
            (CollectionKind::Dataset, Some(DidKind::Container)) => format!(
                "Rucio has {path} as a container, for the directories below it; this file lies in that directory itself, for \
                 which it would have to be a dataset"
            ),
            (_, Some(DidKind::File)) => format!("Rucio has a file under the name of its directory {path}"),
            (_, None | Some(DidKind::Dataset | DidKind::Container | DidKind::Other)) => continue,
        };
        return Some(why);
    }
    let kind = match kind(&name.did()) {
        Some(DidKind::Dataset) => "dataset",
        Some(DidKind::Container) => "container",
        None | Some(DidKind::File | DidKind::Other) => return None,
    };
    Some(format!("Rucio has a {kind} under the name of this file"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_by_what_is_of_another_kind_and_by_nothing_else() {
        let name = Lfn::try_from("/ctao/acada/dl0/30/A").unwrap();
        let found = |path: &str, kind| {
            taken(&name, &BTreeMap::from([(Did::new("acada", path), DidStatus { kind, open: None })]))
        };
        let (container, dataset) = ("/ctao/acada/dl0", "/ctao/acada/dl0/30");
        for (path, right) in
            [(container, DidKind::Container), (dataset, DidKind::Dataset), (name.as_str(), DidKind::File)]
        {
            for kind in [DidKind::File, DidKind::Dataset, DidKind::Container] {
                assert_eq!(found(path, kind).is_none(), kind == right, "{path} {kind:?}");
            }
            assert_eq!(found(path, DidKind::Other), None, "what this version does not know says nothing");
        }
        assert_eq!(found("/ctao/acada/dl0/30/x", DidKind::Container), None);
        assert_eq!(taken(&name, &Statuses::new()), None);
    }

    #[test]
    fn what_is_closed_is_in_the_way_only_of_what_it_would_have_to_take() {
        let name = Lfn::try_from("/ctao/acada/dl0/30/A").unwrap();
        let status = |open| DidStatus { open: Some(open), ..fresh(CollectionKind::Container) };
        let (container, dataset) = (Did::new("acada", "/ctao/acada/dl0"), name.dataset());
        let of_dataset = |open| DidStatus { kind: DidKind::Dataset, ..status(open) };
        let both =
            |outer, inner| BTreeMap::from([(container.clone(), status(outer)), (dataset.clone(), of_dataset(inner))]);
        let code = |found: &Statuses| obstacle(&name, found).map(|(code, _)| code);
        assert_eq!(code(&both(true, true)), None);
        assert_eq!(code(&both(true, false)), Some(HoldCode::ClosedCollection));
        assert_eq!(code(&both(false, true)), None, "the dataset is in it");
        assert_eq!(code(&BTreeMap::from([(container.clone(), status(false))])), Some(HoldCode::ClosedCollection));
    }
}
