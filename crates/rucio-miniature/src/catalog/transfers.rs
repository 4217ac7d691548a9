//! The conveyor's view of the catalogue: what to copy from where, and what became of it.

use std::collections::VecDeque;
use std::time::SystemTime;

use super::records::{Progress, ReplicaState, Transfer};
use super::tables::{Catalog, Place};
use crate::journal::Event;
use rucio_client::Did;

/// How often a transfer is tried before its lock is STUCK.
pub(crate) const ATTEMPTS_MAX: u32 = 4;

/// A transfer the conveyor has taken, with all it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) transfer: Transfer,
    /// RSEs with an available copy that the rule lets it read from; empty when there is none.
    pub(crate) sources: Vec<String>,
    pub(crate) bytes: u64,
    pub(crate) adler32: Option<String>,
}

impl Catalog {
    /// How many transfers wait for the conveyor, and can go.
    pub(crate) fn queued_transfers(&self) -> usize {
        self.queue.iter().filter(|transfer| !self.closed.contains(&transfer.rse)).count()
    }

    /// Takes up to `limit` transfers from the queue.
    pub(crate) fn take_transfers(&mut self, limit: usize) -> Vec<Order> {
        let (mut taken, mut left) = (Vec::new(), VecDeque::new());
        for transfer in std::mem::take(&mut self.queue) {
            let goes = taken.len() < limit && !self.closed.contains(&transfer.rse);
            if goes { taken.push(transfer) } else { left.push_back(transfer) }
        }
        self.queue = left;
        taken.into_iter().filter_map(|transfer| self.order(transfer)).collect()
    }

    fn order(&mut self, transfer: Transfer) -> Option<Order> {
        let record = self.dids.get(&transfer.did)?;
        let (bytes, adler32) = (record.bytes.unwrap_or(0), record.adler32.clone());
        let mut sources = self.available_at(&transfer.did);
        sources.remove(&transfer.rse);
        if let Some(expression) =
            self.rules.get(&transfer.rule).and_then(|rule| rule.source_replica_expression.as_ref())
        {
            let allowed = self.resolve(expression).unwrap_or_default();
            sources.retain(|rse| allowed.contains(rse));
        }
        self.active.insert((transfer.did.clone(), transfer.rse.clone()), transfer.clone());
        for source in &sources {
            *self.sources.entry((transfer.did.clone(), source.clone())).or_default() += 1;
        }
        Some(Order { transfer, sources: sources.into_iter().collect(), bytes, adler32 })
    }

    /// Records how a transfer ended. Returns whether the copy is wanted; an unwanted one (its rule is gone) stays on
    /// disk for the reaper.
    pub(crate) fn end_transfer(&mut self, order: &Order, outcome: Result<(), String>, now: SystemTime) -> bool {
        let Transfer { did, rse, .. } = &order.transfer;
        let place = (did.clone(), rse.clone());
        for source in &order.sources {
            self.release_source(did, source);
        }
        if self.active.remove(&place).is_none() {
            return false;
        }
        match outcome {
            Ok(()) => self.arrived(&place, now),
            Err(why) => {
                let attempts = order.transfer.attempts + 1;
                self.events.push(Event::TransferFailed { did: did.clone(), rse: rse.clone(), why: why.clone() });
                if attempts < ATTEMPTS_MAX && !order.sources.is_empty() {
                    self.queue.push_back(Transfer { attempts, ..order.transfer.clone() });
                } else {
                    self.given_up(&place, &why, now);
                }
            }
        }
        true
    }

    fn release_source(&mut self, did: &Did, rse: &str) {
        let place = (did.clone(), rse.to_owned());
        if let Some(count) = self.sources.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&place);
            }
        }
    }

    /// Is a transfer reading this copy?
    pub(super) fn is_source(&self, did: &Did, rse: &str) -> bool {
        self.sources.contains_key(&(did.clone(), rse.to_owned()))
    }

    fn arrived(&mut self, place: &Place, now: SystemTime) {
        let (did, rse) = place;
        let Some(replica) = self.replica_mut(did, rse) else { return };
        replica.state = ReplicaState::Available;
        self.events.push(Event::Available { did: did.clone(), rse: rse.clone() });
        for id in self.locks_at.get(place).cloned().unwrap_or_default() {
            self.set_lock(&id, did, rse, Progress::Ok);
            self.restate(&id, now);
        }
    }

    fn given_up(&mut self, place: &Place, why: &str, now: SystemTime) {
        let (did, rse) = place;
        let Some(replica) = self.replica_mut(did, rse) else { return };
        replica.state = ReplicaState::Unavailable;
        for id in self.locks_at.get(place).cloned().unwrap_or_default() {
            self.set_lock(&id, did, rse, Progress::Stuck);
            if let Some(rule) = self.rules.get_mut(&id) {
                rule.error = Some(why.to_owned());
            }
            self.restate(&id, now);
        }
    }

    /// Forgets the transfers to a place that no rule wants any more.
    pub(super) fn cancel_transfer(&mut self, place: &Place) {
        self.queue.retain(|transfer| (&transfer.did, &transfer.rse) != (&place.0, &place.1));
        self.active.remove(place);
    }
}
