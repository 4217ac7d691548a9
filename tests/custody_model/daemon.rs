//! The daemon as it is built, from the trigger to the rules of the off-site copies: what each stage asks, changes and
//! records, in its order. A stop, a refused call and a call whose answer is lost end alike: the hands are free, what was
//! done stays done, and the ledger says where to go on.

use std::path::Path;

use dl0_ingest::custody::State;
use dl0_ingest::custody::invariants::{
    DecisionOnRecord, file_may_be_set_aside, trigger_may_go, trigger_of_rejected_may_go,
};

use crate::custody_model::steps::Steps;
use crate::custody_model::world::{
    Content, Copy, Delivery, File, Hands, Listed, Lock, OnSiteRule, RSES, Replica, Row, SITES, World,
};
use crate::custody_model::{Variant, release};

const IN_INVALID: &str = "ctao/acada/invalid/file";

/// One move in the ledger. Nothing happens if the row is no longer as claimed.
pub(crate) fn advance(file: &mut File, from: State, to: State) -> bool {
    from.moving_to(to).unwrap();
    let claimed = file.claimed;
    let Some(row) = file.row.as_mut().filter(|row| row.state == from && row.delivery == claimed) else { return false };
    row.state = to;
    true
}

pub(crate) fn hold(file: &mut File, from: State) {
    advance(file, from, State::Held);
    free(file);
}

pub(crate) fn free(file: &mut File) {
    file.hands = Hands::Free;
    if !file.rests_on_a_look() {
        (file.destroyed, file.end_stood) = (0, false);
    }
}

/// The row as it is on record, if it is as claimed.
pub(crate) fn unmoved(file: &File, state: State) -> Option<Row> {
    file.row.filter(|row| row.state == state && row.delivery == file.claimed)
}

pub(crate) fn decision(row: &Row) -> DecisionOnRecord<'static> {
    DecisionOnRecord {
        state: row.state,
        evidence: row.evidence.then_some(r#"{"copies": [{"site": "a"}, {"site": "b"}]}"#),
        invalid_path: row.sentence.then_some(IN_INVALID),
    }
}

/// Everything the daemon may do next with one file.
pub(crate) fn steps<const N: usize>(variant: Variant, world: &World<N>, out: &mut Steps<N>) {
    let file = world.files[out.file];
    if file.hands != Hands::Free {
        out.unfair("the daemon stops, or an answer is lost", free);
    }
    intake(&file, out);
    redelivery(&file, variant, out);
    triggers(&file, out);
    let Some(row) = file.row else { return };
    match file.hands {
        Hands::Free => match row.state {
            State::Discovered => discovered(&file, row, out),
            State::Verified => verified(&file, row, variant, out),
            State::Registered => registered(world, &file, row, variant, out),
            State::Replicated | State::Confirmed | State::Releasing => release::begin(&file, row, variant, out),
            State::Released | State::Rejected | State::Held => {}
        },
        Hands::FoundSound | Hands::FoundBad => judged(&file, variant, out),
        Hands::Sentenced | Hands::ReasonWritten | Hands::Aside | Hands::Untriggered => set_aside(&file, variant, out),
        Hands::Unchanged | Hands::Compared | Hands::Attached | Hands::Protected(_) => register(&file, out),
        Hands::SourceKnown(_) | Hands::Ordered => replicate(world, &file, variant, out),
        _ => release::steps(world, &file, variant, out),
    }
}

fn claim<const N: usize>(out: &mut Steps<N>, text: &'static str, row: Row, hands: Hands) {
    out.fair(text, move |file| {
        file.claimed = row.delivery;
        file.hands = hands;
    });
}

/// The file on disk is not the one recorded: it is taken as delivered anew.
fn rediscover(file: &mut File, found: Delivery) {
    if let Some(row) = &mut file.row {
        row.state.moving_to(State::Discovered).unwrap();
        *row = Row { on_site_rule: row.on_site_rule, redelivered: row.redelivered, ..Row::new(found) };
    }
    free(file);
}

fn intake<const N: usize>(file: &File, out: &mut Steps<N>) {
    let (true, Some(found)) = (file.trigger, file.disk) else { return };
    let Some(row) = file.row else {
        return out.fair("intake records the delivery", |file| file.row = Some(Row::new(found)));
    };
    if row.state == State::Held || (row.trigger_pending && row.delivery == found) {
        return;
    }
    match row.state {
        State::Discovered | State::Verified | State::Rejected => {
            out.fair("intake finds another file in its place", |file| {
                // what a stage has in its hands is void: its claim is of the earlier delivery
                let hands = file.hands;
                rediscover(file, found);
                file.hands = hands;
            });
        }
        _ if !row.redelivered => out.fair("intake records a second delivery", |file| {
            file.row.as_mut().unwrap().redelivered = true;
        }),
        _ => {}
    }
}

/// Second deliveries are read and compared.
fn redelivery<const N: usize>(file: &File, variant: Variant, out: &mut Steps<N>) {
    let Some(row) = file.row.filter(|row| row.redelivered) else { return };
    let Some(found) = file.disk else {
        return out.fair("the second delivery is gone before it is compared", |file| {
            file.row.as_mut().unwrap().redelivered = false;
        });
    };
    let same = file.did.is_none_or(|registered| registered == file.content(found));
    match (row.state, same) {
        // on its way out with its old copy: the road begins again when that is settled
        (State::Releasing, true) if row.release_ordered || variant == Variant::ReleaseBeforeComparison => {}
        (State::Discovered | State::Verified | State::Rejected | State::Held, _) => {
            out.fair("the second delivery is moot", |file| file.row.as_mut().unwrap().redelivered = false);
        }
        (_, true) => out.fair("the second delivery is identical", |file| {
            let row = file.row.as_mut().unwrap();
            if row.state == State::Released {
                row.state = row.state.moving_to(State::Verified).unwrap();
            }
            (row.delivery, row.trigger_pending, row.redelivered) = (found, true, false);
        }),
        (_, false) => out.fair("the second delivery differs: held", |file| {
            let row = file.row.as_mut().unwrap();
            row.state = row.state.moving_to(State::Held).unwrap();
            row.redelivered = false;
        }),
    }
}

/// Triggers of registered files go, each only while its file is the one on record.
fn triggers<const N: usize>(file: &File, out: &mut Steps<N>) {
    let Some(row) = file.row.filter(|row| row.trigger_pending && row.state.registered()) else { return };
    if !file.trigger {
        out.fair("the ledger learns that the trigger is gone", |file| {
            file.row.as_mut().unwrap().trigger_pending = false;
        });
    } else if file.disk.is_none_or(|found| found == row.delivery)
        && trigger_may_go(row.state, row.on_site_rule.map(|_| "rule")).is_ok()
    {
        out.fair("the trigger is removed", |file| file.trigger = false);
    }
}

fn discovered<const N: usize>(file: &File, row: Row, out: &mut Steps<N>) {
    if row.sentence {
        return claim(out, "verify finds an unfinished rejection", row, Hands::Sentenced);
    }
    match file.disk {
        None => {}
        Some(found) if found != row.delivery => {
            out.fair("verify finds another file", |file| rediscover(file, found));
        }
        Some(found) if file.bad && file.content(found) == Content::Original => {
            claim(out, "verify reads it: bad", row, Hands::FoundBad);
        }
        Some(_) => claim(out, "verify reads it: sound", row, Hands::FoundSound),
    }
}

fn judged<const N: usize>(file: &File, variant: Variant, out: &mut Steps<N>) {
    match (file.hands, variant) {
        (Hands::FoundSound, _) => out.fair("the ledger says verified", |file| {
            advance(file, State::Discovered, State::Verified);
            free(file);
        }),
        (_, Variant::SentenceAfterMove) => out.fair("the bad file is moved aside without a sentence", |file| {
            (file.set_aside, file.disk) = (file.disk, None);
            file.hands = Hands::Sentenced;
        }),
        _ => out.fair("the sentence is recorded", |file| {
            if unmoved(file, State::Discovered).is_some() {
                file.row.as_mut().unwrap().sentence = true;
                file.hands = Hands::Sentenced;
            } else {
                free(file);
            }
        }),
    }
}

fn set_aside<const N: usize>(file: &File, variant: Variant, out: &mut Steps<N>) {
    let on_record = unmoved(file, State::Discovered);
    match file.hands {
        Hands::Sentenced if variant == Variant::SentenceAfterMove => out.fair("the sentence is recorded", |file| {
            file.row.as_mut().unwrap().sentence = true;
            file.hands = Hands::Aside;
        }),
        Hands::Sentenced => out.fair("the reason is written", move |file| {
            let lawful = |row: &Row| file_may_be_set_aside(&decision(row), Path::new(IN_INVALID)).is_ok();
            if !on_record.as_ref().is_some_and(lawful) {
                return free(file);
            }
            file.reason_lies = true;
            file.hands = Hands::ReasonWritten;
        }),
        Hands::ReasonWritten => out.fair("the file is moved aside", |file| match file.disk {
            Some(found) if found == file.claimed => {
                (file.set_aside, file.disk) = (Some(found), None);
                file.hands = Hands::Aside;
            }
            Some(found) if file.set_aside != Some(file.claimed) => {
                if unmoved(file, State::Discovered).is_some() {
                    rediscover(file, found);
                }
                free(file);
            }
            _ => file.hands = Hands::Aside,
        }),
        Hands::Aside => out.fair("its trigger is removed", move |file| {
            let still_in_place = file.disk == Some(file.claimed);
            let lawful = |row: &Row| trigger_of_rejected_may_go(&decision(row), still_in_place).is_ok();
            if !on_record.as_ref().is_some_and(lawful) {
                return free(file);
            }
            if file.disk.is_none() {
                file.trigger = false;
            }
            file.hands = Hands::Untriggered;
        }),
        _ => out.fair("the ledger says rejected", |file| {
            if advance(file, State::Discovered, State::Rejected) {
                file.row.as_mut().unwrap().trigger_pending = false;
            }
            free(file);
        }),
    }
}

fn verified<const N: usize>(file: &File, row: Row, variant: Variant, out: &mut Steps<N>) {
    if variant == Variant::TriggerFirst && file.trigger {
        out.fair("the trigger is removed before the registration", |file| file.trigger = false);
    }
    match file.disk {
        None => {}
        Some(found) if found == row.delivery => {
            claim(out, "register finds the file as verified", row, Hands::Unchanged);
        }
        Some(found) => out.fair("register finds another file", |file| rediscover(file, found)),
    }
}

fn register<const N: usize>(file: &File, out: &mut Steps<N>) {
    let content = file.content(file.claimed);
    match file.hands {
        Hands::Unchanged => out.fair("register compares with what Rucio has", move |file| match file.did {
            Some(registered) if registered != content => hold(file, State::Verified),
            _ if file.replica == Replica::BeingDeleted => free(file),
            _ => file.hands = Hands::Compared,
        }),
        Hands::Compared => out.fair("Rucio registers replica, attachment and metadata", move |file| {
            if file.did.is_some_and(|registered| registered != content) {
                return hold(file, State::Verified);
            }
            file.did = Some(content);
            if file.replica == Replica::None {
                file.replica = Replica::Available;
            }
            file.hands = Hands::Attached;
        }),
        Hands::Attached => out.checked("the on-site rule is placed, or found", |file| {
            file.hands = match file.on_site_rule {
                OnSiteRule::Stands(id) => Hands::Protected(id),
                OnSiteRule::Ended(_) => Hands::Free,
                OnSiteRule::None => {
                    if matches!(file.replica, Replica::None | Replica::BeingDeleted) {
                        return Some("the on-site rule is placed without a replica: Rucio would copy back".to_owned());
                    }
                    let id = if file.claimed == Delivery::First { 1 } else { 2 };
                    (file.on_site_rule, file.replica) = (OnSiteRule::Stands(id), Replica::Available);
                    Hands::Protected(id)
                }
            };
            None
        }),
        Hands::Protected(id) => out.fair("the ledger says registered", move |file| {
            if advance(file, State::Verified, State::Registered) {
                let row = file.row.as_mut().unwrap();
                (row.on_site_rule, row.first_look, row.evidence) = (Some(id), None, false);
                (row.release_ordered, row.replica_gone) = (false, false);
            }
            free(file);
        }),
        _ => unreachable!("not of register"),
    }
}

fn registered<const N: usize>(world: &World<N>, file: &File, row: Row, variant: Variant, out: &mut Steps<N>) {
    if !world.first_copy_rule_known {
        if world.first_copy_rule.is_some() {
            return out.everywhere("the first-copy rule is there, and the ledger learns it", None, true, |world| {
                world.first_copy_rule_known = true;
                None
            });
        }
        // Rucio chooses a data centre; NORTH-2 is like NORTH-1
        for choice in [0, 1] {
            out.everywhere("the first-copy rule is placed", Some(usize::from(choice)), true, |world| {
                world.first_copy_rule = Some(choice);
                None
            });
        }
        return;
    }
    let Some(source) = world.first_copy_rule else { return };
    let copy = file.copies[usize::from(source)];
    if copy.listed == Listed::Available && copy.lock != Lock::None {
        return claim(out, "replicate finds the first copy", row, Hands::SourceKnown(source));
    }
    if !can_still_be_copied(file, row) && variant != Variant::OverdueUnasked {
        if is_touched(file, row) {
            return touched(out);
        }
        out.fair("the first copy is overdue and the file has changed: held", |file| {
            file.claimed = row.delivery;
            hold(file, State::Registered);
        });
    }
}

/// What lies on site is another file with the same content.
pub(crate) fn is_touched(file: &File, row: Row) -> bool {
    file.disk.is_some_and(|found| found != row.delivery && file.content(found) == file.content(row.delivery))
}

pub(crate) fn touched<const N: usize>(out: &mut Steps<N>) {
    out.fair("read again, the file has the same content: the ledger learns which it is", |file| {
        if let (Some(row), Some(found)) = (&mut file.row, file.disk) {
            row.delivery = found;
        }
        free(file);
    });
}

/// Whether a file whose copies are overdue is still as it was registered, or a second delivery tells what it is.
pub(crate) fn can_still_be_copied(file: &File, row: Row) -> bool {
    file.disk == Some(row.delivery) || file.trigger || row.redelivered
}

fn replicate<const N: usize>(world: &World<N>, file: &File, variant: Variant, out: &mut Steps<N>) {
    let Hands::SourceKnown(source) = file.hands else {
        return out.fair("the ledger says replicated", |file| {
            advance(file, State::Registered, State::Replicated);
            free(file);
        });
    };
    debug_assert!(world.first_copy_rule.is_none_or(|chosen| chosen == source), "it is placed once");
    if file.further_copies_rule {
        return out.fair("the further-copies rule is found", |file| file.hands = Hands::Ordered);
    }
    let source = usize::from(source);
    let elsewhere = |rse: &usize| *rse != source && (variant == Variant::AnyTwoRses || SITES[*rse] != SITES[source]);
    for target in (0..RSES).filter(elsewhere) {
        out.fair_at(target, "the further-copies rule is placed", |file| {
            file.further_copies_rule = true;
            lock(&mut file.copies[target]);
            file.hands = Hands::Ordered;
        });
    }
}

/// A rule takes hold of a copy: what is there already is locked at once, the rest will be copied.
pub(crate) fn lock(copy: &mut Copy) {
    match copy.listed {
        Listed::No => (copy.listed, copy.lock) = (Listed::Copying, Lock::Replicating),
        Listed::Copying => copy.lock = Lock::Replicating,
        Listed::Available | Listed::OutOfReach => copy.lock = Lock::Ok,
    }
}

/// Whether content could be read back as what is registered.
pub(crate) fn is_registered(file: &File, content: Content) -> bool {
    file.did == Some(content)
}
