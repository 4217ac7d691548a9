//! Whether the ledger can be used: what the database refuses is remembered until a write has passed.
//!
//! A statement that finds nothing to do passes on a full disk. So a good answer proves nothing, and whoever wants to know
//! tries a write.

use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::custody::State;

use super::error::Error;
use super::refused::Refused;
use super::statements::run;
use super::store::Ledger;

/// Free on the disk of a ledger that was found full, before it counts as usable again: a single small write may pass when
/// nothing else does.
const ROOM: u64 = 256 * 1024;

impl Ledger {
    /// Why the ledger cannot be used, in words without paths, until [`Ledger::try_to_write`] has passed.
    pub fn trouble(&self) -> Option<String> {
        self.known_trouble().map(|trouble| trouble.reason)
    }

    /// Writes something that changes nothing, to see whether the ledger can be used again.
    pub async fn try_to_write(&self) -> Result<(), Error> {
        if self.known_trouble().is_some_and(|trouble| trouble.full) && !has_room(self.path()) {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        run!(self, &mut *tx; "UPDATE clock SET booted_at = booted_at WHERE id = 1").await?;
        self.commit(tx).await?;
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// How many moves out of a state there were since the start.
    pub fn moves_from(&self, state: State) -> u64 {
        self.moves[state as usize].load(Ordering::Relaxed)
    }

    fn known_trouble(&self) -> Option<Refused> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where that cannot be told, there is room.
fn has_room(ledger: &Path) -> bool {
    let disk = ledger.parent().and_then(|directory| rustix::fs::statvfs(directory).ok());
    disk.is_none_or(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= ROOM)
}
