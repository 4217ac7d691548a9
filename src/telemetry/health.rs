//! Whether the daemon is alive and whether it is ready.
//!
//! *Alive* means that every stage has shown a heartbeat lately; if not, a restart may help. *Ready* means that every
//! component it needs works; if not, a restart helps nothing, and files wait.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Heartbeats of the stages and readiness of the components.
#[derive(Debug, Default)]
pub struct Health {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    beats: BTreeMap<&'static str, Instant>,
    components: BTreeMap<&'static str, Result<(), String>>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Complaint {
    /// The stage or component.
    pub about: &'static str,
    /// In words.
    pub reason: String,
}

impl Health {
    /// Not ready until each of `components` has reported that it is.
    pub fn new(components: &[&'static str]) -> Self {
        let components = components.iter().map(|name| (*name, Err("has not started yet".to_owned()))).collect();
        Self { inner: Mutex::new(Inner { beats: BTreeMap::new(), components }) }
    }

    /// A stage is at work or idle, but not stuck. The first call makes it one that is waited for.
    pub fn heartbeat(&self, stage: &'static str) {
        self.lock().beats.insert(stage, Instant::now());
    }

    /// A stage has ended on purpose and is no longer waited for.
    pub fn retire(&self, stage: &'static str) {
        self.lock().beats.remove(stage);
    }

    /// A component works, or does not for the reason given. Reasons are shown on the status page: no paths, no secrets.
    pub fn set_ready(&self, component: &'static str, state: Result<(), String>) {
        self.lock().components.insert(component, state);
    }

    /// Which stages have been silent for longer than `max_age`.
    pub fn live(&self, max_age: Duration) -> Result<(), Vec<Complaint>> {
        let silent = |(stage, beat): (&&'static str, &Instant)| {
            let age = beat.elapsed();
            let reason = || format!("silent for {} s", age.as_secs());
            (age > max_age).then(|| Complaint { about: stage, reason: reason() })
        };
        none(self.lock().beats.iter().filter_map(silent).collect())
    }

    /// Which components do not work.
    pub fn ready(&self) -> Result<(), Vec<Complaint>> {
        let broken = |(name, state): (&&'static str, &Result<(), String>)| {
            state.as_ref().err().map(|reason| Complaint { about: name, reason: reason.clone() })
        };
        none(self.lock().components.iter().filter_map(broken).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // nothing in here panics half-way through a change
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn none(complaints: Vec<Complaint>) -> Result<(), Vec<Complaint>> {
    if complaints.is_empty() { Ok(()) } else { Err(complaints) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_every_component_has_said_so() {
        let health = Health::new(&["ledger", "rucio"]);
        health.set_ready("ledger", Ok(()));
        let waiting = Complaint { about: "rucio", reason: "has not started yet".to_owned() };
        assert_eq!(health.ready(), Err(vec![waiting]));
        health.set_ready("rucio", Ok(()));
        assert_eq!(health.ready(), Ok(()));
        health.set_ready("rucio", Err("does not answer".to_owned()));
        assert_eq!(health.ready().map_err(|all| all.len()), Err(1));
    }

    #[test]
    fn a_silent_stage_is_named_and_a_retired_one_is_not() {
        let health = Health::new(&[]);
        health.heartbeat("verify");
        assert_eq!(health.live(Duration::from_mins(1)), Ok(()));
        let silent = health.live(Duration::ZERO).map_err(|all| all.first().map(|complaint| complaint.about));
        assert_eq!(silent, Err(Some("verify")));
        health.retire("verify");
        assert_eq!(health.live(Duration::ZERO), Ok(()));
    }
}
