//! `/status`: what `dl0-ingest status` and other programs ask.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::StatusPage;
use crate::telemetry::Health;
use crate::telemetry::health::Complaint;

/// How a daemon stands, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// The id of its ledger.
    pub ledger: String,
    /// Whether it has all that it needs.
    pub ready: bool,
    /// What keeps it from its work.
    pub troubles: Vec<Complaint>,
    /// What an operator should know.
    pub notices: Vec<Complaint>,
    /// `up`, or why not.
    pub rucio: String,
    /// Each off-site RSE whose storage was asked: `None` if it answered, else why not.
    pub storages: BTreeMap<String, Option<String>>,
}

impl Status {
    pub(super) fn of(health: &Health, counted: &StatusPage) -> Self {
        let verdict = health.verdict();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ledger: counted.ledger.clone(),
            ready: verdict.is_ready(),
            troubles: verdict.troubles,
            notices: verdict.notices,
            rucio: counted.rucio.clone(),
            storages: health.storages().into_iter().map(|(rse, state)| (rse, state.err())).collect(),
        }
    }
}
