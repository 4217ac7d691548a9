//! The state machine by itself: no server, no files, no clock but the one in the test's hand.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use rucio_client::Did;
use serde_json::{Map, json};

use super::attach::{Attachment, Child};
use super::records::{Grouping, Kind, OBSOLETE, Progress, ReplicaState, Rse};
use super::replicas::Question;
use super::rules::{Change, NewRule, RuleChange};
use super::*;
use crate::refusal::{Class, Refusal};

const START: SystemTime = SystemTime::UNIX_EPOCH;
const REST: Duration = Duration::from_secs(10);
const DATASET: &str = "/ctao/test/d";

fn did(name: &str) -> Did {
    Did::new("test", name)
}

fn file(number: usize) -> Did {
    did(&format!("{DATASET}/f{number}"))
}

/// A catalogue with three RSEs, and a clock that moves when told.
struct World {
    catalog: Catalog,
    now: SystemTime,
}

impl World {
    fn new() -> Self {
        Self::with_attribute("", "")
    }

    /// Gives the on-site RSE one more attribute.
    fn with_attribute(key: &str, value: &str) -> Self {
        let mut catalog = Catalog::new(1);
        for (name, attributes) in [
            ("ON", vec![("ONSITE", "True"), (key, value)]),
            ("D1", vec![("OFFSITE", "True"), ("site", "A")]),
            ("D2", vec![("OFFSITE", "True"), ("site", "B")]),
        ] {
            let rse = Rse { id: name.to_owned(), directory: name.into(), prefix: format!("dav://{name}") };
            let attributes = attributes.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            catalog.add_rse(name, rse, &attributes);
        }
        catalog.add_account("ingest", true, &["test".to_owned()], START);
        catalog.add_account("owner", false, &["test".to_owned()], START);
        let mut world = Self { catalog, now: START + Duration::from_hours(24) };
        world.catalog.add_collections("ingest", &[(did(DATASET), Kind::Dataset)], world.now).unwrap();
        world
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn register(&mut self, files: &[Did]) -> Result<(), Refusal> {
        let child = |did: &Did| Child {
            did: did.clone(),
            bytes: Some(5),
            adler32: Some("05b901f7".to_owned()),
            md5: None,
            meta: Map::new(),
        };
        let children = files.iter().map(child).collect();
        let attachment = Attachment { parent: did(DATASET), rse: Some("ON".to_owned()), children };
        self.catalog.attach("ingest", &[attachment], true, self.now)
    }

    fn try_rule(&mut self, did: &Did, expression: &str, source: Option<&str>) -> Result<String, Refusal> {
        let new = NewRule {
            dids: vec![did.clone()],
            account: "ingest".to_owned(),
            copies: 1,
            rse_expression: expression.to_owned(),
            source_replica_expression: source.map(str::to_owned),
            grouping: Grouping::Dataset,
            lifetime: None,
            activity: None,
            comment: None,
            meta: None,
            priority: 3,
            locked: false,
            purge_replicas: false,
        };
        Ok(self.catalog.add_rules("ingest", &new, self.now)?.remove(0))
    }

    fn rule(&mut self, did: &Did, expression: &str) -> String {
        self.try_rule(did, expression, None).unwrap()
    }

    fn end(&mut self, rule: &str, purge: bool) {
        let change = RuleChange { lifetime: Change::Set(0.0), purge_replicas: Some(purge), ..RuleChange::default() };
        self.catalog.update_rule("ingest", rule, &change, self.now).unwrap();
        self.catalog.clean(self.now);
    }

    /// Takes all transfers and lets them end so. Returns how many there were.
    fn transfer(&mut self, outcome: &Result<(), String>) -> usize {
        let orders = self.catalog.take_transfers(usize::MAX);
        for order in &orders {
            self.catalog.end_transfer(order, outcome.clone(), self.now);
        }
        orders.len()
    }

    fn state(&self, did: &Did, rse: &str) -> Option<ReplicaState> {
        self.catalog.replicas.get(did).and_then(|at| at.get(rse)).map(|replica| replica.state)
    }

    fn progress(&self, rule: &str) -> (Progress, u64, u64, u64) {
        let rule = self.catalog.rule(rule).unwrap();
        (rule.state, rule.locks_ok, rule.locks_replicating, rule.locks_stuck)
    }

    /// No lock, replica, counter or index contradicts another.
    fn assert_consistent(&self) {
        let catalog = &self.catalog;
        for (id, locks) in &catalog.locks {
            assert!(catalog.rules.contains_key(id), "locks of a rule that is gone");
            for place in locks.keys() {
                assert!(self.state(&place.0, &place.1).is_some(), "{place:?} is locked and not there");
                assert!(catalog.locks_at[place].contains(id), "{place:?} does not know its lock");
            }
        }
        for (did, at) in &catalog.replicas {
            assert!(catalog.dids.contains_key(did), "replicas of a DID that is gone");
            assert!(!at.is_empty(), "a DID without any replica");
            for (rse, replica) in at {
                let held = catalog.locks_at.get(&(did.clone(), rse.clone())).map_or(0, BTreeSet::len);
                assert_eq!(replica.locks as usize, held, "{did} at {rse}");
                assert!(held == 0 || replica.tombstone.is_none(), "{did} at {rse} is held and doomed");
            }
        }
        for rule in catalog.rules.values() {
            let count = |wanted| catalog.locks(&rule.id).filter(|(_, state)| *state == wanted).count() as u64;
            let counted = (count(Progress::Ok), count(Progress::Replicating), count(Progress::Stuck));
            assert_eq!(counted, (rule.locks_ok, rule.locks_replicating, rule.locks_stuck));
        }
    }
}

fn failure() -> Result<(), String> {
    Err("no luck".to_owned())
}

#[test]
fn a_rule_is_fulfilled_by_a_transfer_and_its_row_shows_it() {
    let mut world = World::new();
    world.register(&[file(0)]).unwrap();
    let rule = world.rule(&file(0), "D1");
    assert_eq!(world.progress(&rule), (Progress::Replicating, 0, 1, 0));
    assert_eq!(world.state(&file(0), "D1"), Some(ReplicaState::Copying));
    assert_eq!(world.transfer(&Ok(())), 1);
    assert_eq!(world.progress(&rule), (Progress::Ok, 1, 0, 0));
    assert_eq!(world.state(&file(0), "D1"), Some(ReplicaState::Available));
}

#[test]
fn a_dataset_rule_lies_until_evaluated_and_then_keeps_the_dataset_together() {
    let mut world = World::new();
    let rule = world.rule(&did(DATASET), "OFFSITE");
    assert_eq!(world.progress(&rule), (Progress::Ok, 0, 0, 0));
    let mut homes = BTreeSet::new();
    for n in 0..20 {
        world.register(&[file(n)]).unwrap();
        assert_eq!(world.progress(&rule), (Progress::Ok, n as u64, 0, 0), "not evaluated yet");
        world.catalog.evaluate(world.now);
        assert_eq!(world.progress(&rule), (Progress::Replicating, n as u64, 1, 0));
        world.transfer(&Ok(()));
        homes.extend(world.catalog.available_at(&file(n)));
    }
    homes.remove("ON");
    assert_eq!(homes.len(), 1, "{homes:?}");
    world.assert_consistent();
}

#[test]
fn a_rule_on_a_container_reaches_the_files_of_later_datasets() {
    let mut world = World::new();
    let container = did("/ctao/test/c");
    world.catalog.add_collections("ingest", &[(container.clone(), Kind::Container)], world.now).unwrap();
    let rule = world.rule(&container, "D2");
    world.register(&[file(0), file(1)]).unwrap();
    let child = Child { did: did(DATASET), bytes: None, adler32: None, md5: None, meta: Map::new() };
    let attachment = Attachment { parent: container, rse: None, children: vec![child] };
    world.catalog.attach("ingest", &[attachment], true, world.now).unwrap();
    world.catalog.evaluate(world.now);
    assert_eq!(world.progress(&rule), (Progress::Replicating, 0, 2, 0));
}

#[test]
fn the_fourth_failure_leaves_the_rule_stuck_until_it_has_rested_or_is_boosted() {
    let mut world = World::new();
    world.register(&[file(0)]).unwrap();
    let rule = world.rule(&file(0), "D1");
    for attempt in 1..=4 {
        assert_eq!(world.progress(&rule).0, Progress::Replicating, "before attempt {attempt}");
        assert_eq!(world.transfer(&failure()), 1);
    }
    assert_eq!(world.progress(&rule), (Progress::Stuck, 0, 0, 1));
    assert_eq!(world.catalog.rule(&rule).unwrap().error.as_deref(), Some("no luck"));
    assert_eq!(world.state(&file(0), "D1"), Some(ReplicaState::Unavailable));

    world.wait(REST / 2);
    world.catalog.repair(REST, world.now);
    assert_eq!(world.progress(&rule).0, Progress::Stuck, "it has not rested enough");
    let boost = RuleChange { boost: true, ..RuleChange::default() };
    world.catalog.update_rule("ingest", &rule, &boost, world.now).unwrap();
    world.catalog.repair(REST, world.now);
    assert_eq!(world.progress(&rule), (Progress::Replicating, 0, 1, 0));
    world.transfer(&Ok(()));
    assert_eq!(world.progress(&rule), (Progress::Ok, 1, 0, 0));
    assert_eq!(world.catalog.rule(&rule).unwrap().error, None);
    world.assert_consistent();
}

#[test]
fn a_rule_without_its_source_is_stuck_until_the_source_is_there() {
    let mut world = World::new();
    world.register(&[file(0)]).unwrap();
    let second = world.try_rule(&file(0), "D2", Some("D1")).unwrap();
    assert_eq!(world.progress(&second), (Progress::Stuck, 0, 0, 1));
    assert_eq!(world.catalog.rule(&second).unwrap().error.as_deref(), Some("MissingSourceReplica"));
    world.wait(REST);
    world.catalog.repair(REST, world.now);
    assert_eq!(world.progress(&second).0, Progress::Stuck);
    world.rule(&file(0), "D1");
    world.transfer(&Ok(()));
    world.wait(REST);
    world.catalog.repair(REST, world.now);
    let orders = world.catalog.take_transfers(9);
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].sources, ["D1"], "the site's own copy is no source for the second");
}

#[test]
fn only_a_purged_replica_is_condemned_unless_the_rse_is_greedy() {
    for (greedy, purge, condemned) in [(false, false, 0), (false, true, 1), (true, false, 1), (true, true, 1)] {
        let mut world = if greedy { World::with_attribute("greedyDeletion", "True") } else { World::new() };
        world.register(&[file(0)]).unwrap();
        let rule = world.rule(&file(0), "ON");
        assert_eq!(world.catalog.condemn(world.now), 0, "a rule holds it");
        world.end(&rule, purge);
        assert_eq!(world.catalog.condemn(world.now), condemned, "greedy {greedy}, purge {purge}");
    }
}

#[test]
fn a_replica_without_a_rule_is_safe_unless_the_rse_has_a_tombstone_delay() {
    let mut world = World::new();
    world.register(&[file(0)]).unwrap();
    assert_eq!(world.catalog.condemn(world.now), 0);
    let mut world = World::with_attribute("tombstone_delay", "-1");
    world.register(&[file(0)]).unwrap();
    assert_eq!(world.catalog.replicas[&file(0)]["ON"].tombstone, Some(OBSOLETE));
    assert_eq!(world.catalog.condemn(world.now), 1);
}

#[test]
fn what_is_being_deleted_shows_with_all_states_and_takes_no_new_rule() {
    let mut world = World::new();
    world.register(&[file(0)]).unwrap();
    let rule = world.rule(&file(0), "ON");
    world.end(&rule, true);
    world.catalog.condemn(world.now);
    let list = |all_states| {
        let question = Question { dids: vec![file(0)], all_states, ..Question::default() };
        world.catalog.list_replicas(&question).unwrap().remove(0).copies.into_iter().map(|copy| copy.1).collect()
    };
    let (available, all): (Vec<_>, Vec<_>) = (list(false), list(true));
    assert_eq!((available, all), (vec![], vec![ReplicaState::BeingDeleted]));
    assert_eq!(world.try_rule(&file(0), "ON", None).unwrap_err().class, Class::InsufficientTargetRses);
    world.register(&[file(0)]).unwrap();
    assert_eq!(world.state(&file(0), "ON"), Some(ReplicaState::BeingDeleted), "registering again does nothing");
}

#[test]
fn with_the_last_copy_everything_goes() {
    let mut world = World::new();
    world.register(&[file(0), file(1)]).unwrap();
    let rule = world.rule(&file(0), "ON");
    world.end(&rule, true);
    world.catalog.condemn(world.now);
    assert_eq!(world.catalog.condemned(), [(file(0), "ON".to_owned())]);
    world.catalog.remove_replica(&file(0), "ON");
    assert!(!world.catalog.dids.contains_key(&file(0)));
    assert_eq!(world.catalog.content(&did(DATASET)).unwrap().len(), 1);
    world.catalog.evaluate(world.now);
    world.assert_consistent();
}

#[test]
fn a_copy_that_a_transfer_reads_is_spared() {
    let mut world = World::new();
    world.register(&[file(0)]).unwrap();
    let keep = world.rule(&file(0), "ON");
    world.rule(&file(0), "D1");
    let orders = world.catalog.take_transfers(9);
    world.end(&keep, true);
    assert_eq!(world.catalog.condemn(world.now), 0);
    world.catalog.end_transfer(&orders[0], Ok(()), world.now);
    assert_eq!(world.catalog.condemn(world.now), 1);
}

#[test]
fn a_transfer_whose_rule_ended_is_not_wanted_and_its_remains_are_reaped() {
    let mut world = World::new();
    world.register(&[file(0)]).unwrap();
    let rule = world.rule(&file(0), "D1");
    let orders = world.catalog.take_transfers(9);
    world.end(&rule, false);
    assert!(!world.catalog.end_transfer(&orders[0], Ok(()), world.now));
    assert_eq!(world.state(&file(0), "D1"), Some(ReplicaState::Unavailable));
    assert_eq!(world.catalog.condemn(world.now), 1);
    world.assert_consistent();
}

#[test]
fn the_judge_wakes_for_the_end_of_a_rule() {
    let mut world = World::new();
    world.register(&[file(0)]).unwrap();
    let rule = world.rule(&file(0), "ON");
    assert_eq!(world.catalog.next_judgement(REST), None);
    world.catalog.delete_rule("ingest", &rule, None, world.now).unwrap();
    assert_eq!(world.catalog.next_judgement(REST), Some(world.now + Duration::from_hours(1)));
    world.catalog.clean(world.now);
    assert!(world.catalog.rules.contains_key(&rule));
    world.wait(Duration::from_hours(1));
    world.catalog.clean(world.now);
    assert!(!world.catalog.rules.contains_key(&rule));
}

#[test]
fn rights_are_those_of_the_generic_policy() {
    let mut world = World::new();
    world.register(&[file(0)]).unwrap();
    let meta: Map<_, _> = json!({"a": 1}).as_object().unwrap().clone();
    world.catalog.set_metadata("owner", &[(file(0), meta.clone())], world.now).unwrap();
    let refused = world.catalog.set_metadata("nobody", &[(file(0), meta)], world.now).unwrap_err();
    assert_eq!(refused.class, Class::AccessDenied);
    let rule = world.rule(&file(0), "ON");
    let change = RuleChange { purge_replicas: Some(true), ..RuleChange::default() };
    let refused = world.catalog.update_rule("owner", &rule, &change, world.now).unwrap_err();
    assert_eq!(refused.class, Class::AccessDenied, "even on one's own rules it takes an admin");
}

/// Anything that can happen to a catalogue, as numbers for the generator.
#[derive(Clone, Debug)]
enum Step {
    Register(usize),
    Rule(usize, usize),
    DatasetRule(usize),
    End(usize, bool),
    Transfer(bool),
    TakeOnly,
    Evaluate,
    Repair,
    Condemn,
    Reap,
    Lose(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..4usize).prop_map(Step::Register),
        3 => (0..4usize, 0..5usize).prop_map(|(file, to)| Step::Rule(file, to)),
        1 => (0..5usize).prop_map(Step::DatasetRule),
        3 => (0..8usize, any::<bool>()).prop_map(|(rule, purge)| Step::End(rule, purge)),
        4 => any::<bool>().prop_map(Step::Transfer),
        1 => Just(Step::TakeOnly),
        2 => Just(Step::Evaluate),
        1 => Just(Step::Repair),
        2 => Just(Step::Condemn),
        2 => Just(Step::Reap),
        1 => (0..4usize, 0..3usize).prop_map(|(file, rse)| Step::Lose(file, rse)),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_catalogue_does_not_contradict_itself(steps in steps()) {
        const TARGETS: [(&str, Option<&str>); 5] =
            [("ON", None), ("OFFSITE", None), ("D1", None), ("D2", Some("D1")), (r"OFFSITE\D1", Some("ON"))];
        let mut world = World::new();
        let mut under_way = Vec::new();
        for step in steps {
            match step {
                Step::Register(n) => { let _ = world.register(&[file(n)]); }
                Step::Rule(n, to) => { let _ = world.try_rule(&file(n), TARGETS[to].0, TARGETS[to].1); }
                Step::DatasetRule(to) => { let _ = world.try_rule(&did(DATASET), TARGETS[to].0, TARGETS[to].1); }
                Step::End(n, purge) => {
                    let id = world.catalog.rules.keys().nth(n).cloned();
                    if let Some(id) = id { world.end(&id, purge); }
                }
                Step::Transfer(good) => {
                    let outcome = if good { Ok(()) } else { failure() };
                    for order in under_way.drain(..) {
                        world.catalog.end_transfer(&order, outcome.clone(), world.now);
                    }
                    world.transfer(&outcome);
                }
                Step::TakeOnly => under_way.extend(world.catalog.take_transfers(2)),
                Step::Evaluate => world.catalog.evaluate(world.now),
                Step::Repair => { world.wait(REST); world.catalog.repair(REST, world.now); }
                Step::Condemn => { world.catalog.condemn(world.now); }
                Step::Reap => for (did, rse) in world.catalog.condemned() {
                    world.catalog.remove_replica(&did, &rse);
                },
                Step::Lose(n, rse) => world.catalog.lose_replica(&file(n), ["ON", "D1", "D2"][rse]),
            }
            world.assert_consistent();
        }
    }
}
