//! The constitution: what must hold before an irreversible effect, stated once.
//!
//! Every function takes the facts as they are and answers with the broken invariant. Production calls them right before
//! the effect (a violation stops the effect and raises `dl0_ingest_invariant_violations_total`), tests call the same ones.

use super::{Contents, Copies, Evidence, State};

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invariant {invariant} would be broken: {why}")]
pub struct Violation {
    /// `I1` … `I8`.
    pub invariant: &'static str,
    /// What is wrong, for humans.
    pub why: String,
}

fn broken(invariant: &'static str, why: impl Into<String>) -> Result<(), Violation> {
    Err(Violation { invariant, why: why.into() })
}

/// I1: a trigger is removed only when the file's registration is durable in Rucio and in the ledger, or when the file
/// itself has been set aside with its reason.
pub fn trigger_may_go(state: State, protecting_rule: Option<&str>) -> Result<(), Violation> {
    match state {
        // set aside with its reason, or given up for a proven one: no protecting rule is needed any more
        State::Rejected | State::Released | State::Releasing => Ok(()),
        _ if state.registered() && protecting_rule.is_some() => Ok(()),
        _ if state.registered() => broken("I1", "the on-site replica has no protecting rule on record"),
        _ => broken("I1", format!("the file is {state}, not registered")),
    }
}

/// I2: the on-site copy is given up only on complete evidence for enough copies at different sites, none of them the
/// on-site storage itself.
pub fn on_site_copy_may_go(
    state: State,
    evidence: &Evidence,
    on_site_rse: &str,
    required: Copies,
) -> Result<(), Violation> {
    if !matches!(state, State::Confirmed | State::Releasing) {
        return broken("I2", format!("the file is {state}, not confirmed"));
    }
    let mut sites: Vec<&str> = Vec::new();
    for copy in evidence.copies() {
        if copy.rse() == on_site_rse {
            return broken("I2", format!("{on_site_rse} is the on-site storage and cannot vouch for itself"));
        }
        if !sites.contains(&copy.site()) {
            sites.push(copy.site());
        }
    }
    if sites.len() < required.get() as usize {
        return broken("I2", format!("{} of {} sites are proven", sites.len(), required.get()));
    }
    Ok(())
}

/// I7: a registered LFN never changes content.
pub fn same_content(registered: &Contents, delivered: &Contents) -> Result<(), Violation> {
    if registered == delivered {
        return Ok(());
    }
    broken(
        "I7",
        format!(
            "registered with {} bytes and BLAKE3 {}, delivered with {} bytes and BLAKE3 {}",
            registered.bytes, registered.blake3, delivered.bytes, delivered.blake3
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_stays_until_the_replica_is_registered_and_protected() {
        assert!(trigger_may_go(State::Registered, Some("rule")).is_ok());
        for state in [State::Discovered, State::Verified, State::Held] {
            assert_eq!(trigger_may_go(state, Some("rule")).map_err(|v| v.invariant), Err("I1"), "{state}");
        }
        assert_eq!(trigger_may_go(State::Registered, None).map_err(|v| v.invariant), Err("I1"));
    }
}
