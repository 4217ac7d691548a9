//! Datasets and containers, and what may be called so.

use std::time::SystemTime;

use super::records::{DidRecord, Kind};
use super::{Catalog, Class, Did, Refusal, refuse};

/// `^/[A-Za-z0-9][/A-Za-z0-9.\-_]*$`, at most 250 characters: the name schema of CTAO's policy package.
pub(crate) fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    name.len() <= crate::names::NAME_MAX
        && characters.next() == Some('/')
        && characters.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && characters.all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
}

/// `^[a-zA-Z_\-.0-9]+$`, at most 25 characters.
pub(crate) fn is_scope(scope: &str) -> bool {
    (1..=crate::names::SCOPE_MAX).contains(&scope.len())
        && scope.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

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
        let record = self.dids.get_mut(did).ok_or_else(|| super::not_found(did))?;
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
