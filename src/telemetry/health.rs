//! Whether the daemon is alive and whether it is ready: decided here, for all that say it (`/healthz`, `/readyz`, the page,
//! `/status` and with it `dl0-ingest status`, the metrics, and systemd's status line).
//!
//! *Alive* means that every stage has shown a heartbeat lately; if not, a restart may help. *Ready* means that the daemon has
//! all that it needs to do its work; if not, a restart helps nothing, and files wait. What an operator should know, and what
//! keeps nothing from working, is a notice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A stage that shows no heartbeat for this long is stuck.
pub const SILENCE: Duration = Duration::from_mins(2);

/// What the daemon needs. Each has one place in the code that says how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// The interface directory can be read, all of it.
    DataDirectory,
    /// The ledger can be written.
    Ledger,
    /// The record of irreversible effects can be written.
    AuditRecord,
    /// Rucio answers, and knows us.
    Rucio,
    /// Rucio's settings are as the daemon needs them.
    RucioSettings,
    /// Storages off site answer.
    DataCentres,
    /// No contradiction stops all releases.
    ReleaseBreaker,
    /// Files that wait for nobody but the daemon move on.
    Progress,
}

impl Need {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::DataDirectory,
        Self::Ledger,
        Self::AuditRecord,
        Self::Rucio,
        Self::RucioSettings,
        Self::DataCentres,
        Self::ReleaseBreaker,
        Self::Progress,
    ];

    /// As it is called in answers and on the page.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DataDirectory => "data directory",
            Self::Ledger => "ledger",
            Self::AuditRecord => "audit record",
            Self::Rucio => "rucio",
            Self::RucioSettings => "settings in rucio",
            Self::DataCentres => "data centres",
            Self::ReleaseBreaker => "release breaker",
            Self::Progress => "progress",
        }
    }

    /// As the metrics call it.
    pub fn label(self) -> &'static str {
        match self {
            Self::DataDirectory => "data_directory",
            Self::AuditRecord => "audit_record",
            Self::RucioSettings => "rucio_settings",
            Self::DataCentres => "data_centres",
            Self::ReleaseBreaker => "release_breaker",
            Self::Ledger | Self::Rucio | Self::Progress => self.as_str(),
        }
    }
}

/// Heartbeats of the stages, and how everything stands that the daemon needs.
#[derive(Debug, Default)]
pub struct Health {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    beats: BTreeMap<&'static str, Instant>,
    needs: BTreeMap<Need, Result<(), String>>,
    /// By RSE: whether its storage answered when it was asked last.
    storages: BTreeMap<String, Result<(), String>>,
    /// By who says them: about what, and what.
    notices: BTreeMap<&'static str, Vec<(String, String)>>,
}

/// Something that is not as it should be. It is shown to anybody: no paths, no names of files, no secrets.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Complaint {
    /// The stage, or what is needed.
    pub about: String,
    /// In words.
    pub reason: String,
}

impl Complaint {
    fn new(about: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { about: about.into(), reason: reason.into() }
    }
}

/// How the daemon stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Verdict {
    /// What keeps it from its work; ready without any.
    pub troubles: Vec<Complaint>,
    /// What an operator should know.
    pub notices: Vec<Complaint>,
}

impl Verdict {
    /// Whether the daemon has all that it needs.
    pub fn is_ready(&self) -> bool {
        self.troubles.is_empty()
    }
}

impl Health {
    /// Not ready until each of `needs` is reported to be there.
    pub fn new(needs: &[Need]) -> Self {
        let needs = needs.iter().map(|need| (*need, Err("not looked at yet".to_owned()))).collect();
        Self { inner: Mutex::new(Inner { needs, ..Inner::default() }) }
    }

    /// A stage is at work or idle, but not stuck. The first call makes it one that is waited for.
    pub fn heartbeat(&self, stage: &'static str) {
        self.lock().beats.insert(stage, Instant::now());
    }

    /// A stage has ended on purpose and is no longer waited for.
    pub fn retire(&self, stage: &'static str) {
        self.lock().beats.remove(stage);
    }

    /// Something needed is there, or is not for the reason given.
    pub fn set(&self, need: Need, state: Result<(), String>) {
        self.lock().needs.insert(need, state);
    }

    /// A storage answered, or did not.
    pub fn storage(&self, rse: &str, state: Result<(), String>) {
        self.lock().storages.insert(rse.to_owned(), state);
    }

    /// These are the data centres now; others are not waited for any more.
    pub fn data_centres(&self, rses: &BTreeSet<&str>) {
        self.lock().storages.retain(|rse, _| rses.contains(rse.as_str()));
    }

    /// How each storage stood when it was asked last, by RSE.
    pub fn storages(&self) -> BTreeMap<String, Result<(), String>> {
        self.lock().storages.clone()
    }

    /// Everything that `by` has to say beside what is needed: about what, and what. It takes the place of what `by` said before.
    pub fn notices(&self, by: &'static str, all: impl IntoIterator<Item = (String, String)>) {
        self.lock().notices.insert(by, all.into_iter().collect());
    }

    /// Which stages have been silent for longer than `max_age`.
    pub fn live(&self, max_age: Duration) -> Result<(), Vec<Complaint>> {
        let silent = self.lock().silent(max_age);
        if silent.is_empty() { Ok(()) } else { Err(silent) }
    }

    /// Whether a need is met, as it was reported last.
    pub fn is_met(&self, need: Need) -> bool {
        self.lock().trouble(need).is_none()
    }

    /// Why a need is not met, if it is not.
    pub fn reason(&self, need: Need) -> Option<String> {
        self.lock().trouble(need)
    }

    /// How the daemon stands now.
    pub fn verdict(&self) -> Verdict {
        let inner = self.lock();
        let mut troubles = inner.silent(SILENCE);
        let of_needs =
            Need::ALL.into_iter().filter_map(|need| Some(Complaint::new(need.as_str(), inner.trouble(need)?)));
        troubles.extend(of_needs);
        let mut notices = Vec::new();
        if inner.trouble(Need::DataCentres).is_none() {
            let silent = inner.silent_storages();
            notices.extend(silent.map(|(rse, why)| Complaint::new(rse, format!("its storage does not answer: {why}"))));
        }
        notices.extend(inner.notices.values().flatten().map(|(about, what)| Complaint::new(about, what)));
        Verdict { troubles, notices }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // nothing in here panics half-way through a change
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn silent(&self, max_age: Duration) -> Vec<Complaint> {
        let silent = |(stage, beat): (&&'static str, &Instant)| {
            let age = beat.elapsed();
            (age > max_age).then(|| Complaint::new(*stage, format!("silent for {} s", age.as_secs())))
        };
        self.beats.iter().filter_map(silent).collect()
    }

    fn silent_storages(&self) -> impl Iterator<Item = (&str, &str)> {
        self.storages.iter().filter_map(|(rse, state)| Some((rse.as_str(), state.as_ref().err()?.as_str())))
    }

    /// What is wrong with a need, if anything is.
    fn trouble(&self, need: Need) -> Option<String> {
        if let Some(Err(reason)) = self.needs.get(&need) {
            return Some(reason.clone());
        }
        let nobody_answers =
            need == Need::DataCentres && !self.storages.is_empty() && self.storages.values().all(Result::is_err);
        nobody_answers.then(|| {
            let each: Vec<String> = self.silent_storages().map(|(rse, why)| format!("{rse}: {why}")).collect();
            format!("no storage of a data centre answers ({})", each.join("; "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn troubles(health: &Health) -> Vec<String> {
        health.verdict().troubles.into_iter().map(|of| format!("{}: {}", of.about, of.reason)).collect()
    }

    #[test]
    fn ready_only_when_everything_needed_is_there() {
        let health = Health::new(&[Need::Ledger, Need::Rucio]);
        health.set(Need::Ledger, Ok(()));
        assert_eq!(troubles(&health), ["rucio: not looked at yet"]);
        health.set(Need::Rucio, Ok(()));
        assert!(health.verdict().is_ready() && health.is_met(Need::Rucio));
        health.set(Need::Rucio, Err("does not answer".to_owned()));
        assert!(!health.verdict().is_ready() && !health.is_met(Need::Rucio));
    }

    #[test]
    fn a_silent_stage_is_named_and_a_retired_one_is_not() {
        let health = Health::new(&[]);
        health.heartbeat("verify");
        assert_eq!(health.live(Duration::from_mins(1)), Ok(()));
        let silent = health.live(Duration::ZERO).map_err(|all| all.first().map(|complaint| complaint.about.clone()));
        assert_eq!(silent, Err(Some("verify".to_owned())));
        health.retire("verify");
        assert_eq!(health.live(Duration::ZERO), Ok(()));
    }

    #[test]
    fn one_silent_data_centre_is_a_notice_and_all_of_them_keep_the_daemon_from_its_work() {
        let health = Health::new(&[]);
        health.storage("PIC", Ok(()));
        health.storage("CSCS", Err("timed out".to_owned()));
        let verdict = health.verdict();
        assert!(verdict.is_ready());
        assert_eq!(verdict.notices, [Complaint::new("CSCS", "its storage does not answer: timed out")]);
        health.storage("PIC", Err("refused".to_owned()));
        let all = "data centres: no storage of a data centre answers (CSCS: timed out; PIC: refused)";
        assert_eq!(troubles(&health), [all]);
        assert!(health.verdict().notices.is_empty(), "said once");
        health.data_centres(&BTreeSet::from(["DESY"]));
        assert_eq!(health.verdict(), Verdict::default());
    }

    #[test]
    fn notices_last_until_those_who_gave_them_say_something_else() {
        let health = Health::new(&[]);
        let about = |what: &str| [("PIC".to_owned(), what.to_owned())];
        health.notices("settings", about("closed for writing"));
        health.notices("progress", about("no copy comes"));
        assert_eq!(health.verdict().notices.len(), 2);
        health.notices("settings", []);
        assert_eq!(health.verdict().notices, [Complaint::new("PIC", "no copy comes")]);
    }
}
