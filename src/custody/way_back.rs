//! Where a file that is held begins its road again when an operator says so.

use super::state::State;

/// What lies on site under the name of a file that had left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnderItsName {
    /// Nothing.
    Nothing,
    /// The file itself.
    Itself,
    /// Another file, or no file.
    Another,
}

/// What decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // independent facts, each asked by its name
pub struct HeldFile {
    /// The state it was held from.
    pub from: Option<State>,
    /// It has been read, and its checksums are on record.
    pub verified: bool,
    /// A rule that protects the on-site copy is on record and was not ended.
    pub protected: bool,
    /// The rules for all copies are on record.
    pub replicated: bool,
    /// Its release is on record as carried out ([`release_is_on_record`](super::invariants::release_is_on_record)).
    pub released: bool,
    /// It was held because something else lay in its place, and not because its copies were in doubt.
    pub displaced: bool,
    /// What lies under its name now.
    pub found: UnderItsName,
}

/// Why a file cannot be put back on its road.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWayBack {
    /// It had left the site before it was held.
    #[error(
        "it was released before it was held: its copies are off site, and what lies under its name now is another file; \
         move that and its trigger away, or deliver it under a name of its own, then retry"
    )]
    Released,
    /// Its release was carried out, and its copies came into doubt before that was on record.
    #[error(
        "Rucio has deleted it on site, and its off-site copies were in doubt when it was held; put the same file back under \
         its name, then retry: it takes its road anew. Without it, see dl0-ingest audit --copies"
    )]
    InDoubt,
    /// It was held as one that had left the site, and the ledger does not show that it had.
    #[error(
        "it was released before it was held, and the record of that release is not whole; see dl0-ingest audit --copies"
    )]
    Unrecorded,
    /// Nobody knows where it stood.
    #[error("the state it was held from is not on record")]
    Unknown,
}

impl HeldFile {
    /// The state to go back to: never further than Replicated, so that all evidence is gathered anew; but for what had left
    /// the site, whose copies are all there is.
    pub fn back_to(self) -> Result<State, NoWayBack> {
        match self.from.ok_or(NoWayBack::Unknown)? {
            State::Released if !self.released => Err(NoWayBack::Unrecorded),
            State::Released if self.found == UnderItsName::Another => Err(NoWayBack::Released),
            State::Released => Ok(State::Released),
            // it had left, and that was not on record yet; what lies there and may be itself takes the road anew
            State::Releasing if self.released => match (self.found, self.displaced) {
                (UnderItsName::Nothing, true) => Ok(State::Released),
                (UnderItsName::Nothing, false) => Err(NoWayBack::InDoubt),
                (UnderItsName::Another, true) => Err(NoWayBack::Released),
                (UnderItsName::Itself, _) | (UnderItsName::Another, false) => self.on_its_road(State::Releasing),
            },
            from => self.on_its_road(from),
        }
    }

    fn on_its_road(self, from: State) -> Result<State, NoWayBack> {
        match from {
            State::Held | State::Rejected | State::Released => Err(NoWayBack::Unknown),
            _ if !self.verified => Ok(State::Discovered),
            State::Discovered => Ok(State::Discovered),
            State::Verified => Ok(State::Verified),
            // without protection on site it is registered anew, which brings it
            _ if !self.protected => Ok(State::Verified),
            _ if !self.replicated => Ok(State::Registered),
            State::Registered => Ok(State::Registered),
            State::Replicated | State::Confirmed | State::Releasing => Ok(State::Replicated),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_comes_back_further_than_replicated_nor_further_than_it_was() {
        for from in State::ALL {
            for bits in 0..96_u8 {
                let file = HeldFile {
                    from: Some(from),
                    verified: bits & 1 > 0,
                    protected: bits & 2 > 0,
                    replicated: bits & 4 > 0,
                    released: bits & 8 > 0,
                    displaced: bits & 16 > 0,
                    found: [UnderItsName::Nothing, UnderItsName::Itself, UnderItsName::Another][usize::from(bits / 32)],
                };
                let Ok(back) = file.back_to() else {
                    let had_left = from == State::Releasing && file.released && file.found != UnderItsName::Itself;
                    assert!(had_left || matches!(from, State::Released | State::Rejected | State::Held), "{file:?}");
                    continue;
                };
                if from == State::Released || back == State::Released {
                    assert!(
                        matches!(from, State::Releasing | State::Released) && back == State::Released,
                        "{file:?} to {back}"
                    );
                    assert!(file.released && file.found != UnderItsName::Another, "{file:?} to {back}");
                    assert!(from == State::Released || file.displaced, "its copies are in doubt: {file:?} to {back}");
                    continue;
                }
                assert!(back <= State::Replicated && back <= from, "{file:?} to {back}");
                assert!(State::Held.moving_to(back).is_ok(), "{file:?} to {back}");
                assert!(file.verified || back == State::Discovered, "{file:?} to {back}");
                assert!(file.protected || back <= State::Verified, "{file:?} to {back}");
            }
        }
        let unknown = HeldFile {
            from: None,
            verified: true,
            protected: true,
            replicated: true,
            released: true,
            displaced: true,
            found: UnderItsName::Nothing,
        };
        assert_eq!(unknown.back_to(), Err(NoWayBack::Unknown));
    }
}
