//! Everything the miniature Rucio knows, and how it is looked up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::SystemTime;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::records::{
    Account, Declaration, DidRecord, Kind, Progress, ROOT, Replica, ReplicaState, Rse, Rule, Transfer,
};
use super::schema::is_rule_id;
use crate::expression::{Attributes, Expression};
use crate::journal::Event;
use crate::refusal::{Class, Refusal, refuse};
use rucio_client::Did;

/// Where a lock sits: the file and the RSE.
pub(crate) type Place = (Did, String);

/// Everything the miniature Rucio knows.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) rses: BTreeMap<String, Rse>,
    pub(crate) attributes: Attributes,
    /// RSEs to which nothing is written.
    pub(crate) closed: BTreeSet<String>,
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) dids: BTreeMap<Did, DidRecord>,
    pub(crate) replicas: BTreeMap<Did, BTreeMap<String, Replica>>,
    pub(crate) rules: BTreeMap<String, Rule>,
    pub(super) rules_on: BTreeMap<Did, BTreeSet<String>>,
    pub(super) locks: BTreeMap<String, BTreeMap<Place, Progress>>,
    pub(super) locks_at: BTreeMap<Place, BTreeSet<String>>,
    /// Attachments the judge has not looked at yet: parent and new child.
    pub(super) attached: Vec<(Did, Did)>,
    pub(super) queue: VecDeque<Transfer>,
    /// Transfers the conveyor has taken; a cancelled one is no longer here when it ends.
    pub(super) active: BTreeMap<Place, Transfer>,
    /// Where transfers under way read from.
    pub(super) sources: BTreeMap<Place, u32>,
    pub(super) declared: Vec<Declaration>,
    pub(super) rng: StdRng,
    pub(super) events: Vec<Event>,
}

impl Catalog {
    /// An empty catalogue; `seed` decides which RSE a rule picks when several serve.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rses: BTreeMap::new(),
            attributes: Attributes::new(),
            closed: BTreeSet::new(),
            accounts: BTreeMap::new(),
            scopes: BTreeSet::new(),
            dids: BTreeMap::new(),
            replicas: BTreeMap::new(),
            rules: BTreeMap::new(),
            rules_on: BTreeMap::new(),
            locks: BTreeMap::new(),
            locks_at: BTreeMap::new(),
            attached: Vec::new(),
            queue: VecDeque::new(),
            active: BTreeMap::new(),
            sources: BTreeMap::new(),
            declared: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
            events: Vec::new(),
        }
    }

    /// Adds a storage element. Its own name becomes an attribute, as in Rucio.
    pub(crate) fn add_rse(&mut self, name: &str, rse: Rse, attributes: &BTreeMap<String, String>) {
        let mut attributes = attributes.clone();
        attributes.insert(name.to_owned(), "True".to_owned());
        self.attributes.insert(name.to_owned(), attributes);
        self.rses.insert(name.to_owned(), rse);
    }

    /// Sets an attribute of a storage element, or removes it. An RSE that is not known stays so.
    pub(crate) fn set_attribute(&mut self, rse: &str, key: &str, value: Option<&str>) {
        let Some(attributes) = self.attributes.get_mut(rse) else { return };
        match value {
            Some(value) => drop(attributes.insert(key.to_owned(), value.to_owned())),
            None => drop(attributes.remove(key)),
        }
    }

    /// Closes a storage element for writing, or opens it: what is to go there waits in the queue.
    pub(crate) fn close(&mut self, rse: &str, closed: bool) {
        if closed {
            self.closed.insert(rse.to_owned());
        } else {
            self.closed.remove(rse);
        }
    }

    /// Adds an account that owns these scopes.
    pub(crate) fn add_account(&mut self, name: &str, admin: bool, scopes: &[String], now: SystemTime) {
        self.scopes.extend(scopes.iter().cloned());
        let scopes = scopes.iter().cloned().collect();
        self.accounts.insert(name.to_owned(), Account { admin, scopes, created: now });
    }

    /// Gives an account the attribute `admin`, or takes it away.
    pub(crate) fn set_admin(&mut self, name: &str, admin: bool) {
        if let Some(account) = self.accounts.get_mut(name) {
            account.admin = admin;
        }
    }

    /// Events since the last call, oldest first.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The RSEs selected by an expression.
    pub(crate) fn resolve(&self, expression: &str) -> Result<BTreeSet<String>, Refusal> {
        Expression::resolve(expression, &self.attributes)
    }

    /// Root and accounts with `admin=True` may everything.
    pub(crate) fn is_admin(&self, account: &str) -> bool {
        account == ROOT || self.accounts.get(account).is_some_and(|a| a.admin)
    }

    /// May the account write into the scope?
    pub(crate) fn owns(&self, account: &str, scope: &str) -> bool {
        self.is_admin(account) || self.accounts.get(account).is_some_and(|a| a.scopes.contains(scope))
    }

    /// The record of a DID that must exist.
    pub(crate) fn did(&self, did: &Did) -> Result<&DidRecord, Refusal> {
        self.dids.get(did).ok_or_else(|| not_found(did))
    }

    /// The record of an RSE that must exist.
    pub(crate) fn rse(&self, name: &str) -> Result<&Rse, Refusal> {
        self.rses
            .get(name)
            .ok_or_else(|| Refusal::new(Class::RseNotFound, format!("RSE '{name}' cannot be found in vo 'def'")))
    }

    /// The record of a rule that must exist.
    pub(crate) fn rule(&self, id: &str) -> Result<&Rule, Refusal> {
        if !is_rule_id(id) {
            return refuse(Class::RucioException, format!("Badly formatted rule id ({id})"));
        }
        self.rules.get(id).ok_or_else(|| Refusal::new(Class::RuleNotFound, format!("No rule with the id {id} found")))
    }

    /// The rules placed on a DID itself.
    pub(crate) fn rules_on(&self, did: &Did) -> impl Iterator<Item = &Rule> {
        self.rules_on.get(did).into_iter().flatten().filter_map(|id| self.rules.get(id))
    }

    /// The locks of a rule.
    pub(crate) fn locks(&self, rule: &str) -> impl Iterator<Item = (&Place, Progress)> {
        self.locks.get(rule).into_iter().flatten().map(|(place, state)| (place, *state))
    }

    /// RSEs at which the file can be read.
    pub(crate) fn available_at(&self, did: &Did) -> BTreeSet<String> {
        self.replicas
            .get(did)
            .into_iter()
            .flatten()
            .filter(|(_, replica)| replica.state == ReplicaState::Available)
            .map(|(rse, _)| rse.clone())
            .collect()
    }

    pub(super) fn replica_mut(&mut self, did: &Did, rse: &str) -> Option<&mut Replica> {
        self.replicas.get_mut(did).and_then(|at| at.get_mut(rse))
    }

    /// All collections above a DID, nearest first.
    pub(super) fn ancestors(&self, did: &Did) -> Vec<Did> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = vec![did.clone()];
        while let Some(child) = next.pop() {
            for parent in self.dids.get(&child).into_iter().flat_map(|record| &record.parents) {
                if seen.insert(parent.clone()) {
                    found.push(parent.clone());
                    next.push(parent.clone());
                }
            }
        }
        found
    }

    /// Files below a DID, each group one dataset (or the file itself when the DID is one).
    pub(super) fn files_below(&self, did: &Did) -> Vec<(Option<Did>, Vec<Did>)> {
        match self.dids.get(did) {
            None => Vec::new(),
            Some(record) => match record.kind {
                Kind::File => vec![(None, vec![did.clone()])],
                Kind::Dataset => vec![(Some(did.clone()), record.children.iter().cloned().collect())],
                Kind::Container => record.children.iter().flat_map(|child| self.files_below(child)).collect(),
            },
        }
    }
}

pub(super) fn not_found(did: &Did) -> Refusal {
    Refusal::new(Class::DataIdentifierNotFound, format!("Data identifier '{did}' not found"))
}
