//! What a miniature Rucio is made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything [`Miniature::start`](crate::Miniature::start) needs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory for whatever has no place of its own; the default RSEs lie below it.
    pub root: PathBuf,
    /// The storage elements.
    pub rses: Vec<RseOptions>,
    /// Who may log in.
    pub accounts: Vec<AccountOptions>,
    /// How long the daemons wait before they act.
    pub pace: Pace,
    /// Decides which RSE a rule picks when several serve equally.
    pub seed: u64,
}

/// A storage element.
#[derive(Clone, Debug)]
pub struct RseOptions {
    /// Name, as in RSE expressions.
    pub name: String,
    /// Where its files lie: the LFN is the path below it.
    pub directory: PathBuf,
    /// Attributes; `True` counts as a boolean.
    pub attributes: BTreeMap<String, String>,
}

/// An account with a user of the same name.
#[derive(Clone, Debug)]
pub struct AccountOptions {
    /// Account and user name.
    pub name: String,
    /// Its password.
    pub password: String,
    /// Has it the attribute `admin=True`?
    pub admin: bool,
    /// Scopes it owns; they exist from the start.
    pub scopes: Vec<String>,
}

/// How long each daemon waits between being woken and acting, and other spans of time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Evaluation and cleaning of rules: so long does a rule's state lie after an attachment.
    pub judge: Duration,
    /// Before each round of transfers.
    pub conveyor: Duration,
    /// Before each round of deletions: so long is a replica seen as `BEING_DELETED`.
    pub reaper: Duration,
    /// How long a STUCK rule rests before it is tried again. Rucio's default is half an hour.
    pub repair: Duration,
    /// How long a token is good for.
    pub token_lifetime: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            judge: Duration::from_millis(100),
            conveyor: Duration::from_millis(100),
            reaper: Duration::from_millis(100),
            repair: Duration::from_secs(10),
            token_lifetime: Duration::from_hours(1),
        }
    }
}

impl Options {
    /// One on-site RSE and two data centres below `root`, and three accounts: `ingest` with all rights, `plain` with
    /// none, and `root`. The project's testbed of a real Rucio has the same.
    pub fn new(root: impl AsRef<Path>) -> Self {
        let root = root.as_ref().to_owned();
        let rse = |number: u32, side: &str, site: &str| RseOptions {
            name: format!("STORAGE-{number}"),
            directory: root.join(format!("storage-{number}")),
            attributes: [(side, "True"), ("site", site)].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        };
        let account = |name: &str, password: &str, admin: bool, scopes: &[&str]| AccountOptions {
            name: name.to_owned(),
            password: password.to_owned(),
            admin,
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        };
        Self {
            rses: vec![rse(1, "ONSITE", "LAPALMA"), rse(2, "OFFSITE", "PIC"), rse(3, "OFFSITE", "CSCS")],
            accounts: vec![
                account("ingest", "ingestpw", true, &["acada", "acada-mock", "test"]),
                account("plain", "plainpw", false, &[]),
                account("root", "secret", false, &["root"]),
            ],
            pace: Pace::default(),
            seed: 0,
            root,
        }
    }
}
