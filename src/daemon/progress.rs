//! Whether files that wait for nobody but the daemon move on.

use std::time::{Duration, Instant};

use crate::custody::State;
use crate::engine::Context;
use crate::ledger::{StateSummary, now};
use crate::telemetry::health::Need;

/// Without a single move out of a state for so long, its files are stuck.
const STUCK: Duration = Duration::from_mins(15);
/// The same where somebody else must do something first: make a copy, or delete one.
const SLOW: Duration = Duration::from_hours(2);

/// When a file left each state last.
#[derive(Default)]
pub(super) struct Progress {
    seen: [Option<(u64, Instant)>; State::ALL.len()],
}

impl Progress {
    /// To be asked again and again.
    pub(super) fn look(&mut self, context: &Context, summary: &[StateSummary]) {
        let rucio_is_up = *context.gate.borrow() && !context.rucio.circuit().is_open();
        let mut stuck = |state: State, allowed: Duration| {
            let still = self.still_for(state, context.ledger.moves_from(state));
            let row = summary.iter().find(|row| row.state == state)?;
            let oldest = Duration::from_millis(u64::try_from(now() - row.oldest).unwrap_or(0));
            (still.min(oldest) >= allowed).then(|| {
                let minutes = still.min(oldest).as_secs() / 60;
                format!(
                    "{} files are {state}, and for {minutes} min none has moved on; see list --state {state}",
                    row.files
                )
            })
        };
        let discovered = stuck(State::Discovered, STUCK);
        // an outage of Rucio is another trouble, and said already
        let verified = stuck(State::Verified, STUCK).filter(|_| rucio_is_up);
        context.health.set(Need::Progress, discovered.or(verified).map_or(Ok(()), Err));
        let registered = stuck(State::Registered, SLOW).map(|why| ("first copies".to_owned(), why));
        let releasing = stuck(State::Releasing, SLOW).map(|why| ("Rucio's deletion".to_owned(), why));
        context.health.notices("progress", registered.into_iter().chain(releasing));
    }

    /// How long nothing has moved out of a state.
    fn still_for(&mut self, state: State, moves: u64) -> Duration {
        let now = Instant::now();
        match &mut self.seen[state as usize] {
            Some((known, since)) if *known == moves => now.duration_since(*since),
            seen => {
                *seen = Some((moves, now));
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_stands_still_from_its_last_move_on() {
        let mut progress = Progress::default();
        assert_eq!(progress.still_for(State::Verified, 3), Duration::ZERO);
        let first = progress.still_for(State::Verified, 3);
        assert!(progress.still_for(State::Verified, 3) >= first);
        assert_eq!(progress.still_for(State::Verified, 4), Duration::ZERO);
        assert_eq!(progress.still_for(State::Discovered, 4), Duration::ZERO);
    }
}
