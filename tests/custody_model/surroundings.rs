//! Everything that is not the daemon: Rucio's judge, conveyor and reaper with what they get wrong, ACADA, the storages,
//! operators, and time.

use dl0_ingest::custody::State;

use crate::custody_model::Bounds;
use crate::custody_model::daemon::{is_registered, lock};
use crate::custody_model::steps::Steps;
use crate::custody_model::world::{
    Bytes, Content, Delivery, File, Hands, Listed, Lock, OnSiteRule, RSES, Replica, World,
};

/// Everything that may happen around one file.
pub(crate) fn steps<const N: usize>(bounds: Bounds, world: &World<N>, out: &mut Steps<N>) {
    let file = world.files[out.file];
    time(&file, out);
    judge(world, &file, out);
    if bounds.undertaker {
        undertaker(world, &file, out);
    }
    for rse in 0..RSES {
        conveyor(world, &file, rse, out);
        misfortunes(&file, rse, out);
    }
    reaper(&file, out);
    people(bounds, &file, out);
}

fn time<const N: usize>(file: &File, out: &mut Steps<N>) {
    if let Some(mut first) = file.row.and_then(|row| row.first_look).filter(|first| !first.hold_passed) {
        first.hold_passed = true;
        out.fair("the hold time passes", |file| file.row.as_mut().unwrap().first_look = Some(first));
    }
}

fn judge<const N: usize>(world: &World<N>, file: &File, out: &mut Steps<N>) {
    if let Some(chosen) = world.first_copy_rule.map(usize::from)
        && file.did.is_some()
        && file.copies[chosen].lock == Lock::None
    {
        out.fair_at(chosen, "the judge lets the first-copy rule hold the file", |file| lock(&mut file.copies[chosen]));
    }
    if let OnSiteRule::Ended(_) = file.on_site_rule {
        out.fair("the judge cleans the on-site rule", |file| {
            file.on_site_rule = OnSiteRule::None;
            if file.replica == Replica::Available {
                file.replica = Replica::Doomed;
            }
        });
    }
    if let Some(id) = file.late_end {
        out.fair("Rucio carries out the late request to end the on-site rule", |file| {
            file.late_end = None;
            if file.on_site_rule == OnSiteRule::Stands(id) {
                file.on_site_rule = OnSiteRule::Ended(id);
            }
        });
    }
}

/// The dataset's end, which concerns all its files; the first of them has the steps.
fn undertaker<const N: usize>(world: &World<N>, file: &File, out: &mut Steps<N>) {
    let is_gone = world.first_copy_rule.is_none() && world.first_copy_rule_known;
    if is_gone
        && let Some(row) = file.row.filter(|row| !matches!(row.state, State::Held | State::Released | State::Rejected))
        && row.state.moving_to(State::Held).is_ok()
    {
        out.fair("whoever is called holds the file of a dataset that is gone", |file| {
            file.row.as_mut().unwrap().state = State::Held;
        });
    }
    let (0, Some(chosen)) = (out.file, world.first_copy_rule) else { return };
    if !world.dataset_ends {
        if world.misfortunes > 0 {
            out.everywhere("somebody gives the dataset an end", None, false, |world| {
                world.misfortunes -= 1;
                world.dataset_ends = true;
                None
            });
        }
        return;
    }
    out.everywhere("the end of the dataset is taken away", None, true, |world| {
        world.dataset_ends = false;
        world.files.iter_mut().for_each(|file| file.end_stood = false);
        None
    });
    out.everywhere("the undertaker removes the dataset, its rule and the copies of that", None, false, |world| {
        (world.dataset_ends, world.first_copy_rule) = (false, None);
        for file in &mut world.files {
            let copy = &mut file.copies[usize::from(chosen)];
            if copy.lock == Lock::None {
                continue;
            }
            let was_good = file.did.is_some_and(|registered| copy.bytes == Bytes::Of(registered));
            (copy.listed, copy.lock, copy.bytes) = (Listed::No, Lock::None, Bytes::None);
            if was_good && file.rests_on_a_look() && !file.end_stood {
                file.destroyed = (file.destroyed + 1).min(3);
            }
        }
        None
    });
}

fn conveyor<const N: usize>(world: &World<N>, file: &File, rse: usize, out: &mut Steps<N>) {
    let copy = file.copies[rse];
    if copy.listed == Listed::OutOfReach {
        out.fair_at(rse, "the RSE is within reach again", |file| file.copies[rse].listed = Listed::Available);
    }
    let (Some(registered), Lock::Replicating) = (file.did, copy.lock) else { return };
    let of_first_copy_rule = world.first_copy_rule.map(usize::from) == Some(rse);
    let on_site = matches!(file.replica, Replica::Available | Replica::Doomed)
        && file.disk.is_some_and(|delivery| is_registered(file, file.content(delivery)));
    // the further-copies rule reads from the first copy alone
    let elsewhere = (0..RSES).any(|from| {
        let source = &file.copies[from];
        let allowed = of_first_copy_rule || world.first_copy_rule.map(usize::from) == Some(from);
        from != rse && allowed && source.listed == Listed::Available && source.bytes == Bytes::Of(registered)
    });
    if (on_site && of_first_copy_rule) || elsewhere {
        out.fair_at(rse, "the conveyor copies", |file| {
            let copy = &mut file.copies[rse];
            (copy.listed, copy.lock, copy.bytes) = (Listed::Available, Lock::Ok, Bytes::Of(registered));
        });
    }
    for (text, bytes) in [
        ("Rucio says AVAILABLE before a byte has come", Bytes::None),
        ("Rucio says AVAILABLE of a damaged copy", Bytes::Damaged),
    ] {
        out.misfortune(Some(rse), text, |file| {
            let copy = &mut file.copies[rse];
            (copy.listed, copy.lock, copy.bytes) = (Listed::Available, Lock::Ok, bytes);
        });
    }
}

/// What may befall an off-site copy.
fn misfortunes<const N: usize>(file: &File, rse: usize, out: &mut Steps<N>) {
    let copy = file.copies[rse];
    if copy.listed == Listed::Available {
        out.misfortune(Some(rse), "the RSE is out of reach", |file| file.copies[rse].listed = Listed::OutOfReach);
    }
    let Some(registered) = file.did else { return };
    if copy.bytes != Bytes::Of(registered) {
        if copy.listed == Listed::Available {
            out.unfair_at(rse, "the right bytes come late", |file| file.copies[rse].bytes = Bytes::Of(registered));
        }
        if copy.listed == Listed::No {
            out.misfortune(Some(rse), "a stranger's rule brings a copy", |file| {
                let copy = &mut file.copies[rse];
                (copy.listed, copy.bytes) = (Listed::Available, Bytes::Of(registered));
            });
        }
        return;
    }
    let destroyed = |file: &mut File, bytes: Bytes| {
        file.copies[rse].bytes = bytes;
        if file.rests_on_a_look() {
            file.destroyed = (file.destroyed + 1).min(3);
        }
    };
    out.misfortune(Some(rse), "the storage loses the copy", |file| destroyed(file, Bytes::None));
    out.misfortune(Some(rse), "the copy rots", |file| destroyed(file, Bytes::Damaged));
    out.misfortune(Some(rse), "somebody declares the copy bad", |file| {
        destroyed(file, Bytes::None);
        let copy = &mut file.copies[rse];
        if copy.lock == Lock::None {
            copy.listed = Listed::No;
        } else {
            (copy.listed, copy.lock) = (Listed::Copying, Lock::Replicating);
        }
    });
}

/// The reaper deletes by name, and its word is not the disk's.
fn reaper<const N: usize>(file: &File, out: &mut Steps<N>) {
    match file.replica {
        Replica::None | Replica::Available => {}
        Replica::Doomed => {
            out.fair("the reaper takes the on-site replica", |file| file.replica = Replica::BeingDeleted);
        }
        Replica::BeingDeleted if file.disk.is_some() => {
            out.fair("the reaper deletes what lies under the name", |file| file.disk = None);
            out.unfair("the reaper drops the row and leaves the file", |file| file.replica = Replica::None);
        }
        Replica::BeingDeleted => out.fair("the reaper drops the row", |file| file.replica = Replica::None),
    }
}

fn people<const N: usize>(bounds: Bounds, file: &File, out: &mut Steps<N>) {
    if bounds.operator
        && let Some(row) = file.row.filter(|row| row.state.moving_to(State::Held).is_ok())
        && row.state != State::Released
    {
        out.unfair("an operator holds the file", |file| file.row.as_mut().unwrap().state = State::Held);
    }
    if !bounds.second_delivery || file.second.is_some() || file.row.is_none() {
        return;
    }
    let arrives = |file: &mut File, content: Content| {
        (file.disk, file.second) = (Some(Delivery::Second), Some(content));
    };
    out.unfair("ACADA delivers the same content again", |file| {
        arrives(file, Content::Original);
        file.trigger = true;
    });
    if file.disk.is_some() {
        out.unfair("a backup or Rucio puts the same content there again", |file| arrives(file, Content::Original));
    }
    // other content under a name that is just being deleted by that name is beyond anybody's power
    let leaving = file.is_in(State::Releasing)
        || file.is_on_its_way_out()
        || matches!(
            file.hands,
            Hands::MayRelease(_) | Hands::IntentWritten(_) | Hands::RuleEnded(_) | Hands::MayRemove(_)
        );
    if leaving && !bounds.other_content_at_any_time {
        return;
    }
    out.unfair("ACADA delivers other content under the name", |file| {
        arrives(file, Content::Other);
        file.trigger = true;
    });
    if file.disk.is_some() {
        out.unfair("somebody overwrites the file without a trigger", |file| arrives(file, Content::Other));
    }
}
