//! One file's facts and what is wrong with them. Pure.

#[cfg(test)]
mod tests;

use crate::custody::invariants::world::{FileFacts, OnSite, Protection};
use crate::custody::{Copies, FileIdentity, State, UnixMillis};
use crate::ledger::OnRecord;
use rucio_client::{Adler32, ReplicaState};

use super::finding::{Code, Finding, Repair};

/// What lies on disk under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDisk {
    /// A plain file, and when it changed last.
    File(FileIdentity, UnixMillis),
    /// A link, directory, FIFO, …
    Special,
}

impl OnDisk {
    pub(super) fn identity(self) -> Option<FileIdentity> {
        match self {
            Self::File(identity, _) => Some(identity),
            Self::Special => None,
        }
    }
}

/// What Rucio has at the on-site RSE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replica {
    pub(super) state: ReplicaState,
    pub(super) bytes: u64,
    pub(super) adler32: Option<Adler32>,
}

/// Everything that is known of one name at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) lfn: String,
    pub(super) disk: Option<OnDisk>,
    /// When the trigger changed last, if it is there.
    pub(super) trigger: Option<UnixMillis>,
    pub(super) row: Option<OnRecord>,
    pub(super) replica: Option<Replica>,
    /// The on-site rule, if the ledger has one and it should stand.
    pub(super) protection: Option<Protection>,
    /// What Rucio has off site, if it was asked.
    pub(super) off_site: Option<OffSite>,
}

/// What Rucio has off site of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OffSite {
    pub(super) bytes: u64,
    pub(super) adler32: Option<Adler32>,
    /// With a copy that is AVAILABLE, or whose storage is out of reach for now.
    pub(super) sites: u32,
}

impl OffSite {
    /// Sites that hold a copy of the file that was verified.
    pub(super) fn good_sites(&self, row: &OnRecord) -> u32 {
        let same = matches!((&self.adler32, &row.adler32), (Some(theirs), Some(ours)) if *theirs == **ours);
        if self.bytes == row.bytes && same { self.sites } else { 0 }
    }
}

/// What is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Yardstick {
    pub(super) now: UnixMillis,
    /// What has changed less long ago, in milliseconds, may be on its road.
    pub(super) min_age: i64,
}

impl Yardstick {
    fn is_old(self, since: UnixMillis) -> bool {
        self.now - since >= self.min_age
    }
}

/// Everything that is wrong with a file; nothing while it is on its road.
pub(super) fn findings_about(facts: &Facts, yardstick: Yardstick) -> Vec<Finding> {
    let mut findings = match &facts.row {
        None => unknown(facts, yardstick),
        Some(row) => match row.state {
            State::Discovered | State::Verified => arriving(facts, row),
            State::Registered | State::Replicated | State::Confirmed => on_site(facts, row, yardstick),
            State::Releasing => Vec::new(),
            State::Released => released(facts, row, yardstick),
            State::Rejected => rejected(facts, yardstick),
            State::Held => held(facts, row),
        },
    };
    constitution(facts, &mut findings);
    findings
}

fn finding(facts: &Facts, code: Code, message: impl Into<String>) -> Finding {
    Finding {
        code,
        file: facts.lfn.clone(),
        state: facts.row.as_ref().map(|row| row.state),
        invariant: code.invariant(),
        message: message.into(),
        repair: None,
    }
}

fn unknown(facts: &Facts, yardstick: Yardstick) -> Vec<Finding> {
    let replica = facts.replica.as_ref().filter(|replica| replica.state != ReplicaState::BeingDeleted);
    match (facts.disk, replica) {
        (Some(OnDisk::File(found, _)), Some(replica)) => {
            let same = replica.state == ReplicaState::Available && replica.bytes == found.bytes;
            let message = format!(
                "Rucio has it on site ({:?}, {} bytes), {} bytes are on disk, the ledger does not know it",
                replica.state, replica.bytes, found.bytes
            );
            vec![Finding { repair: same.then_some(Repair::Restore), ..finding(facts, Code::Orphan, message) }]
        }
        (_, Some(replica)) => {
            let message = format!(
                "Rucio has it on site ({:?}, {} bytes), there is no such file, the ledger does not know it",
                replica.state, replica.bytes
            );
            vec![Finding { invariant: None, ..finding(facts, Code::Missing, message) }]
        }
        (Some(OnDisk::File(found, changed)), None) if facts.trigger.is_none() && yardstick.is_old(changed) => {
            let why = match &facts.replica {
                None => "neither the ledger nor Rucio knows it, and it has no trigger",
                Some(_) => "Rucio is deleting it, the ledger does not know it, and it has no trigger",
            };
            dark(facts, found, why)
        }
        (_, None) if facts.trigger.is_some_and(|since| yardstick.is_old(since)) => {
            let message = "nobody has taken it; neither the ledger nor Rucio knows the file";
            vec![finding(facts, Code::ForgottenTrigger, message)]
        }
        _ => Vec::new(),
    }
}

fn dark(facts: &Facts, found: FileIdentity, why: &str) -> Vec<Finding> {
    // what Rucio is deleting must not begin its road anew
    let repair = facts.replica.is_none().then_some(Repair::MakeTrigger);
    let message = format!("{} bytes on disk: {why}", found.bytes);
    vec![Finding { repair, ..finding(facts, Code::Dark, message) }]
}

fn arriving(facts: &Facts, row: &OnRecord) -> Vec<Finding> {
    if row.invalid_path.is_some() {
        // sentenced, and on its way into invalid/
        return Vec::new();
    }
    if facts.disk.is_none() {
        return vec![finding(facts, Code::Missing, format!("the ledger has it as {}, it is not on disk", row.state))];
    }
    Vec::new()
}

fn on_site(facts: &Facts, row: &OnRecord, yardstick: Yardstick) -> Vec<Finding> {
    let mut findings = Vec::new();
    // a second delivery explains what is on disk until it is compared
    let delivered_again = row.redelivered || facts.trigger.is_some();
    let same = match facts.disk {
        None => {
            let message = format!("the ledger has it as {} on site, it is not on disk", row.state);
            findings.push(finding(facts, Code::Missing, message));
            false
        }
        Some(OnDisk::File(found, _)) if found == row.identity() => true,
        Some(_) if delivered_again => false,
        Some(OnDisk::File(found, _)) if found.bytes != row.bytes => {
            let message = format!("{} bytes were verified, {} bytes are on disk", row.bytes, found.bytes);
            findings.push(finding(facts, Code::WrongSize, message));
            false
        }
        Some(OnDisk::File(..)) => {
            let message = "the file on disk is not the one that was verified: it has another inode or time";
            findings.push(finding(facts, Code::Changed, message));
            false
        }
        Some(OnDisk::Special) => {
            findings.push(finding(facts, Code::Changed, "what is on disk is not a plain file any more"));
            false
        }
    };
    let agrees = replica(facts, row, &mut findings);
    let forgotten = facts.trigger.is_some_and(|since| yardstick.is_old(since) && yardstick.is_old(row.state_since));
    if forgotten && same && !row.redelivered {
        let message = format!("it is {}, and its trigger is still there", row.state);
        let repair = (agrees && facts.protection == Some(Protection::Holds)).then_some(Repair::RemoveTrigger);
        findings.push(Finding { repair, ..finding(facts, Code::ForgottenTrigger, message) });
    }
    findings
}

/// Whether Rucio's on-site replica is as the ledger has it.
fn replica(facts: &Facts, row: &OnRecord, findings: &mut Vec<Finding>) -> bool {
    let before = findings.len();
    match &facts.replica {
        None => {
            let message = format!("the ledger has it as {}, Rucio has no replica of it on site", row.state);
            findings.push(finding(facts, Code::Unregistered, message));
        }
        Some(replica) => {
            if replica.state != ReplicaState::Available {
                let message =
                    format!("the ledger has it as {}, Rucio's replica on site is {:?}", row.state, replica.state);
                findings.push(finding(facts, Code::ReplicaState, message));
            }
            if replica.bytes != row.bytes {
                let message = format!("{} bytes were verified, Rucio has it with {} bytes", row.bytes, replica.bytes);
                findings.push(finding(facts, Code::WrongSize, message));
            }
            if let (Some(ours), Some(theirs)) = (&row.adler32, &replica.adler32)
                && *theirs != **ours
            {
                let message = format!("adler32 {ours} was verified, Rucio has it with {theirs}");
                findings.push(finding(facts, Code::WrongChecksum, message));
            }
        }
    }
    findings.len() == before
}

fn released(facts: &Facts, row: &OnRecord, yardstick: Yardstick) -> Vec<Finding> {
    let mut findings = Vec::new();
    match facts.disk {
        Some(OnDisk::File(found, changed))
            if facts.trigger.is_none() && !row.redelivered && yardstick.is_old(changed) =>
        {
            let which =
                if found == row.identity() { "the one that was verified" } else { "not the one that was verified" };
            let message = format!("it was released, and a file of {} bytes lies under its name, {which}", found.bytes);
            findings.push(finding(facts, Code::LeftOnSite, message));
        }
        None if facts.trigger.is_some_and(|since| yardstick.is_old(since)) => {
            let message = "it was released and is gone, and its trigger is still there";
            let repair = Some(Repair::RemoveTrigger);
            findings.push(Finding { repair, ..finding(facts, Code::ForgottenTrigger, message) });
        }
        _ => {}
    }
    findings.extend(replica_left(facts, "released"));
    findings
}

/// Rucio's replica of a file that is not on site any more.
fn replica_left(facts: &Facts, fate: &str) -> Option<Finding> {
    let replica = facts.replica.as_ref().filter(|replica| replica.state != ReplicaState::BeingDeleted)?;
    let message = format!("it was {fate}, and Rucio has a replica of it on site ({:?})", replica.state);
    Some(finding(facts, Code::Orphan, message))
}

fn rejected(facts: &Facts, yardstick: Yardstick) -> Vec<Finding> {
    let mut findings = match facts.disk {
        Some(OnDisk::File(found, changed)) if facts.trigger.is_none() && yardstick.is_old(changed) => {
            dark(facts, found, "the file of this name was rejected, and this one has no trigger")
        }
        _ => Vec::new(),
    };
    findings.extend(replica_left(facts, "rejected"));
    findings
}

fn held(facts: &Facts, row: &OnRecord) -> Vec<Finding> {
    let mut findings = Vec::new();
    if facts.disk.is_some() && facts.protection == Some(Protection::Ended) {
        let message = "it is held, and the rule that protects the on-site copy has ended";
        findings.push(finding(facts, Code::Unprotected, message));
    }
    if facts.disk.is_none() && row.release_ordered_at.is_none() {
        let message = match row.proven.0 {
            None => "it is held, and it is not on disk".to_owned(),
            Some(sites) => format!(
                "it is held, and it is not on disk, though no order to release it is on record; copies at {sites} site(s) \
                 were proven once"
            ),
        };
        findings.push(finding(facts, Code::Missing, message));
    }
    findings
}

/// The invariants, over the facts at hand; those that a finding names already are not named twice.
fn constitution(facts: &Facts, findings: &mut Vec<Finding>) {
    let Some(row) = &facts.row else { return };
    let delivered_again = row.redelivered || facts.trigger.is_some();
    let on_site = match facts.disk {
        // what is held contradicts itself already, and what lies in place of a rejected file is judged above
        _ if matches!(row.state, State::Held | State::Rejected) => None,
        None => Some(OnSite::Absent),
        Some(OnDisk::File(found, _)) if found == row.identity() => Some(OnSite::Delivered),
        // what changes before it is registered is read again
        Some(_) if delivered_again || matches!(row.state, State::Discovered | State::Verified) => None,
        Some(_) => Some(OnSite::Other),
    };
    let world = FileFacts {
        lfn: facts.lfn.clone(),
        state: Some(row.state),
        evidence_on_record: row.proven.0.is_some(),
        sites_on_record: row.proven.0,
        sentence_on_record: row.invalid_path.is_some(),
        on_site,
        set_aside: Some(false).filter(|_| row.invalid_path.is_none()),
        trigger: Some(facts.trigger.is_some()),
        protection: facts.protection,
        // what others have destroyed since is not known here, and told as well
        good_sites: facts.off_site.as_ref().map(|copies| copies.good_sites(row)),
        destroyed_since: 0,
    };
    for violation in world.violations(Copies::MIN) {
        let code = match violation.invariant {
            "I1" => Code::Unannounced,
            "I2" => Code::TooFewCopies,
            // what is given up needs no protection any more, but the evidence
            "I5" if !matches!(row.state, State::Releasing | State::Released) => Code::Unprotected,
            // "neither on site nor in invalid/": what lies there instead was told
            "I3" if !findings.is_empty() => continue,
            _ => Code::BrokenInvariant,
        };
        // a file that is gone has worse troubles than its trigger
        if code == Code::Unannounced && facts.disk.is_none() {
            continue;
        }
        let found = finding(facts, code, violation.why);
        findings.push(Finding { invariant: Some(violation.invariant), ..found });
    }
}
