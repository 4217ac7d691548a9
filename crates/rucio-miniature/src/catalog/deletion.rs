//! The judge-cleaner's and the reaper's view: ended rules lose their locks, unlocked replicas their files.
//!
//! Nothing here protects the last copy, because Rucio does not either.

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::records::{OBSOLETE, Progress, ReplicaState};
use super::tables::{Catalog, Place};
use crate::journal::Event;
use rucio_client::Did;

impl Catalog {
    /// The judge-cleaner: removes every rule whose end has come.
    pub(crate) fn clean(&mut self, now: SystemTime) {
        let ended: Vec<String> = self
            .rules
            .values()
            .filter(|rule| rule.expires.is_some_and(|at| at <= now))
            .map(|rule| rule.id.clone())
            .collect();
        for id in ended {
            self.remove_rule(&id);
        }
    }

    fn remove_rule(&mut self, id: &str) {
        let Some(rule) = self.rules.remove(id) else { return };
        if let Some(on) = self.rules_on.get_mut(&rule.did) {
            on.remove(id);
        }
        for (place, progress) in self.locks.remove(id).unwrap_or_default() {
            self.unlock(id, &place, progress, rule.purge_replicas);
        }
        self.events.push(Event::RuleRemoved { id: rule.id, did: rule.did, rse_expression: rule.rse_expression });
    }

    /// When the last lock goes, the replica gets its tombstone: 1970 if purged or of no use, else its own age.
    fn unlock(&mut self, id: &str, place: &Place, progress: Progress, purge: bool) {
        if let Some(rules) = self.locks_at.get_mut(place) {
            rules.remove(id);
            if rules.is_empty() {
                self.locks_at.remove(place);
            }
        }
        let Some(replica) = self.replica_mut(&place.0, &place.1) else { return };
        replica.locks -= 1;
        if replica.locks > 0 {
            return;
        }
        let useless = replica.state == ReplicaState::Unavailable || progress == Progress::Replicating;
        replica.tombstone = Some(if purge || useless { OBSOLETE } else { replica.created });
        if progress == Progress::Replicating {
            replica.state = ReplicaState::Unavailable;
            self.cancel_transfer(place);
        }
    }

    /// The reaper's first step: marks what may go as `BEING_DELETED`. Without need for space only purged replicas go,
    /// unless the RSE has the attribute `greedyDeletion`; a copy that a transfer reads is spared.
    pub(crate) fn condemn(&mut self, now: SystemTime) -> usize {
        let mut condemned = Vec::new();
        for (did, at) in &self.replicas {
            for (rse, replica) in at {
                // nearly all have none, and all are gone through
                let Some(at) = replica.tombstone else { continue };
                let greedy = || self.attributes.get(rse).is_some_and(|a| a.contains_key("greedyDeletion"));
                let due = at == OBSOLETE || (at <= now && greedy());
                let may_go = matches!(replica.state, ReplicaState::Available | ReplicaState::Unavailable);
                if due && may_go && replica.locks == 0 && !self.is_source(did, rse) {
                    condemned.push((did.clone(), rse.clone()));
                }
            }
        }
        for (did, rse) in &condemned {
            if let Some(replica) = self.replica_mut(did, rse) {
                replica.state = ReplicaState::BeingDeleted;
            }
        }
        condemned.len()
    }

    /// Marks one replica, whatever holds it.
    pub(crate) fn condemn_one(&mut self, did: &Did, rse: &str) {
        if let Some(replica) = self.replica_mut(did, rse) {
            replica.state = ReplicaState::BeingDeleted;
        }
    }

    /// What the reaper has marked.
    pub(crate) fn condemned(&self) -> Vec<Place> {
        let mut found = Vec::new();
        for (did, at) in &self.replicas {
            for (rse, replica) in at {
                if replica.state == ReplicaState::BeingDeleted {
                    found.push((did.clone(), rse.clone()));
                }
            }
        }
        found
    }

    /// Removes the row of a replica; with the last one go the DID, its attachments and the rules on it.
    pub(crate) fn remove_replica(&mut self, did: &Did, rse: &str) {
        let Some(at) = self.replicas.get_mut(did) else { return };
        if at.remove(rse).is_none() {
            return;
        }
        self.events.push(Event::ReplicaGone { did: did.clone(), rse: rse.to_owned() });
        if !at.is_empty() {
            return;
        }
        self.replicas.remove(did);
        // what was given up as lost stays known, with its rules, which hold nothing
        if self.dids.get(did).is_some_and(|record| record.lost) {
            return;
        }
        for id in self.rules_on.remove(did).unwrap_or_default() {
            self.remove_rule(&id);
        }
        self.detach(did);
        self.dids.remove(did);
        self.events.push(Event::DidGone { did: did.clone() });
    }

    /// A copy that is lost behind Rucio's back: the row goes, its locks with it.
    pub(crate) fn lose_replica(&mut self, did: &Did, rse: &str) {
        let place = (did.clone(), rse.to_owned());
        self.cancel_transfer(&place);
        self.drop_locks(&place);
        self.remove_replica(did, rse);
    }

    /// Takes a file out of everything that it is in.
    pub(super) fn detach(&mut self, did: &Did) {
        let parents = self.dids.get_mut(did).map(|record| std::mem::take(&mut record.parents)).unwrap_or_default();
        for parent in parents {
            if let Some(parent) = self.dids.get_mut(&parent) {
                parent.children.remove(did);
            }
        }
        self.attached.retain(|(_, child)| child != did);
    }

    /// All locks of a place go; returns the rules that had them.
    pub(super) fn drop_locks(&mut self, place: &Place) -> BTreeSet<String> {
        let rules = self.locks_at.remove(place).unwrap_or_default();
        for id in &rules {
            if let Some(progress) = self.locks.get_mut(id).and_then(|locks| locks.remove(place)) {
                self.count(id, progress, -1);
            }
        }
        rules
    }
}
