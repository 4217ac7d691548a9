//! What Rucio says of a file that waits for its copies, asked at this moment and not for long.

use std::sync::Arc;
use std::time::Duration;

use crate::cli::ledger::Reader;
use crate::config::Config;
use crate::custody::State;
use crate::daemon;
use crate::ledger::FileRow;
use crate::names::Did;
use crate::telemetry::Metrics;
use rucio_client::{Client, Error, Kind, LockState, Rule, RuleState, StuckTransfer};

/// For one answer, and for all of them: whoever asks is waiting.
const ANSWER: Duration = Duration::from_secs(5);
const ALL_ANSWERS: Duration = Duration::from_secs(10);
/// Longer errors of transfers say nothing more.
const ERROR_MAX: usize = 300;

/// Lines for the explanation.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) because: Vec<String>,
    pub(super) operator: Vec<String>,
}

/// Asks Rucio about the rules of a file that waits for copies. When it does not answer, that is what is told.
pub(super) async fn ask(reader: &Reader, row: &FileRow) -> Result<Told, crate::ledger::Error> {
    if !matches!(row.state, State::Registered | State::Replicated | State::Confirmed) {
        return Ok(Told::default());
    }
    let first_copy_rule = reader.ledger.first_copy_rule(&row.dataset_did()).await?;
    let rules = [("first copy", first_copy_rule), ("further copies", row.further_copies_rule.clone())];
    let asked = async {
        let rucio = client(&reader.config).map_err(|error| error.to_string())?;
        let mut told = Told::default();
        for (what, id) in rules {
            let Some(id) = id else { continue };
            let found = Found::ask(&rucio, &id, &row.did()).await.map_err(|error| error.to_string())?;
            found.tell(what, &id, &mut told);
        }
        Ok(told)
    };
    let outcome = match tokio::time::timeout(ALL_ANSWERS, asked).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {} s", ALL_ANSWERS.as_secs())),
    };
    Ok(outcome.unwrap_or_else(|why: String| Told {
        because: vec![format!("Rucio could not be asked about its rules and locks: {why}.")],
        operator: Vec::new(),
    }))
}

fn client(config: &Config) -> Result<Client, daemon::Error> {
    let mut config = config.clone();
    config.rucio.timeout = config.rucio.timeout.min(ANSWER);
    config.rucio.connect_timeout = config.rucio.connect_timeout.min(ANSWER);
    config.rucio.retry_budget = config.rucio.retry_budget.min(ANSWER);
    Ok(daemon::clients(&config, &Arc::new(Metrics::new()))?.0)
}

/// A rule, as far as it concerns one file.
#[derive(Debug, Default)]
struct Found {
    /// `None`: Rucio does not have it.
    rule: Option<Rule>,
    locks: Vec<(String, LockState)>,
    /// Of its stuck lock.
    transfer: Option<StuckTransfer>,
}

impl Found {
    async fn ask(rucio: &Client, id: &str, did: &Did) -> Result<Self, Error> {
        let rule = match rucio.rule(id).await {
            Ok(rule) => rule,
            Err(error) if error.kind() == Kind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let locks = rucio.rule_locks(id).await?.into_iter().filter(|lock| lock.did == *did);
        let locks: Vec<(String, LockState)> = locks.map(|lock| (lock.rse, lock.state)).collect();
        let stuck = rule.state == RuleState::Stuck && locks.iter().any(|(_, state)| *state == LockState::Stuck);
        let transfer = if stuck {
            rucio.rule_analysis(id).await?.transfers.into_iter().find(|transfer| transfer.did == *did)
        } else {
            None
        };
        Ok(Self { rule: Some(rule), locks, transfer })
    }

    fn tell(&self, what: &str, id: &str, told: &mut Told) {
        let Some(rule) = &self.rule else {
            told.because.push(format!("The rule of its {what} ({id}) is not in Rucio any more; it is placed again."));
            return;
        };
        if let Some(end) = &rule.expires_at {
            told.because.push(format!("The rule of its {what} ({id}) was given an end by somebody: {end}."));
        }
        if rule.state == RuleState::Suspended {
            told.because.push(format!(
                "The rule of its {what} ({id}) is SUSPENDED in Rucio, by an operator or after two weeks of failures: \
                 nothing is done for it."
            ));
            told.operator.push(format!("let the rule go on, when its reason is gone: rucio rule update --stuck {id}"));
        }
        if self.locks.is_empty() {
            told.because.push(format!("The rule of its {what} ({id}) has no lock on it; Rucio's judge gives it one."));
        }
        for (rse, state) in &self.locks {
            told.because.push(match state {
                LockState::Ok => format!("At {rse} the lock of its {what} is OK."),
                LockState::Replicating => {
                    format!("At {rse} the lock of its {what} is REPLICATING: a transfer is under way.")
                }
                LockState::Stuck => format!("At {rse} the lock of its {what} is STUCK{}.", self.reason(rule)),
                LockState::Unknown => {
                    format!("At {rse} the lock of its {what} is in a state this version does not know.")
                }
            });
            if *state == LockState::Stuck {
                told.operator.push(format!("see whether {rse} takes files, and its link and FTS are up"));
                told.operator.push(format!("have Rucio try again at once: rucio rule update --boost-rule {id}"));
            }
        }
    }

    /// Since when, why, and after how many attempts, as far as Rucio says.
    fn reason(&self, rule: &Rule) -> String {
        let since = rule.stuck_at.as_ref().map(|since| format!(" since {since}"));
        let attempts = self.transfer.as_ref().map(|transfer| {
            let source = transfer.last_source.as_ref().map(|source| format!(", the last from {source}"));
            format!(", after {} attempts{}", transfer.attempts, source.unwrap_or_default())
        });
        let error = rule.error.as_ref().filter(|error| !error.is_empty()).map(|error| {
            let short: String = error.chars().filter(|c| !c.is_control()).take(ERROR_MAX).collect();
            format!(". Rucio says: {short}")
        });
        [since, attempts, error].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn rule(state: RuleState) -> Rule {
        Rule {
            id: ID.to_owned(),
            did: Did::new("acada", "/ctao/a"),
            account: "ingest".to_owned(),
            rse_expression: "OFFSITE".to_owned(),
            copies: 1,
            state,
            expires_at: None,
            locks_ok: 0,
            locks_replicating: 0,
            locks_stuck: 0,
            error: None,
            stuck_at: None,
            source_replica_expression: None,
            purge_replicas: false,
            meta: None,
        }
    }

    fn words(what: &str, found: &Found) -> String {
        let mut told = Told::default();
        found.tell(what, ID, &mut told);
        let Told { because, operator } = told;
        format!("{}\n\nYou can\n{}", because.join("\n"), operator.join("\n"))
    }

    #[test]
    fn a_stuck_lock_is_told_with_its_place_its_reason_and_a_way_out() {
        let stuck = Rule {
            error: Some("DESTINATION OVERWRITE\n[SE][Put] quota exceeded".to_owned()),
            stuck_at: Some("Thu, 01 Jan 2026 20:00:00 UTC".to_owned()),
            ..rule(RuleState::Stuck)
        };
        let transfer = StuckTransfer {
            did: Did::new("acada", "/ctao/a"),
            rse: "STORAGE-2".to_owned(),
            attempts: 4,
            last_source: Some("STORAGE-1".to_owned()),
        };
        let locks = vec![("STORAGE-2".to_owned(), LockState::Stuck)];
        let found = Found { rule: Some(stuck), locks, transfer: Some(transfer) };
        assert_snapshot!(words("first copy", &found));
    }

    #[test]
    fn a_rule_that_is_suspended_ending_or_gone_is_told() {
        let suspended = Found { rule: Some(rule(RuleState::Suspended)), ..Found::default() };
        let ending =
            Rule { expires_at: Some("Thu, 01 Jan 2026 21:00:00 UTC".to_owned()), ..rule(RuleState::Replicating) };
        let locks = vec![("STORAGE-3".to_owned(), LockState::Replicating), ("STORAGE-2".to_owned(), LockState::Ok)];
        let ending = Found { rule: Some(ending), locks, transfer: None };
        let all = [suspended, ending, Found::default()].map(|found| words("further copies", &found));
        assert_snapshot!(all.join("\n---\n"));
    }
}
