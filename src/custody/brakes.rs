//! What stops a release although the evidence is complete. Decisions over facts, no I/O.

use std::time::Duration;

use serde::Serialize;

use super::time::UnixMillis;

/// The breaker is open since this happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trip {
    /// When.
    pub at: UnixMillis,
    /// Kind of contradiction, kebab-case.
    pub code: String,
    /// In words.
    pub reason: String,
    /// The file it was found at, if it was one.
    pub lfn: Option<String>,
}

/// What a hold keeps on site.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", content = "name", rename_all = "lowercase")]
pub enum Target {
    /// One file, by its LFN.
    File(String),
    /// The files of a dataset, by its DID (`scope:name`).
    Dataset(String),
    /// Everything.
    All,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(lfn) => f.write_str(lfn),
            Self::Dataset(did) => write!(f, "dataset {did}"),
            Self::All => f.write_str("all files"),
        }
    }
}

/// An operator wants on-site copies kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// Which.
    #[serde(flatten)]
    pub target: Target,
    /// Since when.
    pub since: UnixMillis,
    /// Who placed it.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Hold {
    /// Whether it keeps the file of this LFN in this dataset (`scope:name`).
    pub fn covers(&self, lfn: &str, dataset: &str) -> bool {
        match &self.target {
            Target::File(name) => name == lfn,
            Target::Dataset(name) => name == dataset,
            Target::All => true,
        }
    }
}

/// The most that is released within any hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

impl Limits {
    /// No limit, for what is not a release.
    pub const NONE: Self = Self { files: u64::MAX, bytes: u64::MAX };
}

/// What was released within the last hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Files.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// When the first of them was, at the latest.
    pub first: Option<UnixMillis>,
}

/// The brakes as they stand for one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brakes {
    /// The content of the kill switch, or why it cannot be looked at.
    pub kill_switch: Option<String>,
    /// The breaker, if it is open.
    pub breaker: Option<Trip>,
    /// A hold on the file.
    pub hold: Option<Hold>,
    /// What was released lately.
    pub spent: Spent,
}

/// Why a proven file stays for now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Brake {
    /// The kill switch.
    #[error("the kill switch stops all releases ({0}); remove the file to go on")]
    KillSwitch(String),
    /// The breaker.
    #[error("the release breaker is open: {0}; see dl0-ingest breaker")]
    Breaker(String),
    /// A hold.
    #[error("{by} holds {target}: {reason}; lift it with dl0-ingest release-hold")]
    Hold {
        /// What is held.
        target: Target,
        /// By whom.
        by: String,
        /// Why.
        reason: String,
    },
    /// The limit of an hour is reached.
    #[error("{spent} were released within the last hour (release.{key})")]
    Spent {
        /// How much, in words.
        spent: String,
        /// The setting.
        key: &'static str,
        /// When the hour that is full begins to end.
        until: UnixMillis,
    },
}

/// The window of the limits, in milliseconds.
pub const HOUR: UnixMillis = 60 * MINUTE;

/// What releases are counted by, in milliseconds.
pub const MINUTE: UnixMillis = 60_000;

impl Brakes {
    /// Whether a file of that size may be released at `now`. A file larger than a whole hour's bytes goes alone.
    pub fn allows(&self, bytes: u64, limits: Limits, now: UnixMillis) -> Result<(), Brake> {
        if let Some(reason) = &self.kill_switch {
            return Err(Brake::KillSwitch(reason.clone()));
        }
        if let Some(trip) = &self.breaker {
            return Err(Brake::Breaker(trip.reason.clone()));
        }
        if let Some(hold) = &self.hold {
            let Hold { target, by, reason, .. } = hold.clone();
            return Err(Brake::Hold { target, by, reason });
        }
        let Spent { files, bytes: gone, first } = self.spent;
        let until = first.map_or(now, |first| first.saturating_add(HOUR));
        if files >= limits.files {
            return Err(Brake::Spent { spent: format!("{files} files"), key: "max_files_per_hour", until });
        }
        if files > 0 && gone.saturating_add(bytes) > limits.bytes {
            return Err(Brake::Spent { spent: format!("{gone} bytes"), key: "max_bytes_per_hour", until });
        }
        Ok(())
    }
}

impl Brake {
    /// When to ask again. Whoever lifts a brake makes the files due at once; this is the safety net.
    pub fn look_again(&self, now: UnixMillis) -> Duration {
        const SOON: Duration = Duration::from_secs(1);
        const LATER: Duration = Duration::from_mins(1);
        match self {
            Self::Spent { until, .. } => {
                Duration::from_millis(u64::try_from(until - now).unwrap_or(0)).clamp(SOON, LATER)
            }
            Self::KillSwitch(_) | Self::Breaker(_) | Self::Hold { .. } => LATER,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { files: 3, bytes: 100 };

    fn hold(target: Target) -> Hold {
        Hold { target, since: 0, by: "ada (uid 1000)".to_owned(), reason: "being looked at".to_owned() }
    }

    #[test]
    fn any_one_brake_stops_a_release_and_says_what_to_do() {
        let trip = Trip { at: 0, code: "evidence".to_owned(), reason: "a copy is gone".to_owned(), lfn: None };
        let spent = |files, bytes| Brakes { spent: Spent { files, bytes, first: Some(0) }, ..Brakes::default() };
        let braked = [
            Brakes { kill_switch: Some("maintenance".to_owned()), ..Brakes::default() },
            Brakes { breaker: Some(trip), ..Brakes::default() },
            Brakes { hold: Some(hold(Target::All)), ..Brakes::default() },
            spent(3, 30),
            spent(2, 95),
        ];
        let told: Vec<String> = braked.iter().map(|b| b.allows(10, LIMITS, 5).unwrap_err().to_string()).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        the kill switch stops all releases (maintenance); remove the file to go on
        the release breaker is open: a copy is gone; see dl0-ingest breaker
        ada (uid 1000) holds all files: being looked at; lift it with dl0-ingest release-hold
        3 files were released within the last hour (release.max_files_per_hour)
        95 bytes were released within the last hour (release.max_bytes_per_hour)
        ");
        assert_eq!(Brakes::default().allows(10, LIMITS, 5), Ok(()));
        assert_eq!(spent(2, 90).allows(10, LIMITS, 5), Ok(()));
    }

    #[test]
    fn a_hold_keeps_what_it_names_and_nothing_else() {
        let covers = |target| hold(target).covers("/a/b", "acada:/a");
        assert!(covers(Target::All));
        assert!(covers(Target::File("/a/b".to_owned())) && !covers(Target::File("/a/c".to_owned())));
        assert!(covers(Target::Dataset("acada:/a".to_owned())) && !covers(Target::Dataset("other:/a".to_owned())));
    }

    #[test]
    fn a_file_larger_than_an_hour_goes_alone() {
        assert_eq!(Brakes::default().allows(1_000, LIMITS, 5), Ok(()));
        let spent = Spent { files: 1, bytes: 1, first: Some(0) };
        assert!(Brakes { spent, ..Brakes::default() }.allows(1_000, LIMITS, 5).is_err());
    }

    proptest! {
        /// Whatever comes when, no hour ever sees more than the limits.
        #[test]
        fn no_hour_sees_more_than_its_limits(steps in proptest::collection::vec((0i64..HOUR, 1u64..60), 1..60)) {
            let mut released: Vec<(UnixMillis, u64)> = Vec::new();
            let mut now = 0;
            for (step, bytes) in steps {
                now += step;
                let lately: Vec<_> = released.iter().filter(|(at, _)| *at > now - HOUR).collect();
                let spent = Spent {
                    files: lately.len() as u64,
                    bytes: lately.iter().map(|(_, bytes)| bytes).sum(),
                    first: lately.first().map(|(at, _)| *at),
                };
                match (Brakes { spent, ..Brakes::default() }).allows(bytes, LIMITS, now) {
                    Ok(()) => released.push((now, bytes)),
                    Err(brake) => prop_assert!(brake.look_again(now) >= Duration::from_secs(1)),
                }
            }
            for (end, _) in &released {
                let hour: Vec<_> = released.iter().filter(|(at, _)| at <= end && *at > end - HOUR).collect();
                prop_assert!(hour.len() as u64 <= LIMITS.files);
                prop_assert!(hour.iter().map(|(_, bytes)| bytes).sum::<u64>() <= LIMITS.bytes);
            }
        }
    }
}
