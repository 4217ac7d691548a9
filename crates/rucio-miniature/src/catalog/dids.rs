//! Datasets and containers.

use std::time::SystemTime;

use super::records::{DidRecord, Kind};
use super::tables::{Catalog, not_found};
use crate::refusal::{Class, Refusal, refuse};
use rucio_client::Did;

impl Catalog {
    /// `POST /dids`: all of the collections or none. Names are not validated, as in Rucio.
    pub(crate) fn add_collections(
        &mut self,
        issuer: &str,
        new: &[(Did, Kind)],
        now: SystemTime,
    ) -> Result<(), Refusal> {
        if new.iter().any(|(did, _)| !self.owns(issuer, &did.scope)) {
            return refuse(Class::AccessDenied, format!("Account {issuer} can not bulk add data identifier. "));
        }
        for (index, (did, kind)) in new.iter().enumerate() {
            if *kind == Kind::File {
                let message = "Only collection (dataset/container) can be registered.";
                return refuse(Class::UnsupportedOperation, message);
            }
            if self.dids.contains_key(did) || new[..index].iter().any(|(other, _)| other == did) {
                return refuse(Class::DataIdentifierAlreadyExists, "Data Identifier already exists!");
            }
            if !self.scopes.contains(&did.scope) {
                return refuse(Class::ScopeNotFound, "Scope not found!");
            }
        }
        for (did, kind) in new {
            self.dids.insert(did.clone(), DidRecord::new(*kind, issuer, now));
        }
        Ok(())
    }

    /// `PUT /dids/{scope}/{name}/status`: closes a collection, or opens it again.
    pub(crate) fn set_open(&mut self, issuer: &str, did: &Did, open: bool) -> Result<(), Refusal> {
        if !self.owns(issuer, &did.scope) || (open && !self.is_admin(issuer)) {
            let message = format!("Account {issuer} can not set status on data identifier {did}. ");
            return refuse(Class::AccessDenied, message);
        }
        let record = self.dids.get_mut(did).ok_or_else(|| not_found(did))?;
        if record.kind == Kind::File || record.open == open {
            let message = format!("The status of the data identifier '{did}' cannot be changed");
            return refuse(Class::UnsupportedOperation, message);
        }
        record.open = open;
        Ok(())
    }

    /// Everything directly inside a collection.
    pub(crate) fn content(&self, did: &Did) -> Result<Vec<(&Did, &DidRecord)>, Refusal> {
        let record = self.did(did)?;
        Ok(record.children.iter().filter_map(|child| self.dids.get_key_value(child)).collect())
    }
}
