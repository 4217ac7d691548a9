//! Whether the files and datasets that carry our rules stay in Rucio.
//!
//! A DID that has an end (`rucio erase`, or its metadata key `lifetime`) is removed by Rucio's undertaker with all its rules,
//! however permanent these look, and out of what holds it: then what nothing else holds goes. A container that goes takes no
//! rule of ours with it, for ours are on files and datasets.

use std::collections::{BTreeMap, BTreeSet};

use crate::custody::Carrier;
use crate::engine::{Context, StageError};
use crate::ledger::FileRow;
use crate::names::Did;
use rucio_client::DidEnd;

/// The ends of some files and their datasets.
pub(super) struct Carriers(BTreeMap<Did, DidEnd>);

impl Carriers {
    /// Asks Rucio.
    pub(super) async fn ask(context: &Context, files: &[&FileRow]) -> Result<Self, StageError> {
        let dids: BTreeSet<Did> = files.iter().flat_map(|row| [row.did(), row.dataset_did()]).collect();
        let ends = context.rucio.did_ends(&Vec::from_iter(dids)).await?;
        for (did, end) in &ends {
            match end {
                Some(end) if context.memory.reported.is_news(&did.name, "end") => {
                    if context.memory.troubles.is_first("Rucio removes what carries our rules", &did.name) {
                        tracing::warn!(
                            name = did.name,
                            scope = did.scope,
                            "Rucio removes {did} with its rules at its end, {end}: files whose copies they hold stay on \
                             site; take the end away in Rucio ('rucio erase --undo') if it is not meant"
                        );
                    }
                }
                Some(_) => {}
                None => context.memory.reported.is_over(&did.name, "end"),
            }
        }
        Ok(Self(ends))
    }

    /// What carries the hold that a rule on `on` has on a file: that stays only if the file does, too.
    pub(super) fn of(&self, file: &Did, on: &Did) -> Carrier {
        let each = [file, on].map(|did| match self.0.get(did) {
            Some(None) => Carrier::Stays,
            Some(Some(end)) => Carrier::Ends { did: did.to_string(), at: end.clone() },
            None => Carrier::Unknown { did: did.to_string() },
        });
        each.into_iter().find(|carrier| *carrier != Carrier::Stays).unwrap_or(Carrier::Stays)
    }
}
