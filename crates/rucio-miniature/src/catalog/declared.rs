//! Replicas that were declared bad, and what the necromancer makes of them.

use std::time::SystemTime;

use super::records::{Declaration, OBSOLETE, Outcome, Progress, ROOT, ReplicaState, Transfer};
use super::tables::{Catalog, Place};
use crate::refusal::{Class, Refusal, refuse};
use rucio_client::Did;

impl Catalog {
    /// Marks replicas as bad. For root alone; what is not there is passed over.
    pub(crate) fn declare_bad(&mut self, issuer: &str, places: &[Place], now: SystemTime) -> Result<(), Refusal> {
        if issuer != ROOT {
            return refuse(Class::AccessDenied, format!("Account {issuer} can not declare bad replicas"));
        }
        for place in places {
            let Some(replica) = self.replica_mut(&place.0, &place.1) else { continue };
            replica.state = ReplicaState::Bad;
            let (did, rse) = place.clone();
            self.declared.push(Declaration { did, rse, outcome: Outcome::Bad, at: now });
        }
        Ok(())
    }

    /// Has replicas available again. A tombstone stays.
    pub(crate) fn make_available(&mut self, issuer: &str, rse: &str, dids: &[Did]) -> Result<(), Refusal> {
        if !self.is_admin(issuer) {
            return refuse(
                Class::AccessDenied,
                format!("Account {issuer} can not update file replicas state on {rse}"),
            );
        }
        for did in dids {
            let Some(replica) = self.replica_mut(did, rse) else { continue };
            replica.state = ReplicaState::Available;
            self.settle(did, rse, Outcome::Recovered);
        }
        Ok(())
    }

    fn settle(&mut self, did: &Did, rse: &str, outcome: Outcome) {
        for declaration in &mut self.declared {
            if declaration.outcome == Outcome::Bad && declaration.did == *did && declaration.rse == rse {
                declaration.outcome = outcome;
            }
        }
    }

    /// The declarations about an RSE.
    pub(crate) fn declared_at(&self, rse: &str) -> impl Iterator<Item = &Declaration> {
        self.declared.iter().filter(move |declaration| declaration.rse == rse)
    }

    /// The necromancer: what is bad and has another copy is copied again, over what lies there; what has none is given up.
    pub(crate) fn bury(&mut self, now: SystemTime) {
        let bad = self.declared.iter().filter(|declaration| declaration.outcome == Outcome::Bad);
        let bad: Vec<Place> = bad.map(|declaration| (declaration.did.clone(), declaration.rse.clone())).collect();
        for (did, rse) in bad {
            if self.available_at(&did).is_empty() {
                self.give_up(&did, now);
                self.settle(&did, &rse, Outcome::Lost);
            } else {
                self.copy_again(&did, &rse, now);
                self.settle(&did, &rse, Outcome::Recovered);
            }
        }
    }

    /// What was given up can be attached again.
    pub(crate) fn undo_loss(&mut self, did: &Did) {
        if let Some(record) = self.dids.get_mut(did) {
            record.lost = false;
        }
    }

    fn copy_again(&mut self, did: &Did, rse: &str, now: SystemTime) {
        let place = (did.clone(), rse.to_owned());
        let holders = self.locks_at.get(&place).cloned().unwrap_or_default();
        let Some(replica) = self.replica_mut(did, rse) else { return };
        let Some(rule) = holders.iter().next().cloned() else {
            (replica.state, replica.tombstone) = (ReplicaState::Unavailable, Some(OBSOLETE));
            return;
        };
        replica.state = ReplicaState::Copying;
        for id in &holders {
            self.set_lock(id, did, rse, Progress::Replicating);
            self.restate(id, now);
        }
        self.queue.push_back(Transfer { did: did.clone(), rse: rse.to_owned(), rule, attempts: 0 });
    }

    /// No lock is left, the file is out of its datasets, and what lies anywhere may be deleted at once.
    fn give_up(&mut self, did: &Did, now: SystemTime) {
        let rses: Vec<String> = self.replicas.get(did).into_iter().flatten().map(|(rse, _)| rse.clone()).collect();
        for rse in rses {
            let place = (did.clone(), rse.clone());
            self.cancel_transfer(&place);
            for rule in self.drop_locks(&place) {
                self.restate(&rule, now);
            }
            if let Some(replica) = self.replica_mut(did, &rse) {
                (replica.locks, replica.state, replica.tombstone) = (0, ReplicaState::Unavailable, Some(OBSOLETE));
            }
        }
        let Some(record) = self.dids.get_mut(did) else { return };
        record.lost = true;
        self.detach(did);
    }
}
