//! The interface directory belongs to one ledger at a time, as far as the file system can tell.
//!
//! Daemons of one ledger share a lock on the directory itself (`flock`), and the directory's attribute
//! `user.dl0_ingest.ledger` says whose it is. Both are of this machine, or of the machines of a network file system that
//! carries locks.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use rustix::fs::{FlockOperation, XattrFlags, fgetxattr, flock, fsetxattr};
use rustix::io::Errno;

use super::DataDir;

const OWNER: &str = "user.dl0_ingest.ledger";
/// Longer than any ledger's id.
const ID_MAX: usize = 64;

/// Kept as long as a ledger's daemon works on the directory.
#[derive(Debug)]
pub struct Lock {
    _directory: File,
}

/// Why the directory cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another ledger's daemon works on it.
    #[error(
        "the data directory {root} is in use by another dl0-ingest, {}; two ledgers must never share a directory: stop the \
         other one, or give this one its state directory", whose(owner.as_deref())
    )]
    Taken {
        /// As configured.
        root: PathBuf,
        /// The other ledger, where the file system keeps attributes.
        owner: Option<String>,
    },
    /// The file system has no locks: nothing on this machine keeps another daemon away.
    #[error("the data directory {root} cannot be locked: {source}; make sure that no other dl0-ingest works on it")]
    Impossible {
        /// As configured.
        root: PathBuf,
        /// From the system.
        source: io::Error,
    },
}

fn whose(owner: Option<&str>) -> String {
    owner.map_or_else(|| "whose ledger cannot be told".to_owned(), |id| format!("with the ledger {id}"))
}

impl DataDir {
    /// Locks the directory for a ledger.
    ///
    /// # Errors
    /// [`LockError::Taken`] if another ledger's daemon has it, [`LockError::Impossible`] if it cannot be locked at all.
    pub fn lock_for(&self, ledger: &str) -> Result<Lock, LockError> {
        let impossible = |source: io::Error| LockError::Impossible { root: self.root().to_owned(), source };
        let directory = File::open(self.root()).map_err(impossible)?;
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // without the attribute the lock stays one for a single daemon
                if fsetxattr(&directory, OWNER, ledger.as_bytes(), XattrFlags::empty()).is_ok() {
                    flock(&directory, FlockOperation::NonBlockingLockShared)
                        .map_err(|errno| impossible(errno.into()))?;
                }
            }
            Err(Errno::WOULDBLOCK) => {
                let shared = flock(&directory, FlockOperation::NonBlockingLockShared);
                // read when nobody can change it any more
                let owner = owner(&directory);
                if shared.is_err() || owner.as_deref() != Some(ledger) {
                    return Err(LockError::Taken { root: self.root().to_owned(), owner });
                }
            }
            Err(errno) => return Err(impossible(errno.into())),
        }
        Ok(Lock { _directory: directory })
    }
}

fn owner(directory: &File) -> Option<String> {
    let mut id = [0; ID_MAX];
    let length = fgetxattr(directory, OWNER, &mut id[..]).ok()?;
    String::from_utf8(id.get(..length)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_of_one_ledger_at_a_time_and_of_all_its_daemons() {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::new(root.path(), "ctao");
        let first = data.lock_for("ledger-1").unwrap();
        let named = owner(&File::open(root.path()).unwrap());
        let second = named.as_ref().map(|_| data.lock_for("ledger-1").unwrap());
        let Err(LockError::Taken { owner, .. }) = data.lock_for("ledger-2") else { panic!("it has two ledgers") };
        assert_eq!(owner, named);
        drop((first, second));
        drop(data.lock_for("ledger-2").unwrap());
        data.lock_for("ledger-1").unwrap();
    }
}
