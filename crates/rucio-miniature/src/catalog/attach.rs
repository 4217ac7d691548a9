//! `POST /dids/attachments`: with an RSE, the one call that registers replicas, attaches them and stores metadata.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::metadata;
use super::records::{DidRecord, Kind, Replica, ReplicaState};
use super::schema;
use super::tables::{Catalog, not_found};
use crate::dates;
use crate::journal::Event;
use crate::refusal::{Class, Refusal, refuse};
use rucio_client::Did;

/// Most items in one list.
pub(crate) const LIST_MAX: usize = 1000;

/// A child of an attachment; with an RSE it may be new.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub(crate) did: Did,
    pub(crate) bytes: Option<u64>,
    pub(crate) adler32: Option<String>,
    pub(crate) md5: Option<String>,
    pub(crate) meta: Map<String, Value>,
}

/// What goes into one collection.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    pub(crate) parent: Did,
    pub(crate) rse: Option<String>,
    pub(crate) children: Vec<Child>,
}

impl Catalog {
    /// All attachments or none. Metadata is stored only with files that are new.
    pub(crate) fn attach(
        &mut self,
        issuer: &str,
        attachments: &[Attachment],
        ignore_duplicate: bool,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        check_schema(attachments)?;
        for attachment in attachments {
            if let Some(rse) = &attachment.rse {
                self.rse(rse)?;
            }
        }
        if !attachments.iter().all(|a| self.owns(issuer, &a.parent.scope)) {
            return refuse(Class::AccessDenied, format!("Account {issuer} can not add data identifiers. "));
        }
        let mut new = BTreeMap::new();
        for attachment in attachments {
            let parent = self.did(&attachment.parent)?;
            match parent.kind {
                Kind::File => {
                    let message = format!("Data identifier '{}' is a file", attachment.parent);
                    return refuse(Class::UnsupportedOperation, message);
                }
                _ if !parent.open => {
                    let message = format!("Data identifier '{}' is closed", attachment.parent);
                    return refuse(Class::UnsupportedOperation, message);
                }
                Kind::Dataset => self.check_files(attachment, parent, ignore_duplicate, &mut new)?,
                Kind::Container => self.check_collections(attachment, parent, ignore_duplicate)?,
            }
        }
        for (did, child) in &new {
            self.register(issuer, did, child, now);
        }
        for attachment in attachments {
            self.apply(attachment, now);
        }
        Ok(())
    }

    fn check_files<'a>(
        &self,
        attachment: &'a Attachment,
        parent: &DidRecord,
        ignore_duplicate: bool,
        new: &mut BTreeMap<Did, &'a Child>,
    ) -> Result<(), Refusal> {
        for child in &attachment.children {
            let known = self.dids.get(&child.did);
            if known.is_some_and(|record| record.lost) {
                let message = format!("File {} is LOST and cannot be attached", child.did);
                return refuse(Class::UnsupportedOperation, message);
            }
            if known.is_none() && attachment.rse.is_some() {
                if !self.scopes.contains(&child.did.scope) {
                    return refuse(Class::ScopeNotFound, "Scope not found!");
                }
                if child.bytes.is_none() {
                    return refuse(Class::Internal, "'bytes'");
                }
                metadata::check_keys(&child.meta)?;
                new.entry(child.did.clone()).or_insert(child);
            }
            let (kind, bytes, adler32, md5) = match (known, new.get(&child.did)) {
                (Some(record), _) => (record.kind, record.bytes, record.adler32.as_ref(), record.md5.as_ref()),
                (None, Some(new)) => (Kind::File, new.bytes, new.adler32.as_ref(), new.md5.as_ref()),
                (None, None) => return Err(not_found(&child.did)),
            };
            if kind != Kind::File {
                let message =
                    format!("Data identifier {} of type {} cannot be added to a dataset ", child.did, kind.name());
                return refuse(Class::UnsupportedOperation, message);
            }
            let number = |n: Option<u64>| n.map(|n| n.to_string());
            for (key, given, stored) in [
                ("bytes", number(child.bytes), number(bytes)),
                ("adler32", child.adler32.clone(), adler32.cloned()),
                ("md5", child.md5.clone(), md5.cloned()),
            ] {
                let stored = stored.unwrap_or_else(|| "None".to_owned());
                if let Some(given) = given.filter(|given| *given != stored) {
                    let message = format!("{key} mismatch for '{}': {given}!={stored}", child.did);
                    return refuse(Class::FileConsistencyMismatch, message);
                }
            }
            if !ignore_duplicate && parent.children.contains(&child.did) {
                return refuse(Class::FileAlreadyExists, format!("'{}' is attached already", child.did));
            }
        }
        Ok(())
    }

    fn check_collections(
        &self,
        attachment: &Attachment,
        parent: &DidRecord,
        ignore_duplicate: bool,
    ) -> Result<(), Refusal> {
        let mut expected = None;
        for child in &attachment.children {
            if child.did == attachment.parent {
                return refuse(Class::UnsupportedOperation, "Self-append is not valid!");
            }
            let kind = self.did(&child.did)?.kind;
            if kind == Kind::File {
                let message =
                    format!("Adding a file ({}) to a container ({}) is forbidden", child.did, attachment.parent);
                return refuse(Class::UnsupportedOperation, message);
            }
            if *expected.get_or_insert(kind) != kind {
                let message = format!("Mixed collection is not allowed: '{}' is a {}", child.did, kind.name());
                return refuse(Class::UnsupportedOperation, message);
            }
            if self.ancestors(&attachment.parent).contains(&child.did) {
                let message =
                    format!("Circular attachment detected. {} is already a parent of {}", child.did, attachment.parent);
                return refuse(Class::UnsupportedOperation, message);
            }
            if !ignore_duplicate && parent.children.contains(&child.did) {
                return refuse(Class::DuplicateContent, format!("'{}' is attached already", child.did));
            }
        }
        Ok(())
    }

    fn register(&mut self, issuer: &str, did: &Did, child: &Child, now: SystemTime) {
        let mut record = DidRecord::new(Kind::File, issuer, now);
        record.bytes = child.bytes;
        record.adler32.clone_from(&child.adler32);
        record.md5.clone_from(&child.md5);
        self.dids.insert(did.clone(), record);
        self.merge(did, &child.meta, now);
    }

    fn apply(&mut self, attachment: &Attachment, now: SystemTime) {
        for child in &attachment.children {
            let is_file = self.dids.get(&child.did).is_some_and(|record| record.kind == Kind::File);
            if let (true, Some(rse)) = (is_file, &attachment.rse) {
                self.add_replica(&child.did, rse, now);
            }
            let fresh = match self.dids.get_mut(&attachment.parent) {
                Some(parent) => parent.children.insert(child.did.clone()),
                None => false,
            };
            if let Some(record) = self.dids.get_mut(&child.did) {
                record.parents.insert(attachment.parent.clone());
            }
            if fresh {
                self.attached.push((attachment.parent.clone(), child.did.clone()));
            }
        }
    }

    /// A replica that exists stays as it is, whatever its state.
    fn add_replica(&mut self, did: &Did, rse: &str, now: SystemTime) {
        let at = self.replicas.entry(did.clone()).or_default();
        if at.contains_key(rse) {
            return;
        }
        let delay: Option<f64> =
            self.attributes.get(rse).and_then(|a| a.get("tombstone_delay")).and_then(|delay| delay.parse().ok());
        let tombstone = match delay {
            None | Some(0.0) => None,
            Some(seconds) if seconds < 0.0 => Some(super::records::OBSOLETE),
            Some(seconds) => Some(dates::after(now, seconds)),
        };
        at.insert(rse.to_owned(), Replica { state: ReplicaState::Available, locks: 0, tombstone, created: now });
        self.events.push(Event::Registered { did: did.clone(), rse: rse.to_owned() });
    }
}

fn check_schema(attachments: &[Attachment]) -> Result<(), Refusal> {
    let sound = |list: usize| (1..=LIST_MAX).contains(&list);
    if !sound(attachments.len()) || !attachments.iter().all(|a| sound(a.children.len())) {
        return refuse(Class::InvalidObject, "Problem validating attachments: list is empty or too long");
    }
    let dids = attachments.iter().flat_map(|a| std::iter::once(&a.parent).chain(a.children.iter().map(|c| &c.did)));
    for did in dids {
        if !schema::is_name(&did.name) || !schema::is_scope(&did.scope) {
            return refuse(Class::InvalidObject, format!("Problem validating attachments: '{did}' does not match"));
        }
    }
    let sums = attachments.iter().flat_map(|a| &a.children).filter_map(|child| child.adler32.as_ref());
    for sum in sums {
        if sum.len() != 8 || !sum.chars().all(|c| c.is_ascii_hexdigit()) {
            return refuse(Class::InvalidObject, format!("Problem validating attachments: '{sum}' does not match"));
        }
    }
    Ok(())
}
