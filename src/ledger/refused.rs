//! What a database that refuses everything says.

use sqlx::error::ErrorKind;

/// `SQLITE_FULL`, in the lower byte of the code.
const FULL: u32 = 13;

/// What the database refused.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    /// In its words.
    pub(super) reason: String,
    /// Its disk is full.
    pub(super) full: bool,
}

impl Refused {
    /// What an error says of the ledger as a whole, if it says anything.
    pub(super) fn of(source: &sqlx::Error) -> Option<Self> {
        match source {
            sqlx::Error::Database(error) if error.kind() == ErrorKind::Other => {
                let code = error.code().and_then(|code| code.parse::<u32>().ok());
                let full = code.is_some_and(|code| code & 0xff == FULL);
                Some(Self { reason: error.message().to_owned(), full })
            }
            sqlx::Error::Io(error) => Some(Self { reason: error.to_string(), full: false }),
            sqlx::Error::PoolTimedOut => Some(Self { reason: "it does not answer in time".to_owned(), full: false }),
            _ => None,
        }
    }
}
