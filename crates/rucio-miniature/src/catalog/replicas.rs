//! `POST /replicas/list`: where the copies are, or are thought to be.

use std::collections::BTreeSet;

use super::records::{Kind, ReplicaState};
use super::tables::Catalog;
use crate::refusal::Refusal;
use rucio_client::Did;

/// What is asked of the listing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Question {
    pub(crate) dids: Vec<Did>,
    pub(crate) rse_expression: Option<String>,
    pub(crate) all_states: bool,
    pub(crate) schemes: Option<Vec<String>>,
}

/// One file with its copies: RSE, state, PFN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) did: Did,
    pub(crate) bytes: Option<u64>,
    pub(crate) adler32: Option<String>,
    pub(crate) md5: Option<String>,
    pub(crate) copies: Vec<(String, ReplicaState, Option<String>)>,
}

impl Catalog {
    /// One entry per known file. A file asked for by name is listed also without copies; a file found in a collection
    /// only with them; an unknown DID not at all.
    pub(crate) fn list_replicas(&self, question: &Question) -> Result<Vec<Listed>, Refusal> {
        let within = question.rse_expression.as_ref().map(|text| self.resolve(text)).transpose()?;
        let mut named = BTreeSet::new();
        let mut contained = BTreeSet::new();
        for did in &question.dids {
            match self.dids.get(did).map(|record| record.kind) {
                None => {}
                Some(Kind::File) => {
                    named.insert(did.clone());
                }
                Some(_) => contained.extend(self.files_below(did).into_iter().flat_map(|(_, files)| files)),
            }
        }
        let mut found = Vec::new();
        for did in named.union(&contained) {
            let Some(record) = self.dids.get(did) else { continue };
            let copies: Vec<_> = self
                .replicas
                .get(did)
                .into_iter()
                .flatten()
                .filter(|(rse, _)| within.as_ref().is_none_or(|within| within.contains(*rse)))
                .filter(|(_, replica)| question.all_states || replica.state == ReplicaState::Available)
                .map(|(rse, replica)| (rse.clone(), replica.state, self.pfn(did, rse, question.schemes.as_deref())))
                .collect();
            if named.contains(did) || !copies.is_empty() {
                found.push(Listed {
                    did: did.clone(),
                    bytes: record.bytes,
                    adler32: record.adler32.clone(),
                    md5: record.md5.clone(),
                    copies,
                });
            }
        }
        Ok(found)
    }

    /// Prefix and name. The only scheme offered is `dav`, and it is what is shown when none is asked for.
    fn pfn(&self, did: &Did, rse: &str, schemes: Option<&[String]>) -> Option<String> {
        let offered = schemes.is_none_or(|schemes| schemes.iter().any(|scheme| scheme == "dav"));
        self.rses.get(rse).filter(|_| offered).map(|rse| format!("{}{}", rse.prefix, did.name))
    }
}
