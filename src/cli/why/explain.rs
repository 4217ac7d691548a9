//! From a row of the ledger to words.

use std::time::Duration;

use super::explanation::Explanation;
use crate::cli::ledger::{age, moment};
use crate::config::{Config, Deletion, Leftover, format_duration};
use crate::custody::brakes::{Brakes, Hold};
use crate::custody::{HoldCode, State, UnixMillis, in_millis};
use crate::fixity;
use crate::ledger::FileRow;
use crate::telemetry::human;

/// What the row says, under these settings, at this moment.
pub(super) fn explain(row: &FileRow, config: &Config, brakes: &Brakes, now: UnixMillis) -> Explanation {
    let mut because = vec![standing(row, config, now)];
    because.extend(braked(row, brakes));
    if row.state.in_custody() {
        if let Some(waits_for) = &row.waits_for {
            because.push(format!("What it waits for: {waits_for}."));
        }
        because.extend(attempts(row, now));
        let since = moment(row.state_since);
        because.push(format!("It stands there since {since}, for {}.", age(now, row.state_since)));
    }
    Explanation {
        lfn: row.lfn.clone(),
        state: Some(row.state.as_str()),
        because,
        next: next(row, config),
        operator: operator(row, config, now),
    }
}

fn standing(row: &FileRow, config: &Config, now: UnixMillis) -> String {
    let size = human::size(row.bytes);
    match row.state {
        State::Discovered => format!("It was delivered ({size}) and waits to be read and judged."),
        State::Verified => "It is sound and waits to be registered in Rucio.".to_owned(),
        State::Registered => match &row.first_rse {
            None => "It is registered and protected on site, and waits for its first off-site copy.".to_owned(),
            Some(rse) => format!("It has its first off-site copy at {rse}, and the second one is to be asked for."),
        },
        State::Replicated => waits_for_proof(row, config, now),
        State::Confirmed => match config.release.deletion {
            Deletion::Off => "Its off-site copies are proven. It stays, because deletion is off.",
            Deletion::DryRun => "Its off-site copies are proven. It stays, because deletion is in dry-run mode.",
            Deletion::On => "Its off-site copies are proven. It waits for the last check, right before its release.",
        }
        .to_owned(),
        State::Releasing => match (row.release_ordered_at, row.replica_gone_at) {
            (_, Some(at)) => {
                format!("Rucio says since {} that the on-site copy is deleted; the disk is looked at.", moment(at))
            }
            (Some(at), None) => {
                format!("Its protection on site was ended at {}; Rucio is to delete the on-site copy.", moment(at))
            }
            (None, None) => "Its release is decided and on record; its protection on site is being ended.".to_owned(),
        },
        State::Released => {
            let copies = proven_at(row).map_or_else(String::new, |rses| format!(" Its copies are at {rses}."));
            format!("It waits for nothing: the on-site copy is gone since {}.{copies}", moment(row.state_since))
        }
        State::Rejected => {
            let reason = row.reason.as_deref().unwrap_or("the reason is not on record");
            format!("It was rejected at {} and waits for nothing. Reason: {reason}", moment(row.state_since))
        }
        State::Held => {
            let reason = row.reason.as_deref().unwrap_or("the reason is not on record");
            format!("It is held until an operator decides; nothing touches it. Reason: {reason}")
        }
    }
}

/// What keeps the on-site copy besides the evidence. Only what is near its release is told of what stops all.
fn braked(row: &FileRow, brakes: &Brakes) -> Vec<String> {
    let mut lines = Vec::new();
    if !row.state.in_custody() || row.release_ordered_at.is_some() {
        return lines;
    }
    if let Some(Hold { target, since, by, reason }) = &brakes.hold {
        lines.push(format!("{by} holds {target} since {}: {reason}. The on-site copy stays.", moment(*since)));
    }
    if matches!(row.state, State::Confirmed | State::Releasing) {
        if let Some(reason) = &brakes.kill_switch {
            lines.push(format!("The kill switch stops all releases: {reason}."));
        }
        if let Some(trip) = &brakes.breaker {
            lines.push(format!("The release breaker is open since {}: {}.", moment(trip.at), trip.reason));
        }
    }
    lines
}

fn waits_for_proof(row: &FileRow, config: &Config, now: UnixMillis) -> String {
    let copies = config.offsite.copies.get();
    match row.first_look() {
        Ok(Some(look)) => {
            let due = look.at.saturating_add(in_millis(config.confirm.hold));
            let rses = look.rses.join(" and ");
            let first = format!("All copies were proven once, at {} ({rses}).", moment(look.at));
            if due > now {
                let wait = human::age(u64::try_from((due - now + 999) / 1000).unwrap_or(0));
                format!("{first} The second look is due at {}, in {wait}.", moment(due))
            } else {
                format!("{first} The second look is due.")
            }
        }
        _ => format!("All off-site copies are asked for. It waits for proof of {copies} of them at different sites."),
    }
}

/// The RSEs of the evidence the release was ordered on.
fn proven_at(row: &FileRow) -> Option<String> {
    let evidence: serde_json::Value = serde_json::from_str(row.last_evidence.as_deref()?).ok()?;
    let copies = evidence.get("evidence")?.get("copies")?.as_array()?;
    let rses: Vec<&str> = copies.iter().filter_map(|copy| copy.get("rse")?.as_str()).collect();
    (!rses.is_empty()).then(|| rses.join(" and "))
}

fn attempts(row: &FileRow, now: UnixMillis) -> Option<String> {
    if row.attempts == 0 {
        return None;
    }
    let times = if row.attempts == 1 { "once".to_owned() } else { format!("{} times", row.attempts) };
    let due = if row.next_attempt > now {
        format!("the next attempt is at {}", moment(row.next_attempt))
    } else {
        "the next attempt is due".to_owned()
    };
    Some(format!("This step failed {times}; {due}."))
}

fn next(row: &FileRow, config: &Config) -> Option<String> {
    let copies = config.offsite.copies.get();
    let text = match row.state {
        State::Discovered => "Its bytes are read once. Sound, it goes on to registration; bad, it goes to invalid/.",
        State::Verified => "It is registered with size, checksum and metadata, and protected; then its trigger goes.",
        State::Registered if row.first_rse.is_none() => {
            "Rucio transfers it; once there, a second copy is made from it."
        }
        State::Registered => "A rule asks for the second copy, with the first one as its source.",
        State::Replicated => {
            let hold = format_duration(config.confirm.hold);
            return Some(format!(
                "{copies} copies at different sites must be proven at two looks {hold} apart, by Rucio and by the storages."
            ));
        }
        State::Confirmed if config.release.deletion == Deletion::On => {
            "All evidence is asked for afresh; only then its protection on site is ended and Rucio deletes it."
        }
        State::Releasing => match config.release.leftover {
            Leftover::Report => "The release is complete when the file is gone from the disk; a leftover is reported.",
            Leftover::Remove => "The release is complete when the file is gone from the disk; a leftover is removed.",
        },
        State::Confirmed | State::Released | State::Rejected | State::Held => return None,
    };
    Some(text.to_owned())
}

fn operator(row: &FileRow, config: &Config, now: UnixMillis) -> Vec<String> {
    let show = format!("see its history: dl0-ingest show {}", row.lfn);
    let long = now.saturating_sub(row.state_since) > in_millis(Duration::from_hours(1));
    match row.state {
        State::Discovered | State::Verified => {
            vec![
                "see whether the daemon runs and Rucio answers: dl0-ingest status, or its page over HTTP".to_owned(),
                show,
            ]
        }
        State::Registered | State::Replicated if long => {
            let mut lines =
                vec!["look at the transfer in Rucio; a copy that does not come is Rucio's or the site's".to_owned()];
            if let Some(rule) = &row.further_copies_rule {
                lines.push(format!("see the rule of its second copy: rucio rule show {rule}"));
            }
            lines.push(show);
            lines
        }
        State::Confirmed if config.release.deletion != Deletion::On => {
            vec!["let proven files go: set release.deletion to on, then reload the daemon".to_owned()]
        }
        State::Releasing if long => {
            vec!["see whether Rucio's judge-cleaner and reaper run for the on-site RSE".to_owned(), show]
        }
        State::Rejected => {
            let remedy = row.reason_code.as_deref().and_then(fixity::findings::remedy);
            let mut lines: Vec<String> = remedy.map(str::to_owned).into_iter().collect();
            if let Some(path) = &row.invalid_path {
                let path = config.data_path.join(path);
                lines.push(format!("look at it: {} (the reason is beside it, in .reason.json)", path.display()));
                lines.push(format!("check it again: dl0-ingest verify {}", path.display()));
            }
            lines.push("have it written and delivered anew under the same name; it is then taken up again".to_owned());
            lines
        }
        State::Held => held(row, show),
        State::Released => vec![format!("see the evidence it was released on: dl0-ingest show --json {}", row.lfn)],
        State::Registered | State::Replicated | State::Confirmed | State::Releasing => vec![show],
    }
}

/// What mends the reason, and then the way back.
fn held(row: &FileRow, show: String) -> Vec<String> {
    // a code of another version has no remedy here
    let code = row.hold_code();
    let remedy = code.map_or("find out which side is right; the history says what contradicts what", HoldCode::remedy);
    let mut lines = vec![remedy.to_owned(), show];
    lines.push(format!(
        "put it back on its road, everything to be proven anew: dl0-ingest retry --reason TEXT {}",
        row.lfn
    ));
    if code.is_some_and(HoldCode::is_contradiction) {
        lines.push(
            "let other files be released again, when it is understood: dl0-ingest breaker reset --reason TEXT"
                .to_owned(),
        );
    }
    lines
}

#[cfg(test)]
mod tests;
