//! From the file to a checked [`Config`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checks::Severity;
use super::decode::{Decoding, FromValue, Refusal, Section};
use super::document::{Node, Value};
use super::problem::{ConfigError, Place, Problem};
use super::sizes::Size;
use super::types::{
    Auth, Backoff, Config, Confirm, Http, Intake, Offsite, Register, Release, Replicate, Rucio, Settle, StorageCheck,
    Verify,
};
use crate::custody::Copies;
use crate::telemetry::logs::Settings as LogSettings;

/// A configuration that can be worked with, and what about it deserves a second look.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// In the order of the file.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Where the configuration is looked for unless the command line says otherwise.
    pub const DEFAULT_PATH: &'static str = "/etc/dl0-ingest/dl0-ingest.yaml";
    /// Where the ledger and the like are kept unless the file says otherwise.
    pub const DEFAULT_STATE_DIR: &'static str = "/var/lib/dl0-ingest";

    /// The shipped example: every key, the defaults commented out.
    pub fn example() -> &'static str {
        include_str!("../../config/dl0-ingest.yaml")
    }

    /// Reads and checks a configuration file.
    pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Reads and checks a configuration from its text; `path` is what errors call it.
    pub fn parse(text: &str, path: &Path) -> Result<Loaded, ConfigError> {
        let invalid = |problems, warnings| Err(ConfigError::Invalid { path: path.to_owned(), problems, warnings });
        let document = match Node::parse(text) {
            Ok(document) => document,
            Err(problem) => return invalid(vec![problem], Vec::new()),
        };
        let decoding = Decoding::default();
        let config = read(decoding.root(&document));
        let (mut problems, _) = decoding.finish();
        let Some(mut config) = config else { return invalid(problems, Vec::new()) };
        config.rucio.auth.look_beside(path);
        let mut warnings = Vec::new();
        // where a wrong value was replaced by the default, a check would speak about what nobody wrote
        let wrong: Vec<String> = problems.iter().map(|problem| problem.key.clone()).collect();
        for (severity, mut problem) in config.check().into_iter().filter(|(_, problem)| !wrong.contains(&problem.key)) {
            problem.place = Some(locate(&document, &problem.key));
            match severity {
                Severity::Error => problems.push(problem),
                Severity::Warning => warnings.push(problem),
            }
        }
        problems.sort_by_key(|problem| problem.place);
        warnings.sort_by_key(|warning| warning.place);
        if problems.is_empty() { Ok(Loaded { config, warnings }) } else { invalid(problems, warnings) }
    }

    /// The ledger's file.
    pub fn ledger_path(&self) -> PathBuf {
        self.state_dir.join("ledger.db")
    }

    /// The file that stops all releases while it exists.
    pub fn kill_switch_path(&self) -> PathBuf {
        self.release.kill_switch.clone().unwrap_or_else(|| self.state_dir.join("stop-releases"))
    }
}

/// Where a key stands; for one that is absent, the section it would stand in.
fn locate(document: &Node, key: &str) -> Place {
    let mut node = document;
    let mut place = document.place;
    for part in key.split('.') {
        let Value::Map(entries) = &node.value else { break };
        let Some((found, value)) = entries.iter().find(|(found, _)| found.text == part) else { break };
        place = if matches!(value.value, Value::Map(_) | Value::Null) { found.place } else { value.place };
        node = value;
    }
    place
}

/// Number of verify threads: `auto` or a number.
struct Threads(usize);

impl FromValue for Threads {
    fn from_value(value: &Value) -> Result<Self, Refusal> {
        match value {
            Value::Text(text) if text == "auto" => Ok(Self(Verify::default().threads)),
            Value::Integer(_) => usize::from_value(value).map(Self),
            other => Err(Refusal::expected("auto or a whole number", other, "write auto, or the number of threads")),
        }
    }
}

/// A section whose keys are fields with defaults.
macro_rules! plain {
    ($section:expr, $type:ident { $($key:ident),+ }) => {{
        let mut section = $section;
        let default = $type::default();
        let read = $type { $($key: section.or(stringify!($key), default.$key)),+ };
        section.end();
        read
    }};
}

pub(super) fn read(mut root: Section<'_>) -> Option<Config> {
    let data_path = root.required("data_path", "/srv/onsite");
    let vo = root.or("vo", "ctao".to_owned());
    let state_dir = root.or("state_dir", PathBuf::from(Config::DEFAULT_STATE_DIR));
    let onsite_rse = root.required("onsite_rse", "STORAGE-1");
    let offsite = read_offsite(root.section("offsite"));
    let rucio = read_rucio(root.section("rucio"));
    let intake = plain!(root.section("intake"), Intake { scan_interval, inotify, early_after });
    let verify = read_verify(root.section("verify"));
    let register = plain!(root.section("register"), Register { batch, gather, parallel });
    let replicate = plain!(root.section("replicate"), Replicate { poll, poll_max });
    let confirm = plain!(root.section("confirm"), Confirm { hold, poll, poll_max, read_back });
    let release = read_release(root.section("release"));
    let settle = read_settle(root.section("settle"));
    let http = read_http(root.section("http"));
    let log = plain!(root.section("log"), LogSettings { format, level });
    let retry = plain!(root.section("retry"), Backoff { initial, max });
    let shutdown_timeout = root.or("shutdown_timeout", Duration::from_secs(8));
    root.end();
    Some(Config {
        data_path: data_path?,
        vo,
        state_dir,
        onsite_rse: onsite_rse?,
        offsite: offsite?,
        rucio: rucio?,
        intake,
        verify,
        register,
        replicate,
        confirm,
        release,
        settle,
        http,
        log,
        retry,
        shutdown_timeout,
    })
}

fn read_offsite(mut section: Section<'_>) -> Option<Offsite> {
    let expression = section.required("expression", "OFFSITE");
    let copies = section.or("copies", Copies::default());
    let distinct_by = section.or("distinct_by", "site".to_owned());
    let storage_check = section.or("storage_check", StorageCheck::Required);
    let storage_check_by_rse = section.map("storage_check_by_rse");
    let ca_file = section.optional("ca_file");
    section.end();
    Some(Offsite { expression: expression?, copies, distinct_by, storage_check, storage_check_by_rse, ca_file })
}

fn read_rucio(mut section: Section<'_>) -> Option<Rucio> {
    let url = section.required("url", "https://rucio.example.org");
    let account: Option<String> = section.required("account", "ingest");
    let mut methods = section.section("auth");
    let mut userpass = methods.section("userpass");
    let username = userpass.optional("username").or_else(|| account.clone());
    let password_file = userpass.optional("password_file");
    userpass.end();
    methods.end();
    let ca_file = section.optional("ca_file");
    let timeout = section.or("timeout", Rucio::TIMEOUT);
    let connect_timeout = section.or("connect_timeout", Rucio::CONNECT_TIMEOUT);
    let max_in_flight = section.or("max_in_flight", Rucio::MAX_IN_FLIGHT);
    let retry_budget = section.or("retry_budget", Rucio::RETRY_BUDGET);
    let check_interval = section.or("check_interval", Rucio::CHECK_INTERVAL);
    let rule_activity = section.optional("rule_activity");
    section.end();
    Some(Rucio {
        url: url?,
        account: account?,
        auth: Auth::Userpass { username: username?, password_file, beside: None },
        ca_file,
        timeout,
        connect_timeout,
        max_in_flight,
        retry_budget,
        check_interval,
        rule_activity,
    })
}

fn read_verify(mut section: Section<'_>) -> Verify {
    let default = Verify::default();
    let verify = Verify {
        threads: section.or("threads", Threads(default.threads)).0,
        depth: section.or("depth", default.depth),
        md5: section.or("md5", default.md5),
        require_checksum: section.or("require_checksum", default.require_checksum),
        reject_missing_metadata: section.or("reject_missing_metadata", default.reject_missing_metadata),
    };
    section.end();
    verify
}

fn read_release(mut section: Section<'_>) -> Release {
    let default = Release::default();
    let release = Release {
        deletion: section.or("deletion", default.deletion),
        max_files_per_hour: section.or("max_files_per_hour", default.max_files_per_hour),
        max_bytes_per_hour: section.or("max_bytes_per_hour", Size(default.max_bytes_per_hour)).0,
        kill_switch: section.optional("kill_switch"),
        leftover: section.or("leftover", default.leftover),
        leftover_grace: section.or("leftover_grace", default.leftover_grace),
        poll: section.or("poll", default.poll),
        poll_max: section.or("poll_max", default.poll_max),
    };
    section.end();
    release
}

fn read_settle(mut section: Section<'_>) -> Settle {
    let after = match Settle::default().after {
        Some(after) => section.or_off("after", after),
        None => section.optional("after"),
    };
    section.end();
    Settle { after }
}

fn read_http(mut section: Section<'_>) -> Http {
    let listen = match Http::default().listen {
        Some(address) => section.or_off("listen", address),
        None => section.optional("listen"),
    };
    section.end();
    Http { listen }
}
