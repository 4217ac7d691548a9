//! The custody protocol, explored exhaustively.
//!
//! The daemon's stages are modelled effect by effect (`daemon.rs`, `release.rs`), with a stop possible between any two,
//! against Rucio, two data centres, storages, ACADA and operators who do what they please within the bounds
//! (`surroundings.rs`). What the daemon decides, it decides by production's own code: the legal moves, the proofs of the
//! copies, the evidence, the release order and the invariants of `dl0_ingest::custody` (`proof.rs`). Every reachable
//! state is held against `custody::invariants::world`, and from every reachable state an end must be reachable by steps
//! that happen sooner or later by themselves.
//!
//! `DL0_INGEST_MODEL=deep cargo nextest run --test model` allows one misfortune more for a single file, and an
//! operator for two. docs/reliability.md tells what is modelled and what is assumed.
#![allow(clippy::struct_excessive_bools)] // rows and facts are made of yes and no

mod daemon;
mod explore;
mod proof;
mod release;
mod steps;
mod surroundings;
mod world;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;

use dl0_ingest::custody::invariants::world::{FileFacts, OnSite, Protection};
use dl0_ingest::custody::{Copies, State};
use rustc_hash::FxBuildHasher;

use self::explore::{Model, Report, Step, What, explore};
use self::steps::Steps;
use self::world::{Bytes, File, Hands, OnSiteRule, RSES, SITES, World};

/// The protocol as it is built, or broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    AsBuilt,
    /// Rucio's word is enough for a copy.
    NoStorageCheck,
    /// Release does not look again, the look of confirm will do.
    NoFreshLook,
    /// Two copies at one site will do.
    AnyTwoRses,
    /// The intent is recorded when the on-site rule has ended.
    IntentAfterEffect,
    /// The file on disk is not looked at before it is given up.
    NoRestat,
    /// A rule in state OK proves its copy.
    RuleStateIsProof,
    /// Whether what carries a rule has an end is not asked.
    EndUnasked,
    /// The ledger is not read again right before the on-site rule is ended.
    NoReadBack,
    /// What Rucio left behind is removed without a look at the copies.
    LeftoverUnasked,
    /// A file that vanishes between intent and release is held, without asking whether a late request has ended the on-site rule.
    LateEndUnasked,
    /// A file whose first copy is overdue is not looked at on site.
    OverdueUnasked,
    /// A second delivery is settled only after a release that was begun, though that waits for it.
    ReleaseBeforeComparison,
    /// A bad file is moved before its sentence is on record.
    SentenceAfterMove,
    /// The trigger goes before the registration.
    TriggerFirst,
}

/// What may happen how often.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Copies lost, damaged, declared bad or out of reach, and lies of Rucio's, all together.
    misfortunes: u8,
    /// ACADA delivers again, or somebody overwrites the file.
    second_delivery: bool,
    /// Also while the on-site copy is being deleted by that name.
    other_content_at_any_time: bool,
    /// An operator may hold the file at any time.
    operator: bool,
    /// Somebody may give the dataset an end, a misfortune, and take it away again.
    undertaker: bool,
    /// The first delivery is not sound.
    bad: bool,
}

const QUIET: Bounds = Bounds {
    misfortunes: 0,
    second_delivery: false,
    other_content_at_any_time: false,
    operator: false,
    undertaker: false,
    bad: false,
};

struct Custody<const N: usize> {
    variant: Variant,
    bounds: Bounds,
    grain: Grain,
    /// Whole stages of a file, as they are the same whatever the other files do.
    stages: RefCell<HashMap<World<1>, Vec<Step<World<1>>>>>,
}

/// What happens between two steps of the daemon with one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grain {
    /// Anything that concerns it or the other files. The storages answer at one moment.
    Effects,
    /// The same, and the storages answer at moments of their own, in any order.
    Answers,
    /// Nothing but a stop, until its hands are free again. Files are alike: which is which does not count.
    Stages,
}

impl<const N: usize> Model for Custody<N> {
    type State = World<N>;

    fn starts(&self) -> Vec<World<N>> {
        let files = [File::delivered(self.bounds.bad); N];
        let misfortunes = self.bounds.misfortunes;
        vec![World { files, first_copy_rule: None, first_copy_rule_known: false, dataset_ends: false, misfortunes }]
    }

    fn steps(&self, world: &World<N>) -> Vec<Step<World<N>>> {
        let mut out = Steps::new(*world);
        out.one_by_one = self.grain == Grain::Answers;
        for file in 0..N {
            out.file = file;
            match self.grain {
                Grain::Effects | Grain::Answers => daemon::steps(self.variant, world, &mut out),
                Grain::Stages => out.possible.extend(self.stage(world, file)),
            }
            surroundings::steps(self.bounds, world, &mut out);
        }
        if self.grain == Grain::Stages {
            for step in &mut out.possible {
                step.to.files.sort_unstable_by_key(|file| FxBuildHasher.hash_one(file));
            }
        }
        out.possible
    }

    fn broken(&self, world: &World<N>) -> Option<String> {
        world.files.iter().find_map(violation)
    }

    fn end(&self, world: &World<N>) -> Option<String> {
        let mut ends = Vec::with_capacity(N);
        for file in &world.files {
            let row = file.row.filter(|row| !row.redelivered && file.hands == Hands::Free)?;
            let announced = file.trigger && file.disk.is_some_and(|found| found != row.delivery);
            let ended = match row.state {
                State::Held => true,
                State::Released | State::Rejected => !announced,
                _ => false,
            };
            ended.then(|| ends.push(row.state.as_str()))?;
        }
        Some(ends.join(", "))
    }
}

impl<const N: usize> Custody<N> {
    /// What the daemon may do with a file until its hands are free again.
    fn stage(&self, world: &World<N>, file: usize) -> Vec<Step<World<N>>> {
        let World { files, first_copy_rule, first_copy_rule_known, dataset_ends, .. } = *world;
        let alone =
            World { files: [files[file]], first_copy_rule, first_copy_rule_known, dataset_ends, misfortunes: 0 };
        let mut stages = self.stages.borrow_mut();
        let known = stages.entry(alone).or_insert_with(|| whole_stage(self.variant, alone));
        let among_others = |step: &Step<World<1>>| {
            let World { files: [after], first_copy_rule, first_copy_rule_known, .. } = step.to;
            let mut to = World { first_copy_rule, first_copy_rule_known, ..*world };
            to.files[file] = after;
            Step { what: What { file, ..step.what }, fair: step.fair, to, broken: step.broken.clone() }
        };
        known.iter().map(among_others).collect()
    }
}

/// By whatever ways, with a stop at any effect.
fn whole_stage(variant: Variant, begin: World<1>) -> Vec<Step<World<1>>> {
    let (mut done, mut seen, mut under_way) = (Vec::new(), HashSet::new(), vec![(begin, true)]);
    while let Some((at, fair)) = under_way.pop() {
        let mut out = Steps::new(at);
        daemon::steps(variant, &at, &mut out);
        for mut step in out.possible {
            step.fair &= fair;
            step.broken = step.broken.or_else(|| violation(&step.to.files[0]));
            if step.broken.is_none() && !seen.insert((step.to, step.fair)) {
                continue;
            }
            if step.to.files[0].hands == Hands::Free || step.broken.is_some() {
                done.push(step);
            } else {
                under_way.push((step.to, step.fair));
            }
        }
    }
    done
}

fn violation(file: &File) -> Option<String> {
    facts(file).violations(Copies::MIN).first().map(ToString::to_string)
}

/// What is true of a file, as the constitution asks for it.
fn facts(file: &File) -> FileFacts {
    let owed = file.owed();
    let good = |site: &str| (0..RSES).any(|rse| SITES[rse] == site && file.copies[rse].bytes == Bytes::Of(owed));
    FileFacts {
        lfn: String::new(),
        state: file.row.map(|row| row.state),
        evidence_on_record: file.row.is_some_and(|row| row.evidence),
        // the model's evidence is a fact, not a text
        sites_on_record: None,
        sentence_on_record: file.row.is_some_and(|row| row.sentence),
        on_site: Some(match file.disk {
            None => OnSite::Absent,
            Some(found) if file.content(found) == owed => OnSite::Delivered,
            Some(_) => OnSite::Other,
        }),
        set_aside: Some(file.set_aside.is_some_and(|aside| file.reason_lies && file.content(aside) == owed)),
        trigger: Some(file.trigger),
        protection: file.row.and_then(|row| row.on_site_rule).map(|id| match file.on_site_rule {
            OnSiteRule::Stands(standing) if standing == id => Protection::Holds,
            _ => Protection::Ended,
        }),
        good_sites: Some(u32::from(good("north")) + u32::from(good("south"))),
        destroyed_since: u32::from(file.destroyed),
    }
}

/// More states than any of the bounds here has.
const MOST: usize = 60_000_000;

fn run<const N: usize>(variant: Variant, bounds: Bounds, grain: Grain) -> Report {
    let started = std::time::Instant::now();
    let report = explore(&Custody::<N> { variant, bounds, grain, stages: RefCell::default() }, MOST);
    println!("{variant:?}, {N} file(s), {grain:?}, {bounds:?}: {report}, {:.1?}", started.elapsed());
    report
}

fn holds<const N: usize>(bounds: Bounds) -> Report {
    holds_by::<N>(bounds, Grain::Effects)
}

fn holds_by<const N: usize>(bounds: Bounds, grain: Grain) -> Report {
    let report = run::<N>(Variant::AsBuilt, bounds, grain);
    if let Some(counterexample) = &report.counterexample {
        panic!("{counterexample}");
    }
    report
}

fn is_caught(variant: Variant, bounds: Bounds, by: &str) {
    is_caught_by::<1>(variant, bounds, Grain::Effects, by);
}

fn is_caught_by<const N: usize>(variant: Variant, bounds: Bounds, grain: Grain, by: &str) {
    let report = run::<N>(variant, bounds, grain);
    let counterexample = report.counterexample.unwrap_or_else(|| panic!("{variant:?} was not caught"));
    println!("{variant:?}: {counterexample}");
    assert!(counterexample.why.contains(by), "{variant:?} was caught, but not by {by}: {counterexample}");
}

fn is_deep() -> bool {
    std::env::var("DL0_INGEST_MODEL").is_ok_and(|bounds| bounds == "deep")
}

#[test]
fn left_in_peace_every_sound_file_is_released_wherever_the_daemon_stops() {
    let report = holds::<1>(QUIET);
    assert_eq!(report.ends.keys().collect::<Vec<_>>(), ["released"]);
}

#[test]
fn left_in_peace_every_bad_file_is_rejected_wherever_the_daemon_stops() {
    let report = holds::<1>(Bounds { bad: true, ..QUIET });
    assert_eq!(report.ends.keys().collect::<Vec<_>>(), ["rejected"]);
}

#[test]
fn two_files_of_one_dataset_do_not_stand_in_each_others_way() {
    let report = holds::<2>(QUIET);
    assert_eq!(report.ends.keys().collect::<Vec<_>>(), ["released, released"]);
}

#[test]
fn three_files_of_one_dataset_do_not_stand_in_each_others_way() {
    let report = holds_by::<3>(QUIET, Grain::Stages);
    assert_eq!(report.ends.keys().collect::<Vec<_>>(), ["released, released, released"]);
}

#[test]
fn no_misfortune_loses_one_of_two_files() {
    holds_by::<2>(Bounds { misfortunes: 1, operator: is_deep(), ..QUIET }, Grain::Stages);
}

#[test]
fn no_misfortune_loses_a_file() {
    holds::<1>(Bounds { misfortunes: if is_deep() { 3 } else { 2 }, operator: true, ..QUIET });
}

#[test]
fn no_order_of_answers_loses_a_file() {
    holds_by::<1>(Bounds { misfortunes: if is_deep() { 2 } else { 1 }, operator: true, ..QUIET }, Grain::Answers);
}

#[test]
fn no_end_of_its_dataset_loses_a_file() {
    let misfortunes = if is_deep() { 3 } else { 2 };
    holds::<1>(Bounds { misfortunes, undertaker: true, ..QUIET });
    holds_by::<2>(Bounds { misfortunes: 1, undertaker: true, ..QUIET }, Grain::Stages);
}

#[test]
fn a_release_from_a_dataset_that_is_about_to_end_is_caught() {
    is_caught(Variant::EndUnasked, Bounds { misfortunes: 1, undertaker: true, ..QUIET }, "I2");
}

#[test]
fn answers_that_are_older_than_the_look_are_caught_in_any_order() {
    is_caught_by::<1>(Variant::NoFreshLook, Bounds { misfortunes: 1, ..QUIET }, Grain::Answers, "I2");
}

#[test]
fn no_second_delivery_loses_a_file() {
    let misfortunes = if is_deep() { 2 } else { 1 };
    for bad in [false, true] {
        holds::<1>(Bounds { misfortunes, second_delivery: true, bad, ..QUIET });
    }
}

#[test]
fn what_is_broken_is_caught_among_several_files_and_by_stages_too() {
    is_caught_by::<2>(Variant::NoStorageCheck, Bounds { misfortunes: 1, ..QUIET }, Grain::Stages, "I2");
    is_caught_by::<3>(Variant::AnyTwoRses, QUIET, Grain::Stages, "I2");
    is_caught_by::<3>(Variant::IntentAfterEffect, QUIET, Grain::Stages, "I5");
    is_caught_by::<3>(Variant::TriggerFirst, QUIET, Grain::Stages, "I1");
}

#[test]
fn proofs_without_the_storages_word_are_caught() {
    is_caught(Variant::NoStorageCheck, Bounds { misfortunes: 1, ..QUIET }, "I2");
}

#[test]
fn a_release_on_an_old_look_is_caught() {
    is_caught(Variant::NoFreshLook, Bounds { misfortunes: 1, ..QUIET }, "I2");
}

#[test]
fn two_copies_at_one_site_are_caught() {
    is_caught(Variant::AnyTwoRses, QUIET, "I2");
}

#[test]
fn an_intent_after_the_effect_is_caught() {
    is_caught(Variant::IntentAfterEffect, QUIET, "I5");
}

#[test]
fn a_file_that_is_not_looked_at_before_it_goes_is_caught() {
    is_caught(Variant::NoRestat, Bounds { second_delivery: true, ..QUIET }, "I2");
}

#[test]
fn a_rules_state_as_proof_is_caught() {
    is_caught(Variant::RuleStateIsProof, Bounds { misfortunes: 1, ..QUIET }, "I2");
}

#[test]
fn a_release_against_an_operators_hold_is_caught() {
    is_caught(Variant::NoReadBack, Bounds { operator: true, ..QUIET }, "although the ledger says held");
}

#[test]
fn a_leftover_removed_without_a_look_is_caught() {
    is_caught(Variant::LeftoverUnasked, Bounds { misfortunes: 1, ..QUIET }, "I2");
}

#[test]
fn a_file_moved_aside_before_its_sentence_is_caught() {
    is_caught(Variant::SentenceAfterMove, Bounds { bad: true, ..QUIET }, "I3");
}

#[test]
fn a_trigger_that_goes_before_the_registration_is_caught() {
    is_caught(Variant::TriggerFirst, QUIET, "I1");
}

#[test]
fn other_content_under_a_name_that_is_being_deleted_would_be_lost() {
    // not a variant of ours: it shows that the assumption is needed
    is_caught(Variant::AsBuilt, Bounds { second_delivery: true, other_content_at_any_time: true, ..QUIET }, "I2");
}

#[test]
fn a_late_request_that_is_taken_for_a_vanished_file_needs_a_hand() {
    let report = run::<1>(Variant::LateEndUnasked, QUIET, Grain::Effects);
    assert_eq!(report.ends.keys().collect::<Vec<_>>(), ["held", "released"]);
}

#[test]
fn a_changed_file_that_waits_for_a_copy_for_ever_is_caught() {
    is_caught(Variant::OverdueUnasked, Bounds { second_delivery: true, ..QUIET }, "no end can be reached");
}

#[test]
fn a_release_and_a_second_delivery_that_wait_for_each_other_are_caught() {
    is_caught(Variant::ReleaseBeforeComparison, Bounds { second_delivery: true, ..QUIET }, "no end can be reached");
}
