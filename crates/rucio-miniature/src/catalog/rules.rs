//! Replication rules: placing, changing, ending them.

use std::time::{Duration, SystemTime};

use super::evaluation;
use super::records::{Grouping, Progress, Rule};
use super::tables::{Catalog, not_found};
use crate::dates;
use crate::journal::Event;
use crate::refusal::{Class, Refusal, refuse};
use rucio_client::Did;

/// How long `DELETE /rules/{id}` leaves a rule alive.
const DELETION_DELAY: Duration = Duration::from_hours(1);

/// Activity of a rule that names none.
const DEFAULT_ACTIVITY: &str = "User Subscriptions";

/// Activities the policy's schema knows.
const ACTIVITIES: [&str; 18] = [
    "Data Brokering",
    "Data Consolidation",
    "Data Rebalancing",
    "Debug",
    "Express",
    "Functional Test",
    "Group Subscriptions",
    "Production Input",
    "Production Output",
    "Analysis Input",
    "Analysis Output",
    "Staging",
    "T0 Export",
    "T0 Tape",
    "Upload/Download (Job)",
    "Upload/Download (User)",
    "User Subscriptions",
    "Data Challenge",
];

/// What `POST /rules/` asks for.
#[derive(Clone, Debug)]
pub(crate) struct NewRule {
    pub(crate) dids: Vec<Did>,
    pub(crate) account: String,
    pub(crate) copies: u32,
    pub(crate) rse_expression: String,
    pub(crate) source_replica_expression: Option<String>,
    pub(crate) grouping: Grouping,
    pub(crate) lifetime: Option<f64>,
    pub(crate) activity: Option<String>,
    pub(crate) comment: Option<String>,
    pub(crate) meta: Option<String>,
    pub(crate) priority: u64,
    pub(crate) locked: bool,
    pub(crate) purge_replicas: bool,
}

/// What becomes of something that may be absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Change<T> {
    #[default]
    Keep,
    Clear,
    Set(T),
}

/// What `PUT /rules/{id}` may change; `None` leaves a thing as it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleChange {
    /// Seconds from now, or no end at all.
    pub(crate) lifetime: Change<f64>,
    pub(crate) purge_replicas: Option<bool>,
    pub(crate) locked: Option<bool>,
    pub(crate) priority: Option<u64>,
    pub(crate) comment: Change<String>,
    pub(crate) boost: bool,
    /// `suspended` stops the rule, `stuck` hands it to the repairer; Rucio takes any other word and does nothing.
    pub(crate) state: Option<String>,
}

impl Catalog {
    /// One rule per DID, all or none; ids in the order of the DIDs.
    pub(crate) fn add_rules(&mut self, issuer: &str, new: &NewRule, now: SystemTime) -> Result<Vec<String>, Refusal> {
        check_schema(new)?;
        if !self.is_admin(issuer) && (new.account != issuer || new.locked) {
            return refuse(Class::AccessDenied, format!("Account {issuer} can not add replication rule. "));
        }
        if new.copies == 0 {
            let message = "The number of copies for a replication rule should be greater than 0.";
            return refuse(Class::InvalidValueForKey, message);
        }
        let targets = self.resolve(&new.rse_expression)?;
        if let Some(source) = &new.source_replica_expression
            && self.resolve(source).is_err()
        {
            return refuse(Class::Internal, "Internal Server Error");
        }
        if targets.len() < new.copies as usize {
            let message = format!(
                "Target RSE set not sufficient for number of copies. ({} copies requested, RSE set size {})",
                new.copies,
                targets.len()
            );
            return refuse(Class::InsufficientTargetRses, message);
        }
        if !self.is_admin(&new.account) {
            let message = "There is insufficient quota on any of the target RSE's to fulfill the operation.";
            return refuse(Class::InsufficientAccountLimit, message);
        }
        for (index, did) in new.dids.iter().enumerate() {
            if !self.dids.contains_key(did) {
                let message = format!("Data identifier {did} is not valid.");
                return refuse(Class::DataIdentifierNotFound, message);
            }
            let same = |rule: &Rule| {
                rule.account == new.account && rule.rse_expression == new.rse_expression && rule.copies == new.copies
            };
            if self.rules_on(did).any(same) || new.dids[..index].contains(did) {
                let message = "duplicate key value violates unique constraint \"RULES_SC_NA_AC_RS_CO_UQ_IDX\"";
                return refuse(Class::DuplicateRule, message);
            }
            for (_, files) in self.files_below(did) {
                evaluation::check_targets(self, &files, &targets, new.copies, new.grouping)?;
            }
        }
        new.dids.iter().map(|did| self.add_rule(did, new, now)).collect()
    }

    fn add_rule(&mut self, did: &Did, new: &NewRule, now: SystemTime) -> Result<String, Refusal> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let rule = Rule {
            id: id.clone(),
            did: did.clone(),
            kind: self.did(did)?.kind,
            account: new.account.clone(),
            copies: new.copies,
            rse_expression: new.rse_expression.clone(),
            source_replica_expression: new.source_replica_expression.clone(),
            grouping: new.grouping,
            activity: new.activity.clone().unwrap_or_else(|| DEFAULT_ACTIVITY.to_owned()),
            comment: new.comment.clone(),
            meta: new.meta.clone(),
            priority: new.priority,
            locked: new.locked,
            purge_replicas: new.purge_replicas,
            state: Progress::Replicating,
            suspended: false,
            error: None,
            stuck_at: None,
            created: now,
            updated: now,
            expires: new.lifetime.map(|seconds| dates::after(now, seconds)),
            locks_ok: 0,
            locks_replicating: 0,
            locks_stuck: 0,
        };
        self.rules.insert(id.clone(), rule);
        self.rules_on.entry(did.clone()).or_default().insert(id.clone());
        for (dataset, files) in self.files_below(did) {
            self.apply_rule(&id, dataset.as_ref(), &files, now)?;
        }
        self.restate(&id, now);
        self.events.push(Event::RulePlaced {
            id: id.clone(),
            did: did.clone(),
            rse_expression: new.rse_expression.clone(),
        });
        Ok(id)
    }

    /// `PUT /rules/{id}`.
    pub(crate) fn update_rule(
        &mut self,
        issuer: &str,
        id: &str,
        change: &RuleChange,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        if !self.is_admin(issuer) {
            return refuse(Class::AccessDenied, format!("Account {issuer} can not update this replication rule. "));
        }
        self.rule(id)?;
        let Some(rule) = self.rules.get_mut(id) else { return Ok(()) };
        rule.updated = now;
        match change.lifetime {
            Change::Keep => {}
            Change::Clear => rule.expires = None,
            Change::Set(seconds) => rule.expires = Some(dates::after(now, seconds)),
        }
        if change.lifetime != Change::Keep && rule.expires.is_some_and(|at| at <= now) {
            self.events.push(Event::RuleEnding { id: id.to_owned(), did: rule.did.clone() });
        }
        rule.purge_replicas = change.purge_replicas.unwrap_or(rule.purge_replicas);
        rule.locked = change.locked.unwrap_or(rule.locked);
        rule.priority = change.priority.unwrap_or(rule.priority);
        match &change.comment {
            Change::Keep => {}
            Change::Clear => rule.comment = None,
            Change::Set(comment) => rule.comment = Some(comment.clone()),
        }
        match change.state.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("suspended") => rule.suspended = true,
            Some("stuck") => {
                rule.suspended = false;
                rule.state = Progress::Stuck;
                rule.stuck_at = Some(now);
                self.stick_locks(id);
            }
            _ => {}
        }
        let Some(rule) = self.rules.get_mut(id) else { return Ok(()) };
        if change.boost {
            rule.updated = SystemTime::UNIX_EPOCH;
        }
        Ok(())
    }

    /// `DELETE /rules/{id}`: only sets the end, one hour from now.
    pub(crate) fn delete_rule(
        &mut self,
        issuer: &str,
        id: &str,
        purge_replicas: Option<bool>,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        if !self.is_admin(issuer) {
            return refuse(Class::AccessDenied, format!("Account {issuer} can not remove this replication rule. "));
        }
        if self.rule(id)?.locked {
            let message = "The replication rule is locked and has to be unlocked before it can be deleted.";
            return refuse(Class::UnsupportedOperation, message);
        }
        if let Some(rule) = self.rules.get_mut(id) {
            rule.expires = Some(now + DELETION_DELAY);
            rule.purge_replicas = purge_replicas.unwrap_or(rule.purge_replicas);
            rule.updated = now;
        }
        Ok(())
    }

    /// The rules that hold a lock on a file that must exist.
    pub(crate) fn rules_of_file(&self, did: &Did) -> Result<Vec<&Rule>, Refusal> {
        self.did(did)?;
        let holds = |rule: &&Rule| self.locks(&rule.id).any(|((file, _), _)| file == did);
        Ok(self.rules.values().filter(holds).collect())
    }

    /// The rules on a DID that must exist.
    pub(crate) fn did_rules(&self, did: &Did) -> Result<Vec<&Rule>, Refusal> {
        if !self.dids.contains_key(did) {
            return Err(not_found(did));
        }
        Ok(self.rules_on(did).collect())
    }
}

fn check_schema(new: &NewRule) -> Result<(), Refusal> {
    let unknown = new.activity.as_ref().filter(|activity| !ACTIVITIES.contains(&activity.as_str()));
    if let Some(activity) = unknown {
        return refuse(
            Class::InvalidObject,
            format!("Problem validating rule: '{activity}' is not one of the activities"),
        );
    }
    if new.comment.as_ref().is_some_and(|comment| comment.chars().count() > 250) {
        return refuse(Class::InvalidObject, "Problem validating rule: comment is too long");
    }
    Ok(())
}
