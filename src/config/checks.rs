//! What types cannot say: ranges, contradictions, and settings that are allowed but probably not meant.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::durations;
use super::password::CREDENTIAL;
use super::problem::Problem;
use super::types::{Auth, Config, Deletion, Leftover, StorageCheck};
use crate::telemetry::logs;
use rucio_client::trust::is_loopback;

/// Most files in one registration; Rucio is slower per file above it.
const MOST_FILES_PER_BATCH: usize = 500;
/// Longest stop the service manager and the operator are promised.
const LONGEST_SHUTDOWN: Duration = Duration::from_secs(10);
/// Above this many requests at once, Rucio servers have been seen to fall over.
const MANY_REQUESTS: usize = 16;
/// Below this, two looks at the evidence are hardly two.
const SHORT_HOLD: Duration = Duration::from_mins(1);

/// Whether a finding stops the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, and is said once at start.
    Warning,
}

/// The findings so far.
#[derive(Default)]
struct Findings(Vec<(Severity, Problem)>);

impl Findings {
    fn error(&mut self, key: &str, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Error, key, message.into(), help.into());
    }

    fn warning(&mut self, key: &str, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Warning, key, message.into(), help.into());
    }

    fn push(&mut self, severity: Severity, key: &str, message: String, help: String) {
        self.0.push((severity, Problem { place: None, key: key.to_owned(), message, help }));
    }
}

impl Config {
    /// Everything about these settings that is wrong or deserves a second look. Looks at the files it names, asks nobody.
    pub fn check(&self) -> Vec<(Severity, Problem)> {
        let mut findings = Findings::default();
        check_places(self, &mut findings);
        check_offsite(self, &mut findings);
        check_rucio(self, &mut findings);
        check_password(&self.rucio.auth, &mut findings);
        check_numbers(self, &mut findings);
        check_limits(self, &mut findings);
        check_durations(self, &mut findings);
        check_deletion(self, &mut findings);
        check_faces(self, &mut findings);
        findings.0
    }
}

fn check_places(config: &Config, findings: &mut Findings) {
    for (key, path) in [("data_path", &config.data_path), ("state_dir", &config.state_dir)] {
        if !path.is_absolute() {
            let message = format!("'{}' is a relative path", path.display());
            findings.error(key, message, "write the absolute path, beginning with '/'");
        }
    }
    if let Some(path) = config.release.kill_switch.as_ref().filter(|path| !path.is_absolute()) {
        let message = format!("'{}' is a relative path", path.display());
        findings.error("release.kill_switch", message, "write the absolute path, beginning with '/'");
    }
    if config.data_path.is_absolute() && !config.data_path.is_dir() {
        let message = format!("there is no directory {} here", config.data_path.display());
        findings.warning("data_path", message, "create or mount it; the daemon does not start without it");
    }
    let shown = config.state_dir.display();
    if config.state_dir.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o002 != 0) {
        let message = format!("every user of this host may exchange the ledger and the audit record in {shown}");
        findings.error("state_dir", message, format!("run: chmod o-w {shown}, or name a directory of its own"));
    }
    if config.state_dir.starts_with(&config.data_path) {
        findings.error(
            "state_dir",
            "the ledger would lie inside the interface directory",
            format!("choose a directory on a local disk, such as {}", Config::DEFAULT_STATE_DIR),
        );
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !config.vo.chars().all(legal) || !config.vo.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        let help = "it is one directory name; use letters, digits, '.', '_' and '-', beginning with a letter or digit";
        findings.error("vo", format!("'{}' cannot be the first component of an LFN", config.vo), help);
    }
}

fn check_offsite(config: &Config, findings: &mut Findings) {
    let offsite = &config.offsite;
    let onsite = config.onsite_rse.as_str();
    if onsite.contains(|c: char| c.is_whitespace() || "&|\\()=<>!,".contains(c)) {
        let help = "write the name of the one RSE whose storage is data_path";
        findings.error("onsite_rse", format!("'{onsite}' is an expression, not a name"), help);
    } else if offsite.expression.trim() == onsite {
        let help = "write an expression that selects the data centres, such as OFFSITE";
        findings.error("offsite.expression", "it selects the on-site RSE, which never counts as a copy", help);
    } else if names(&offsite.expression, onsite) {
        findings.warning(
            "offsite.expression",
            format!("it names the on-site RSE {onsite}, which never counts as a copy"),
            "leave it out of the expression",
        );
    }
    if offsite.storage_check_by_rse.contains_key(onsite) {
        findings.warning(
            "offsite.storage_check_by_rse",
            format!("{onsite} is the on-site RSE, whose storage is never asked"),
            "name off-site RSEs only",
        );
    }
    check_ca_file("offsite.ca_file", offsite.ca_file.as_deref(), findings);
}

/// Whether an RSE expression names an RSE other than behind a `\`, which takes it out.
fn names(expression: &str, rse: &str) -> bool {
    let operator = |c: char| c.is_whitespace() || "&|\\()".contains(c);
    expression.match_indices(rse).any(|(start, _)| {
        let before = expression[..start].trim_end();
        let after = &expression[start + rse.len()..];
        let whole = (start == 0 || expression[..start].ends_with(operator))
            && (after.is_empty() || after.starts_with(operator));
        whole && !before.trim_end_matches(['(', ' ']).ends_with('\\')
    })
}

fn check_rucio(config: &Config, findings: &mut Findings) {
    let url = &config.rucio.url;
    match url.scheme() {
        "https" => {}
        "http" => {
            if !is_loopback(url) {
                let help = "write https:// unless the network between is trusted";
                findings.warning("rucio.url", "the password and the token travel unencrypted", help);
            }
            if config.rucio.ca_file.is_some() {
                let help = "write https:// in rucio.url, or leave ca_file out";
                findings.warning("rucio.ca_file", "it has no effect with an http:// URL", help);
            }
        }
        other => {
            let help = "write https://host:port";
            findings.error("rucio.url", format!("'{other}' is not a scheme Rucio is spoken to by"), help);
        }
    }
    if !url.username().is_empty() || url.password().is_some() {
        let help = "remove them; the password belongs into rucio.auth.userpass.password_file or a systemd credential";
        findings.error("rucio.url", "it holds a user name or password", help);
    }
    if url.query().is_some() || url.fragment().is_some() {
        findings.error("rucio.url", "it has a '?' or '#' part", "write scheme, host, port and, if need be, a path");
    }
    check_ca_file("rucio.ca_file", config.rucio.ca_file.as_deref(), findings);
}

fn check_ca_file(key: &str, file: Option<&Path>, findings: &mut Findings) {
    let Some(file) = file else { return };
    let help = "name a readable PEM file with the certificates of the authorities to trust";
    match fs::read_to_string(file) {
        Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => {}
        Ok(_) => findings.error(key, format!("{} holds no PEM certificate", file.display()), help),
        Err(error) => findings.error(key, format!("cannot read {}: {error}", file.display()), help),
    }
}

fn check_password(auth: &Auth, findings: &mut Findings) {
    let Auth::Userpass { password_file, .. } = auth;
    let key = "rucio.auth.userpass.password_file";
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let Some(file) = auth.password_source(credentials.as_deref()) else {
        let help = format!(
            "name a file, or write one '{CREDENTIAL}' beside the configuration, of which the unit makes a systemd credential"
        );
        findings.warning(key, "is not set, and this process was started without a systemd credential", help);
        return;
    };
    let shown = file.display();
    match File::open(&file).and_then(|opened| opened.metadata()) {
        Ok(metadata) if metadata.is_dir() => {
            findings.error(key, format!("{shown} is a directory"), "name a file whose content is the password");
        }
        Ok(metadata) if metadata.len() == 0 => {
            findings.error(key, format!("{shown} is empty"), "write the password into it");
        }
        // systemd guards its credentials itself, by the directory
        Ok(metadata)
            if (password_file.is_some() || credentials.is_none()) && metadata.permissions().mode() & 0o007 != 0 =>
        {
            let help = format!("run: chmod o= {shown}");
            findings.warning(key, format!("every user of this host has access to {shown}"), help);
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let help = "run this as the daemon's user, as a member of its group, or as root";
            findings.warning(key, format!("this user may not read {shown}"), help);
        }
        Err(error) => {
            let help = "name a file whose content is the password";
            findings.error(key, format!("cannot read {shown}: {error}"), help);
        }
    }
}

fn check_numbers(config: &Config, findings: &mut Findings) {
    let ranges = [
        ("verify.threads", config.verify.threads, 64),
        ("register.batch", config.register.batch, MOST_FILES_PER_BATCH),
        ("register.parallel", config.register.parallel, 16),
        ("rucio.max_in_flight", config.rucio.max_in_flight, 64),
    ];
    for (key, value, most) in ranges {
        if value < 1 || value > most {
            findings.error(key, format!("{value} is out of range"), format!("write a number from 1 to {most}"));
        }
    }
    if (MANY_REQUESTS + 1..=64).contains(&config.rucio.max_in_flight) {
        findings.warning(
            "rucio.max_in_flight",
            format!("{} requests at once can bring a Rucio server down", config.rucio.max_in_flight),
            format!("{MANY_REQUESTS} or fewer are enough: files travel in batches"),
        );
    }
}

fn check_limits(config: &Config, findings: &mut Findings) {
    let limits = [
        ("release.max_files_per_hour", u64::from(config.release.max_files_per_hour)),
        ("release.max_bytes_per_hour", config.release.max_bytes_per_hour),
    ];
    for (key, value) in limits {
        if value == 0 {
            let help = "write a larger one; release.deletion: off stops all releases";
            findings.error(key, "a limit of zero would keep every file for ever", help);
        }
    }
}

fn check_durations(config: &Config, findings: &mut Findings) {
    if config.settle.after.is_some_and(|after| after.is_zero()) {
        findings.error(
            "settle.after",
            "zero is not a quiet time",
            "write a time such as 24h, or null to settle nothing",
        );
    }
    let positive = [
        ("rucio.timeout", config.rucio.timeout),
        ("rucio.connect_timeout", config.rucio.connect_timeout),
        ("rucio.retry_budget", config.rucio.retry_budget),
        ("rucio.check_interval", config.rucio.check_interval),
        ("intake.scan_interval", config.intake.scan_interval),
        ("intake.early_after", config.intake.early_after),
        ("register.gather", config.register.gather),
        ("replicate.poll", config.replicate.poll),
        ("replicate.poll_max", config.replicate.poll_max),
        ("confirm.hold", config.confirm.hold),
        ("confirm.poll", config.confirm.poll),
        ("confirm.poll_max", config.confirm.poll_max),
        ("release.leftover_grace", config.release.leftover_grace),
        ("release.poll", config.release.poll),
        ("release.poll_max", config.release.poll_max),
        ("retry.initial", config.retry.initial),
        ("retry.max", config.retry.max),
        ("shutdown_timeout", config.shutdown_timeout),
    ];
    for (key, value) in positive {
        if value.is_zero() {
            findings.error(key, "a duration of zero has no meaning here", "write a longer one, or leave the key out");
        }
    }
    let ordered = [
        ("rucio.connect_timeout", config.rucio.connect_timeout, "rucio.timeout", config.rucio.timeout),
        ("replicate.poll", config.replicate.poll, "replicate.poll_max", config.replicate.poll_max),
        ("confirm.poll", config.confirm.poll, "confirm.poll_max", config.confirm.poll_max),
        ("release.poll", config.release.poll, "release.poll_max", config.release.poll_max),
        ("retry.initial", config.retry.initial, "retry.max", config.retry.max),
    ];
    for (lower, small, upper, large) in ordered {
        if small > large {
            let (small, large) = (durations::format(small), durations::format(large));
            findings.error(lower, format!("{small} is longer than {upper}, {large}"), format!("write {large} or less"));
        }
    }
    if config.shutdown_timeout > LONGEST_SHUTDOWN {
        let longest = durations::format(LONGEST_SHUTDOWN);
        let found = durations::format(config.shutdown_timeout);
        let help = format!("write {longest} or less; what is cut off is taken up again at the next start");
        findings.error("shutdown_timeout", format!("{found} is too long"), help);
    }
}

fn check_deletion(config: &Config, findings: &mut Findings) {
    let key = "release.deletion";
    if config.release.deletion == Deletion::On {
        if config.offsite.storage_check == StorageCheck::Off {
            let help = "set offsite.storage_check to required, or deletion to dry-run";
            findings.warning(key, "files are deleted on Rucio's word alone, no storage is asked", help);
        }
        for (rse, check) in &config.offsite.storage_check_by_rse {
            if *check == StorageCheck::Off && config.offsite.storage_check != StorageCheck::Off {
                let help = format!("set storage_check_by_rse.{rse} to required if its storage answers over HTTP");
                findings.warning(key, format!("a copy at {rse} counts on Rucio's word alone"), help);
            }
        }
        if config.confirm.hold < SHORT_HOLD && !config.confirm.hold.is_zero() {
            let found = durations::format(config.confirm.hold);
            let help = "an hour is the default; short holds are for tests";
            findings.warning("confirm.hold", format!("{found} between two looks at the evidence is very short"), help);
        }
    } else if config.release.leftover == Leftover::Remove {
        let help = "set deletion to on, or leave leftover out";
        findings.warning("release.leftover", "it has no effect while nothing is deleted", help);
    }
}

fn check_faces(config: &Config, findings: &mut Findings) {
    if let Some(address) = config.http.listen.filter(|address| !address.ip().is_loopback()) {
        let help = "write 127.0.0.1:9464 unless a firewall guards the port";
        findings.warning("http.listen", format!("{address} can be reached from other hosts"), help);
    }
    if let Err(error) = logs::check_level(&config.log.level) {
        let help = "write error, warn, info, debug or trace, or a list such as info,dl0_ingest::rucio=debug";
        findings.error("log.level", format!("'{}' is not a level: {error}", config.log.level), help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_names_an_rse_only_as_a_whole_word_that_is_not_taken_out() {
        for (expression, expected) in [
            ("A|STORAGE-1", true),
            ("(STORAGE-1|B)&tier=1", true),
            ("OFFSITE\\STORAGE-1", false),
            ("OFFSITE\\(STORAGE-1)", false),
            ("STORAGE-10|B", false),
            ("XSTORAGE-1", false),
        ] {
            assert_eq!(names(expression, "STORAGE-1"), expected, "{expression}");
        }
    }
}
