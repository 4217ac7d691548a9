//! The judge's work on locks: spreading a rule over files, following growth, repairing what is stuck.
//!
//! A rule's state and counters change only here and when a transfer ends. After an attachment they are old until
//! [`Catalog::evaluate`] has run, exactly as Rucio's are until its judge-evaluator has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use rand::seq::IndexedRandom;

use super::records::{Grouping, Progress, Replica, ReplicaState, Transfer};
use super::tables::Catalog;
use crate::refusal::{Class, Refusal};
use rucio_client::Did;

/// Would the rule find enough RSEs for these files? A copy that is being deleted bars its RSE.
pub(super) fn check_targets(
    catalog: &Catalog,
    files: &[Did],
    targets: &BTreeSet<String>,
    copies: u32,
    grouping: Grouping,
) -> Result<(), Refusal> {
    let groups: Vec<&[Did]> = if grouping == Grouping::None { files.chunks(1).collect() } else { vec![files] };
    for group in groups {
        let barred = catalog.barred(group);
        if targets.difference(&barred).count() < copies as usize {
            return Err(too_few());
        }
    }
    Ok(())
}

fn too_few() -> Refusal {
    let message = "There are not enough target RSEs to fulfil the request at this time.";
    Refusal::new(Class::InsufficientTargetRses, message)
}

impl Catalog {
    /// RSEs where one of the files is being deleted.
    fn barred(&self, files: &[Did]) -> BTreeSet<String> {
        let replicas = files.iter().filter_map(|did| self.replicas.get(did)).flatten();
        replicas
            .filter(|(_, replica)| replica.state == ReplicaState::BeingDeleted)
            .map(|(rse, _)| rse.clone())
            .collect()
    }

    /// Creates the locks a rule lacks on these files of one dataset.
    pub(super) fn apply_rule(
        &mut self,
        id: &str,
        dataset: Option<&Did>,
        files: &[Did],
        now: SystemTime,
    ) -> Result<(), Refusal> {
        let Some(rule) = self.rules.get(id) else { return Ok(()) };
        let (grouping, copies) = (rule.grouping, rule.copies as usize);
        let targets = self.resolve(&rule.rse_expression)?;
        if grouping == Grouping::None {
            for file in files {
                let chosen = self.choose(id, std::slice::from_ref(file), None, &targets, copies)?;
                self.lock_all(id, std::slice::from_ref(file), &chosen, now);
            }
        } else {
            let chosen = self.choose(id, files, dataset, &targets, copies)?;
            self.lock_all(id, files, &chosen, now);
        }
        Ok(())
    }

    /// RSEs for a group of files: where the rule already has locks for the dataset, else where most of the group lies,
    /// else by lot.
    fn choose(
        &mut self,
        id: &str,
        files: &[Did],
        dataset: Option<&Did>,
        targets: &BTreeSet<String>,
        copies: usize,
    ) -> Result<Vec<String>, Refusal> {
        let barred = self.barred(files);
        let mut candidates: Vec<String> = targets.difference(&barred).cloned().collect();
        if candidates.len() < copies {
            return Err(too_few());
        }
        let brothers: BTreeSet<&Did> = match dataset.and_then(|did| self.dids.get(did)) {
            Some(record) => record.children.iter().collect(),
            None => files.iter().collect(),
        };
        let locked: BTreeSet<&str> =
            self.locks(id).filter(|((did, _), _)| brothers.contains(did)).map(|((_, rse), _)| rse.as_str()).collect();
        let coverage = |rse: &String| {
            let bytes = |did: &Did| self.dids.get(did).and_then(|record| record.bytes).unwrap_or(0) + 1;
            let held = |did: &&Did| {
                let replica = self.replicas.get(*did).and_then(|at| at.get(rse));
                replica.is_some_and(|r| matches!(r.state, ReplicaState::Available | ReplicaState::Copying))
            };
            files.iter().filter(held).map(bytes).sum::<u64>()
        };
        let mut ranked: Vec<(bool, u64, String)> =
            candidates.drain(..).map(|rse| (locked.contains(rse.as_str()), coverage(&rse), rse)).collect();
        let mut chosen = Vec::new();
        while chosen.len() < copies {
            let best = ranked.iter().map(|(locked, held, _)| (*locked, *held)).max().unwrap_or_default();
            let equals: Vec<usize> = (0..ranked.len()).filter(|&i| (ranked[i].0, ranked[i].1) == best).collect();
            let Some(&pick) = equals.choose(&mut self.rng) else { return Err(too_few()) };
            chosen.push(ranked.swap_remove(pick).2);
        }
        Ok(chosen)
    }

    fn lock_all(&mut self, id: &str, files: &[Did], rses: &[String], now: SystemTime) {
        for rse in rses {
            for file in files {
                self.lock(id, file, rse, now);
            }
        }
    }

    fn lock(&mut self, id: &str, did: &Did, rse: &str, now: SystemTime) {
        let Some(rule) = self.rules.get(id) else { return };
        let copies = rule.copies as usize;
        let place = (did.clone(), rse.to_owned());
        if let Some(locks) = self.locks.get(id) {
            let from = (did.clone(), String::new());
            let held = locks.range(from..).take_while(|((file, _), _)| file == did).count();
            if held >= copies || locks.contains_key(&place) {
                return;
            }
        }
        let has_source = self.has_source(id, did);
        let at = self.replicas.entry(did.clone()).or_default();
        let known = at.get(rse).map(|replica| replica.state);
        let (progress, wanted) = match known {
            Some(ReplicaState::Available) => (Progress::Ok, false),
            Some(ReplicaState::Copying | ReplicaState::BeingDeleted | ReplicaState::Bad) => {
                (Progress::Replicating, false)
            }
            Some(ReplicaState::Unavailable) | None if has_source => (Progress::Replicating, true),
            Some(ReplicaState::Unavailable) | None => (Progress::Stuck, false),
        };
        let replica = at.entry(rse.to_owned()).or_insert(Replica {
            state: ReplicaState::Unavailable,
            locks: 0,
            tombstone: None,
            created: now,
        });
        replica.locks += 1;
        replica.tombstone = None;
        if wanted {
            replica.state = ReplicaState::Copying;
            let transfer = Transfer { did: did.clone(), rse: rse.to_owned(), rule: id.to_owned(), attempts: 0 };
            self.queue.push_back(transfer);
        }
        self.locks.entry(id.to_owned()).or_default().insert(place.clone(), progress);
        self.locks_at.entry(place).or_default().insert(id.to_owned());
        self.count(id, progress, 1);
    }

    /// A source expression demands an available copy at one of its RSEs; without one Rucio does not look.
    fn has_source(&self, id: &str, did: &Did) -> bool {
        let Some(expression) = self.rules.get(id).and_then(|rule| rule.source_replica_expression.as_ref()) else {
            return true;
        };
        self.resolve(expression).is_ok_and(|sources| !sources.is_disjoint(&self.available_at(did)))
    }

    /// Adds to (or takes from) one of the rule's counters.
    pub(super) fn count(&mut self, id: &str, progress: Progress, change: i64) {
        if let Some(rule) = self.rules.get_mut(id) {
            let counter = match progress {
                Progress::Ok => &mut rule.locks_ok,
                Progress::Replicating => &mut rule.locks_replicating,
                Progress::Stuck => &mut rule.locks_stuck,
            };
            *counter = counter.saturating_add_signed(change);
        }
    }

    /// Derives a rule's state from its counters.
    pub(super) fn restate(&mut self, id: &str, now: SystemTime) {
        let Some(rule) = self.rules.get_mut(id) else { return };
        rule.updated = now;
        rule.state = if rule.locks_stuck > 0 {
            rule.error.get_or_insert_with(|| "MissingSourceReplica".to_owned());
            rule.stuck_at.get_or_insert(now);
            Progress::Stuck
        } else {
            rule.error = None;
            rule.stuck_at = None;
            if rule.locks_replicating > 0 { Progress::Replicating } else { Progress::Ok }
        };
    }

    /// The judge-evaluator: gives what was attached since the last run its locks.
    pub(crate) fn evaluate(&mut self, now: SystemTime) {
        let mut grown: BTreeMap<Did, Vec<Did>> = BTreeMap::new();
        for (parent, child) in std::mem::take(&mut self.attached) {
            grown.entry(parent).or_default().push(child);
        }
        for (parent, children) in grown {
            let mut holders = self.ancestors(&parent);
            holders.push(parent.clone());
            let rules: Vec<String> = holders
                .iter()
                .flat_map(|did| self.rules_on(did))
                .filter(|rule| !rule.suspended)
                .map(|rule| rule.id.clone())
                .collect();
            let mut groups: BTreeMap<Did, Vec<Did>> = BTreeMap::new();
            for (dataset, files) in children.iter().flat_map(|child| self.files_below(child)) {
                groups.entry(dataset.unwrap_or_else(|| parent.clone())).or_default().extend(files);
            }
            for (id, (dataset, files)) in rules.iter().flat_map(|id| groups.iter().map(move |group| (id, group))) {
                match self.apply_rule(id, Some(dataset), files, now) {
                    Ok(()) => self.restate(id, now),
                    Err(refusal) => self.mark_stuck(id, refusal.message, now),
                }
            }
        }
    }

    /// Every lock of the rule that waits for a transfer is stuck from now on.
    pub(super) fn stick_locks(&mut self, id: &str) {
        let waiting: Vec<_> =
            self.locks(id).filter(|(_, state)| *state == Progress::Replicating).map(|(p, _)| p.clone()).collect();
        for (did, rse) in waiting {
            self.set_lock(id, &did, &rse, Progress::Stuck);
        }
    }

    fn mark_stuck(&mut self, id: &str, error: String, now: SystemTime) {
        if let Some(rule) = self.rules.get_mut(id) {
            rule.state = Progress::Stuck;
            rule.error = Some(error);
            rule.updated = now;
        }
    }

    /// The judge-repairer: tries again what is stuck, for rules that rested `rest` since they were last touched.
    pub(crate) fn repair(&mut self, rest: Duration, now: SystemTime) {
        let due: Vec<String> = self
            .rules
            .values()
            .filter(|rule| rule.state == Progress::Stuck && !rule.suspended && rule.updated + rest <= now)
            .map(|rule| rule.id.clone())
            .collect();
        for id in due {
            let stuck: Vec<_> =
                self.locks(&id).filter(|(_, state)| *state == Progress::Stuck).map(|(p, _)| p.clone()).collect();
            for (did, rse) in stuck {
                if !self.has_source(&id, &did) {
                    continue;
                }
                match self.replicas.get(&did).and_then(|at| at.get(&rse)).map(|replica| replica.state) {
                    Some(ReplicaState::Available) => self.set_lock(&id, &did, &rse, Progress::Ok),
                    Some(ReplicaState::Copying) => self.set_lock(&id, &did, &rse, Progress::Replicating),
                    Some(ReplicaState::Unavailable) => {
                        self.set_lock(&id, &did, &rse, Progress::Replicating);
                        if let Some(replica) = self.replica_mut(&did, &rse) {
                            replica.state = ReplicaState::Copying;
                        }
                        self.queue.push_back(Transfer { did, rse, rule: id.clone(), attempts: 0 });
                    }
                    Some(ReplicaState::BeingDeleted | ReplicaState::Bad) | None => {}
                }
            }
            // locks that could not be made when the files came
            let groups = self.rules.get(&id).map(|rule| self.files_below(&rule.did)).unwrap_or_default();
            let made = groups.iter().try_for_each(|(set, files)| self.apply_rule(&id, set.as_ref(), files, now));
            match made {
                Ok(()) => self.restate(&id, now),
                Err(refusal) => self.mark_stuck(&id, refusal.message, now),
            }
        }
    }

    /// Moves a lock to another state, counters included.
    pub(super) fn set_lock(&mut self, id: &str, did: &Did, rse: &str, progress: Progress) {
        let place = (did.clone(), rse.to_owned());
        let Some(lock) = self.locks.get_mut(id).and_then(|locks| locks.get_mut(&place)) else { return };
        let before = std::mem::replace(lock, progress);
        self.count(id, before, -1);
        self.count(id, progress, 1);
    }

    /// When the judge has something to do next: an end of a rule, or a stuck rule that has rested.
    pub(crate) fn next_judgement(&self, rest: Duration) -> Option<SystemTime> {
        let ends = self.rules.values().filter_map(|rule| rule.expires);
        let stuck =
            self.rules.values().filter(|r| r.state == Progress::Stuck && !r.suspended).map(|rule| rule.updated + rest);
        ends.chain(stuck).min()
    }
}
