//! The states of a file in custody and the moves between them.

use std::fmt;

/// Where a file stands on its road. Each state is left by exactly one stage; Held is left by an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum State {
    /// A sound trigger was seen and the delivery recorded; `verify` is next.
    Discovered,
    /// Read once, sound, metadata extracted; `register` is next.
    Verified,
    /// Known to Rucio at the on-site RSE and protected there; `replicate` is next.
    Registered,
    /// The rules for all off-site copies exist; `confirm` is next.
    Replicated,
    /// All copies proven twice; `release` is next.
    Confirmed,
    /// The intent to give up the on-site copy is durable; `release` watches it go.
    Releasing,
    /// The on-site copy is gone for a proven reason.
    Released,
    /// The file is bad and lies in `invalid/` with its reason.
    Rejected,
    /// Facts contradict each other; nothing is touched until an operator decides.
    Held,
}

/// A move that the road does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a file cannot go from {from} to {to}")]
pub struct IllegalMove {
    /// State before.
    pub from: State,
    /// State asked for.
    pub to: State,
}

impl State {
    /// All states, in the order of the road.
    pub const ALL: [Self; 9] = [
        Self::Discovered,
        Self::Verified,
        Self::Registered,
        Self::Replicated,
        Self::Confirmed,
        Self::Releasing,
        Self::Released,
        Self::Rejected,
        Self::Held,
    ];

    /// The name used in the ledger, on the command line and in metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The state of that name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether the daemon still answers for the file.
    pub const fn in_custody(self) -> bool {
        !matches!(self, Self::Released | Self::Rejected)
    }

    /// Whether Rucio has the file on record with us.
    pub const fn registered(self) -> bool {
        matches!(self, Self::Registered | Self::Replicated | Self::Confirmed | Self::Releasing | Self::Released)
    }

    /// Checks a move against the road.
    pub fn moving_to(self, to: Self) -> Result<Self, IllegalMove> {
        use State::{Confirmed, Discovered, Held, Registered, Rejected, Released, Releasing, Replicated, Verified};
        let legal = match (self, to) {
            // the road
            (Discovered, Verified | Rejected)
            | (Verified, Registered)
            | (Registered, Replicated)
            | (Replicated, Confirmed)
            | (Confirmed, Releasing)
            | (Releasing, Released)
            // the file changed before it was registered, or a new one came in place of a rejected one
            | (Discovered | Verified | Rejected, Discovered)
            // a released file was delivered again with the same content: its new copy goes the same road
            | (Released, Verified) => true,
            // an operator decides; what is rejected has nothing to resume, and what counts as released again was so before
            // (see `HeldFile`)
            (Held, to) => !matches!(to, Held | Rejected | Releasing),
            // facts contradict each other
            (from, Held) => !matches!(from, Rejected | Held),
            _ => false,
        };
        if legal { Ok(to) } else { Err(IllegalMove { from: self, to }) }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_way_back() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("lost"), None);
    }

    #[test]
    fn only_confirmed_files_can_be_given_up() {
        for state in State::ALL {
            assert_eq!(state.moving_to(State::Releasing).is_ok(), state == State::Confirmed, "{state}");
            let released = matches!(state, State::Releasing | State::Held);
            assert_eq!(state.moving_to(State::Released).is_ok(), released, "{state}");
        }
    }

    #[test]
    fn only_unregistered_files_can_be_rejected() {
        for state in State::ALL {
            assert_eq!(state.moving_to(State::Rejected).is_ok(), state == State::Discovered, "{state}");
        }
    }

    #[test]
    fn every_state_in_custody_reaches_an_end_or_an_operator() {
        for start in State::ALL.into_iter().filter(|state| state.in_custody()) {
            let mut seen = vec![start];
            let mut next = 0;
            while next < seen.len() {
                for to in State::ALL {
                    if seen[next].moving_to(to).is_ok() && !seen.contains(&to) {
                        seen.push(to);
                    }
                }
                next += 1;
            }
            assert!(seen.contains(&State::Released), "{start} cannot end");
        }
    }
}
