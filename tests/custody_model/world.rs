//! One state of everything: ledger, disk, Rucio, the storages, and what the daemon has in its hands.

use dl0_ingest::custody::State;

/// How many off-site RSEs there are: two data centres, the first with a second RSE.
pub(crate) const RSES: usize = 3;
pub(crate) const NAMES: [&str; RSES] = ["NORTH-1", "SOUTH-1", "NORTH-2"];
pub(crate) const SITES: [&str; RSES] = ["north", "south", "north"];
pub(crate) const ON_SITE: &str = "STORAGE-1";

/// A delivery is told from another by its identity on disk (size, modification time, inode).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Delivery {
    First,
    Second,
}

/// What bytes are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    Original,
    Other,
}

/// A file's row in the ledger, as far as the protocol reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) state: State,
    pub(crate) delivery: Delivery,
    pub(crate) trigger_pending: bool,
    pub(crate) redelivered: bool,
    /// A sentence with its place in `invalid/`.
    pub(crate) sentence: bool,
    /// Id of the on-site rule.
    pub(crate) on_site_rule: Option<u8>,
    pub(crate) first_look: Option<FirstSeen>,
    pub(crate) evidence: bool,
    pub(crate) release_ordered: bool,
    pub(crate) replica_gone: bool,
}

impl Row {
    pub(crate) fn new(delivery: Delivery) -> Self {
        Self {
            state: State::Discovered,
            delivery,
            trigger_pending: true,
            redelivered: false,
            sentence: false,
            on_site_rule: None,
            first_look: None,
            evidence: false,
            release_ordered: false,
            replica_gone: false,
        }
    }
}

/// The first look: where copies were proven, and whether the hold time has passed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FirstSeen {
    pub(crate) proven: [bool; RSES],
    pub(crate) hold_passed: bool,
}

/// The on-site replica in Rucio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Replica {
    None,
    Available,
    /// AVAILABLE, but with a tombstone: the reaper may come.
    Doomed,
    BeingDeleted,
}

/// The on-site rule in Rucio, with its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OnSiteRule {
    None,
    Stands(u8),
    /// Its lifetime is over, the judge has not cleaned it yet.
    Ended(u8),
}

/// An off-site replica's row in Rucio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Listed {
    No,
    Copying,
    Available,
    OutOfReach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lock {
    None,
    Replicating,
    Ok,
}

/// What really lies on an off-site storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bytes {
    None,
    Damaged,
    Of(Content),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Copy {
    pub(crate) listed: Listed,
    pub(crate) lock: Lock,
    pub(crate) bytes: Bytes,
}

/// What a storage answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    NotAsked,
    Silent,
    Missing,
    Right,
    Wrong,
}

/// What a look has seen of one off-site copy so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) listed: Listed,
    pub(crate) lock_ok: bool,
    /// What carries the rule of the lock has an end.
    pub(crate) ends: bool,
    pub(crate) answer: Answer,
}

/// A look under way, in the memory of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Look {
    pub(crate) seen: [Seen; RSES],
    /// The hold time had passed when it began.
    pub(crate) hold_passed: bool,
    /// It is older than what counts as fresh.
    pub(crate) stale: bool,
}

impl Look {
    /// Whether a storage has told what the look will rest on.
    pub(crate) fn is_answered_by_some(&self) -> bool {
        self.seen.iter().any(|seen| seen.answer != Answer::NotAsked)
    }

    /// Where an answer is still to come.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = usize> {
        let seen = self.seen;
        let open = move |rse: &usize| seen[*rse].listed == Listed::Available && seen[*rse].answer == Answer::NotAsked;
        (0..RSES).filter(open)
    }
}

/// What the daemon is about to do with a file. All of it is lost when it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hands {
    Free,
    // verify
    FoundSound,
    FoundBad,
    Sentenced,
    ReasonWritten,
    Aside,
    Untriggered,
    // register
    Compared,
    Unchanged,
    Attached,
    Protected(u8),
    // replicate
    SourceKnown(u8),
    Ordered,
    // a look, for the stage that leaves the file's state
    Listed(Look),
    Locked(Look),
    Answered(Look),
    // release and departure
    MayRelease(Look),
    IntentWritten(Look),
    RuleEnded(Look),
    MayRemove(Look),
}

/// One file and everything about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct File {
    pub(crate) row: Option<Row>,
    pub(crate) hands: Hands,
    /// The delivery that the stage at work has claimed.
    pub(crate) claimed: Delivery,
    // the disk
    pub(crate) disk: Option<Delivery>,
    pub(crate) trigger: bool,
    pub(crate) reason_lies: bool,
    pub(crate) set_aside: Option<Delivery>,
    /// The first delivery is not sound.
    pub(crate) bad: bool,
    /// What the second delivery holds, once it has come.
    pub(crate) second: Option<Content>,
    // Rucio
    pub(crate) did: Option<Content>,
    pub(crate) replica: Replica,
    pub(crate) on_site_rule: OnSiteRule,
    pub(crate) further_copies_rule: bool,
    pub(crate) copies: [Copy; RSES],
    /// A request to end the on-site rule that the client has given up on and Rucio may yet carry out.
    pub(crate) late_end: Option<u8>,
    /// Right copies that others destroyed since the look that the release rests on.
    pub(crate) destroyed: u8,
    /// The dataset had an end already when that look asked for the locks.
    pub(crate) end_stood: bool,
}

impl File {
    pub(crate) fn delivered(bad: bool) -> Self {
        Self {
            row: None,
            hands: Hands::Free,
            claimed: Delivery::First,
            disk: Some(Delivery::First),
            trigger: true,
            reason_lies: false,
            set_aside: None,
            bad,
            second: None,
            did: None,
            replica: Replica::None,
            on_site_rule: OnSiteRule::None,
            further_copies_rule: false,
            copies: [Copy { listed: Listed::No, lock: Lock::None, bytes: Bytes::None }; RSES],
            late_end: None,
            destroyed: 0,
            end_stood: false,
        }
    }

    pub(crate) fn content(&self, delivery: Delivery) -> Content {
        match delivery {
            Delivery::First => Content::Original,
            Delivery::Second => self.second.unwrap_or(Content::Original),
        }
    }

    /// What was delivered last, and must not be lost.
    pub(crate) fn owed(&self) -> Content {
        self.content(if self.second.is_some() { Delivery::Second } else { Delivery::First })
    }

    pub(crate) fn is_in(&self, state: State) -> bool {
        self.row.is_some_and(|row| row.state == state)
    }

    /// The end of the on-site rule was asked for, and the on-site copy goes by that. A copy that Rucio has forgotten on disk goes
    /// only by a new decision.
    pub(crate) fn is_on_its_way_out(&self) -> bool {
        let ended = self.late_end.is_some()
            || matches!(self.on_site_rule, OnSiteRule::Ended(_))
            || self.replica == Replica::Doomed;
        ended || self.replica == Replica::BeingDeleted
    }

    /// Something was decided on a look that is not yet settled.
    pub(crate) fn rests_on_a_look(&self) -> bool {
        let deciding = matches!(
            self.hands,
            Hands::Answered(_)
                | Hands::MayRelease(_)
                | Hands::IntentWritten(_)
                | Hands::RuleEnded(_)
                | Hands::MayRemove(_)
        ) || matches!(self.hands, Hands::Locked(look) if look.is_answered_by_some());
        deciding || self.is_on_its_way_out() || (self.disk.is_none() && self.replica == Replica::None)
    }
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World<const N: usize> {
    pub(crate) files: [File; N],
    /// The first-copy rule of the dataset in Rucio: the RSE it chose.
    pub(crate) first_copy_rule: Option<u8>,
    /// The first-copy rule in the ledger.
    pub(crate) first_copy_rule_known: bool,
    /// Somebody gave the dataset an end: Rucio's undertaker may come for it and its rule.
    pub(crate) dataset_ends: bool,
    /// Misfortunes still to come.
    pub(crate) misfortunes: u8,
}
