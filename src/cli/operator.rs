//! What the commands share that change something: opening the ledger beside a daemon, and who is asking.

use std::future::Future;
use std::path::Path;

use clap::Args;

use super::exit::Failure;
use super::ledger::{Reader, open};
use crate::ledger::{Ledger, Operator};

/// Why an operator does something; it is on record with their name.
#[derive(Debug, Args)]
pub(super) struct Reason {
    /// Why; goes on record with your name
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
}

impl Reason {
    /// With the user's name.
    pub(super) fn signed(&self) -> Operator {
        Operator { who: who(), reason: self.reason.trim().to_owned() }
    }
}

/// Opens the ledger for a change, beside a running daemon or without one.
pub(super) fn change<T, F, A>(config: &Path, act: A) -> Result<T, Failure>
where
    A: FnOnce(Reader) -> F,
    F: Future<Output = Result<T, Failure>>,
{
    open(config, async |path| Ledger::open_for_operator(path).await, act)
}

/// Login and number of the user, and for whom `sudo` works.
pub(super) fn who() -> String {
    let uid = rustix::process::getuid().as_raw();
    let name = std::fs::read_to_string("/etc/passwd").ok().and_then(|users| login(&users, uid));
    let user = format!("{} (uid {uid})", name.unwrap_or_else(|| "unknown".to_owned()));
    match std::env::var("SUDO_USER") {
        Ok(by) if !by.is_empty() => format!("{user} by sudo of {by}"),
        _ => user,
    }
}

/// The login of a number in the lines of `/etc/passwd`.
fn login(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let users = "root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(login(users, 1000).as_deref(), Some("ada"));
        assert_eq!(login(users, 7), None);
        assert!(who().contains("(uid "), "{}", who());
    }
}
