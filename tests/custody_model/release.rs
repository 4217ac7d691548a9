//! The daemon as it is built, from the looks at the off-site copies to the end: confirm, release, departure.

use dl0_ingest::custody::invariants::{on_site_copy_may_go, release_may_be_carried_out};
use dl0_ingest::custody::{Copies, Doubt, Evidence, KeepReason, State};

use crate::custody_model::daemon::{advance, can_still_be_copied, decision, free, hold, is_touched, touched, unmoved};
use crate::custody_model::steps::Steps;
use crate::custody_model::world::{
    Answer, Bytes, File, Hands, Listed, Lock, Look, ON_SITE, OnSiteRule, RSES, Replica, Row, Seen, World,
};
use crate::custody_model::{Variant, proof};

/// What begins when nobody works on a file that is replicated, confirmed or releasing.
pub(crate) fn begin<const N: usize>(file: &File, row: Row, variant: Variant, out: &mut Steps<N>) {
    match row.state {
        State::Confirmed if variant == Variant::NoFreshLook => trust_the_last_look(row, out),
        State::Releasing if row.release_ordered => departure(file, row, variant, out),
        State::Releasing if row.on_site_rule.is_some_and(|id| file.on_site_rule != OnSiteRule::Stands(id)) => {
            out.fair("departure finds that the on-site rule has ended", |file| {
                file.row.as_mut().unwrap().release_ordered = true;
            });
        }
        _ => look(file, row, out),
    }
}

/// Rucio is asked for the replicas. While fewer than two are there, the closer questions are not asked of a file that
/// has not waited long.
fn look<const N: usize>(file: &File, row: Row, out: &mut Steps<N>) {
    let seen =
        file.copies.map(|copy| Seen { listed: copy.listed, lock_ok: false, ends: false, answer: Answer::NotAsked });
    let hold_passed = row.first_look.is_some_and(|first| first.hold_passed);
    let look = Look { seen, hold_passed, stale: false };
    out.fair("a look begins: Rucio lists the replicas", |file| {
        file.claimed = row.delivery;
        file.hands = Hands::Listed(look);
    });
    let present = seen.iter().filter(|copy| matches!(copy.listed, Listed::Available | Listed::OutOfReach)).count();
    if present < Copies::MIN.get() as usize && (row.first_look.is_some() || row.state != State::Replicated) {
        out.fair("a look sees too few replicas: held", |file| {
            file.claimed = row.delivery;
            hold(file, row.state);
        });
    }
}

fn trust_the_last_look<const N: usize>(row: Row, out: &mut Steps<N>) {
    let first = row.first_look.unwrap();
    let seen = std::array::from_fn(|rse| {
        if first.proven[rse] {
            Seen { listed: Listed::Available, lock_ok: true, ends: false, answer: Answer::Right }
        } else {
            Seen { listed: Listed::No, lock_ok: false, ends: false, answer: Answer::NotAsked }
        }
    });
    out.fair("release trusts the look of confirm", |file| {
        file.claimed = row.delivery;
        file.hands = Hands::MayRelease(Look { seen, hold_passed: true, stale: false });
    });
}

pub(crate) fn steps<const N: usize>(world: &World<N>, file: &File, variant: Variant, out: &mut Steps<N>) {
    let Some(row) = file.row else { return };
    match file.hands {
        Hands::Listed(look) => ask_for_locks(world, file, look, variant, out),
        Hands::Locked(look) => ask_storages(file, look, out),
        Hands::Answered(look) => {
            if !look.stale {
                let mut old = look;
                old.stale = true;
                out.unfair("the look grows old", |file| file.hands = Hands::Answered(old));
            }
            decide(file, row, &look, variant, out);
        }
        Hands::MayRelease(look) => write_intent(file, look, variant, out),
        Hands::IntentWritten(look) => end_on_site_rule(file, look, variant, out),
        Hands::RuleEnded(look) => record(look, variant, out),
        Hands::MayRemove(look) => remove_leftover(file, &look, variant, out),
        _ => {}
    }
}

/// The locks of the first-copy rule (as far as the ledger knows it) and of the further-copies rule.
fn ask_for_locks<const N: usize>(world: &World<N>, file: &File, mut look: Look, variant: Variant, out: &mut Steps<N>) {
    for (rse, seen) in look.seen.iter_mut().enumerate() {
        let lock = file.copies[rse].lock;
        let of_first_copy_rule = world.first_copy_rule.is_some_and(|chosen| usize::from(chosen) == rse);
        // the state of the first-copy rule says OK from the attachment on, whatever has become of the copy
        let rule_says_ok = variant == Variant::RuleStateIsProof && of_first_copy_rule;
        seen.lock_ok = lock == Lock::Ok || rule_says_ok;
        seen.ends = of_first_copy_rule && world.dataset_ends && variant != Variant::EndUnasked;
    }
    let end_stands = world.dataset_ends;
    out.fair("Rucio lists the locks", |file| {
        file.hands = Hands::Locked(look);
        // what goes already was decided on an earlier look
        if file.disk.is_some() && !file.is_on_its_way_out() {
            file.end_stood = end_stands;
        }
    });
}

/// What a storage that answers truly says of its copy.
fn truth(file: &File, rse: usize) -> Answer {
    match file.copies[rse].bytes {
        Bytes::None => Answer::Missing,
        Bytes::Of(content) if file.did == Some(content) => Answer::Right,
        Bytes::Damaged | Bytes::Of(_) => Answer::Wrong,
    }
}

/// What others destroy counts from the first answer, unless the on-site copy is going already.
fn begin_to_count(file: &mut File) {
    if file.disk.is_some() && !file.is_on_its_way_out() {
        file.destroyed = 0;
    }
}

/// The storages are asked about what Rucio says is AVAILABLE. They answer truly, one of them does not, or none answers.
fn ask_storages<const N: usize>(file: &File, look: Look, out: &mut Steps<N>) {
    if out.one_by_one && look.unanswered().next().is_some() {
        return ask_one_by_one(file, look, out);
    }
    let mut truly = look;
    for rse in look.unanswered() {
        truly.seen[rse].answer = truth(file, rse);
    }
    let answered = move |file: &mut File, look: Look| {
        begin_to_count(file);
        file.hands = Hands::Answered(look);
    };
    out.fair("the storages answer", |file| answered(file, truly));
    let with = |rse: usize, answer| {
        let mut look = truly;
        look.seen[rse].answer = answer;
        look
    };
    for rse in (0..RSES).filter(|rse| truly.seen[*rse].answer != Answer::NotAsked) {
        out.unfair_at(rse, "a storage is silent, the others answer", |file| answered(file, with(rse, Answer::Silent)));
        if truly.seen[rse].answer == Answer::Right {
            out.misfortune(Some(rse), "a storage denies a right copy", |file| {
                answered(file, with(rse, Answer::Missing));
            });
        }
    }
}

/// Each in its turn, whichever that is, and the world changes in between.
fn ask_one_by_one<const N: usize>(file: &File, look: Look, out: &mut Steps<N>) {
    let answered = move |file: &mut File, rse: usize, answer| {
        if !look.is_answered_by_some() {
            begin_to_count(file);
        }
        let mut look = look;
        look.seen[rse].answer = answer;
        let is_last = look.unanswered().next().is_none();
        file.hands = if is_last { Hands::Answered(look) } else { Hands::Locked(look) };
    };
    for rse in look.unanswered() {
        let truth = truth(file, rse);
        out.fair_at(rse, "a storage answers", |file| answered(file, rse, truth));
        out.unfair_at(rse, "a storage is silent", |file| answered(file, rse, Answer::Silent));
        if truth == Answer::Right {
            out.misfortune(Some(rse), "a storage denies a right copy", |file| answered(file, rse, Answer::Missing));
        }
    }
}

fn judged(file: &File, look: &Look, variant: Variant) -> Result<Evidence, Doubt> {
    let registered = file.did.unwrap_or(file.content(file.claimed));
    proof::evidence(variant, look, registered, file.content(file.claimed))
}

/// What the stage of the file's state makes of a look.
fn decide<const N: usize>(file: &File, row: Row, look: &Look, variant: Variant, out: &mut Steps<N>) {
    match row.state {
        State::Replicated => confirm(file, row, look, variant, out),
        State::Confirmed | State::Releasing => order(file, row, look, variant, out),
        // moved on meanwhile: whatever comes of the look will not be written
        _ => out.fair("the look has become pointless", free),
    }
}

fn confirm<const N: usize>(file: &File, row: Row, look: &Look, variant: Variant, out: &mut Steps<N>) {
    let evidence = match judged(file, look, variant) {
        Ok(evidence) => evidence,
        Err(Doubt::Contradiction(_)) => return out.fair("a contradiction: held", |file| hold(file, State::Replicated)),
        Err(doubt) if row.first_look.is_some_and(|first| proof::has_lost(&doubt, first)) => {
            return out.fair("evidence has regressed: held", |file| hold(file, State::Replicated));
        }
        Err(Doubt::NotYet(_) | Doubt::TooFew { .. } | Doubt::Unheld { .. })
            if !can_still_be_copied(file, row) && variant != Variant::OverdueUnasked =>
        {
            if is_touched(file, row) {
                return touched(out);
            }
            return out.fair("the copies are overdue and the file has changed: held", |file| {
                hold(file, State::Replicated);
            });
        }
        Err(_) => return out.fair("confirm waits", free),
    };
    let Some(first) = row.first_look else {
        return out.fair("the ledger remembers the first look", |file| {
            if unmoved(file, State::Replicated).is_some() {
                file.row.as_mut().unwrap().first_look = Some(proof::remembered(&evidence));
            }
            free(file);
        });
    };
    match proof::missing_since(&evidence, first) {
        None => {}
        Some(KeepReason::Undecided { .. }) => return out.fair("confirm waits for a silent one", free),
        Some(_) => return out.fair("evidence has regressed: held", |file| hold(file, State::Replicated)),
    }
    if !proof::is_held_long_enough(&evidence) {
        return out.fair("confirm waits for the hold time", free);
    }
    out.fair("the ledger says confirmed", |file| {
        if advance(file, State::Replicated, State::Confirmed) {
            file.row.as_mut().unwrap().evidence = true;
        }
        free(file);
    });
}

fn regressed<const N: usize>(state: State, out: &mut Steps<N>) {
    out.fair("evidence has regressed: held", |file| hold(file, state));
}

/// An order, if the look, the first look and the file on disk allow it.
fn order<const N: usize>(file: &File, row: Row, look: &Look, variant: Variant, out: &mut Steps<N>) {
    let state = row.state;
    let evidence = match judged(file, look, variant) {
        Ok(evidence) => evidence,
        Err(Doubt::NotYet(_) | Doubt::Contradiction(_)) => return regressed(state, out),
        Err(doubt) if row.first_look.is_some_and(|first| proof::has_lost(&doubt, first)) => {
            return regressed(state, out);
        }
        Err(_) => return out.fair("release waits for a silent one, or for a rule", free),
    };
    let Some(first) = row.first_look else { return out.fair("no first look: held", |file| hold(file, state)) };
    let found = if variant == Variant::NoRestat { Some(file.claimed) } else { file.disk };
    let Some(found) = found else { return vanished(file, row, variant, out) };
    let again = row.redelivered || file.trigger;
    let (look, leftover) = (*look, row.release_ordered);
    match proof::order(&look, evidence, first, (file.claimed, found)) {
        Ok(_) | Err(KeepReason::Changed) if again && !leftover => {
            out.fair("release waits for the second delivery", free);
        }
        Ok(_) => out.fair("the order can be given", |file| {
            file.hands = match (leftover, state) {
                (true, _) => Hands::MayRemove(look),
                // the intent is on record from before the stop
                (false, State::Releasing) => Hands::IntentWritten(look),
                (false, _) => Hands::MayRelease(look),
            };
        }),
        Err(KeepReason::TooSoon { .. } | KeepReason::Stale { .. } | KeepReason::Undecided { .. }) => {
            out.fair("release waits", free);
        }
        Err(KeepReason::Changed) if again => out.fair("release waits for the second delivery", free),
        Err(KeepReason::Changed) if !leftover && is_touched(file, row) => touched(out),
        Err(_) => out.fair("the order cannot be given: held", |file| hold(file, state)),
    }
}

/// The file is gone before it was given up, or so it seems: a request to end the on-site rule may have come late.
fn vanished<const N: usize>(file: &File, row: Row, variant: Variant, out: &mut Steps<N>) {
    let ended = row.on_site_rule.is_some_and(|id| file.on_site_rule != OnSiteRule::Stands(id));
    if row.state == State::Releasing && ended && variant != Variant::LateEndUnasked {
        return out.fair("the file has gone because the on-site rule has ended meanwhile", |file| {
            file.row.as_mut().unwrap().release_ordered = true;
            free(file);
        });
    }
    out.fair("the file has vanished: held", |file| hold(file, row.state));
}

fn write_intent<const N: usize>(_file: &File, look: Look, variant: Variant, out: &mut Steps<N>) {
    if variant == Variant::IntentAfterEffect {
        return out.fair("the on-site rule is ended", |file| {
            end(file);
            file.hands = Hands::RuleEnded(look);
        });
    }
    out.fair("the ledger says releasing", |file| {
        if advance(file, State::Confirmed, State::Releasing) {
            file.row.as_mut().unwrap().evidence = true;
            file.hands = Hands::IntentWritten(look);
        } else {
            free(file);
        }
    });
}

/// What production asks right before the effect: the ledger as it is now, and the constitution.
fn permitted(file: &File, look: &Look, variant: Variant) -> Result<bool, String> {
    let on_record = match variant {
        // the row as it was when it was claimed
        Variant::NoReadBack => file.row.map(|row| Row { state: State::Releasing, evidence: true, ..row }),
        _ => unmoved(file, State::Releasing),
    };
    let Some(row) = on_record else { return Ok(false) };
    release_may_be_carried_out(&decision(&row)).map_err(|violation| violation.to_string())?;
    // what had no fresh look has no evidence to hold against the constitution
    if variant != Variant::LeftoverUnasked {
        let evidence = judged(file, look, variant).map_err(|doubt| doubt.reason().to_owned())?;
        on_site_copy_may_go(&decision(&row), &evidence, ON_SITE, Copies::MIN)
            .map_err(|violation| violation.to_string())?;
    }
    Ok(true)
}

/// The end of the on-site rule takes effect in Rucio.
fn end(file: &mut File) {
    let id = file.row.and_then(|row| row.on_site_rule);
    if id.is_some_and(|id| file.on_site_rule == OnSiteRule::Stands(id)) {
        file.on_site_rule = OnSiteRule::Ended(id.unwrap());
    }
}

fn end_on_site_rule<const N: usize>(file: &File, look: Look, variant: Variant, out: &mut Steps<N>) {
    match permitted(file, &look, variant) {
        Ok(true) => {}
        Ok(false) => return out.fair("somebody else has decided meanwhile", free),
        Err(why) => return out.checked("the constitution forbids it", |_| Some(why)),
    }
    let held = file.is_in(State::Held);
    out.checked("the on-site rule is ended", |file| {
        end(file);
        file.hands = Hands::RuleEnded(look);
        held.then(|| "the on-site rule is ended although the ledger says held".to_owned())
    });
    let id = file.row.and_then(|row| row.on_site_rule);
    out.unfair("the request to end the on-site rule is still on its way when the client gives up", |file| {
        file.late_end = id;
        free(file);
    });
}

fn record<const N: usize>(_look: Look, variant: Variant, out: &mut Steps<N>) {
    out.fair("the ledger says that the release is ordered", |file| {
        if variant == Variant::IntentAfterEffect {
            advance(file, State::Confirmed, State::Releasing);
        }
        file.row.as_mut().unwrap().release_ordered = true;
        free(file);
    });
}

/// The release is ordered: is the replica gone, and is the file?
fn departure<const N: usize>(file: &File, row: Row, variant: Variant, out: &mut Steps<N>) {
    if file.replica != Replica::None {
        return;
    }
    let claimed = move |file: &mut File| file.claimed = row.delivery;
    if file.copies.iter().all(|copy| copy.listed == Listed::No) {
        return out.fair("Rucio does not know the file any more: held", |file| {
            claimed(file);
            hold(file, State::Releasing);
        });
    }
    if !row.replica_gone {
        return out.fair("the ledger says that the replica is gone", |file| {
            file.row.as_mut().unwrap().replica_gone = true;
        });
    }
    let finish = move |file: &mut File| {
        claimed(file);
        advance(file, State::Releasing, State::Released);
        free(file);
    };
    match file.disk {
        None => out.fair("the file is gone: released", finish),
        Some(found) if found != row.delivery && (row.redelivered || file.trigger) => {
            out.fair("a second delivery has come in its place: released", finish);
        }
        Some(found) if found != row.delivery => out.fair("another file has come in its place: held", |file| {
            claimed(file);
            hold(file, State::Releasing);
        }),
        Some(_) if variant == Variant::LeftoverUnasked => out.fair("the grace period is over", |file| {
            claimed(file);
            let seen = Seen { listed: Listed::No, lock_ok: false, ends: false, answer: Answer::NotAsked };
            file.hands = Hands::MayRemove(Look { seen: [seen; RSES], hold_passed: true, stale: false });
        }),
        Some(_) => look(file, row, out),
    }
}

fn remove_leftover<const N: usize>(file: &File, look: &Look, variant: Variant, out: &mut Steps<N>) {
    match permitted(file, look, variant) {
        Ok(true) => {}
        Ok(false) => return out.fair("somebody else has decided meanwhile", free),
        Err(why) => return out.checked("the constitution forbids it", |_| Some(why)),
    }
    out.fair("the file that Rucio left behind is removed", |file| {
        if file.disk == Some(file.claimed) {
            file.disk = None;
        }
        free(file);
    });
}
