//! What an operator gets to read.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use insta::assert_snapshot;

use super::decode::Decoding;
use super::document::{Node, Value};
use super::*;

/// The least an operator can write.
const LEAST: &str = "\
data_path: /tmp
onsite_rse: STORAGE-1
offsite:
  expression: OFFSITE
rucio:
  url: https://rucio.example.org
  account: ingest
";

fn parse(text: &str) -> Result<Loaded, ConfigError> {
    Config::parse(text, Path::new("c.yaml"))
}

/// Errors and warnings as one text.
fn told(text: &str) -> String {
    match parse(text) {
        Ok(loaded) => lines("warning", &loaded.warnings),
        Err(ConfigError::Invalid { problems, warnings, .. }) => {
            lines("error", &problems) + &lines("warning", &warnings)
        }
        Err(other) => other.to_string(),
    }
}

fn lines(kind: &str, problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("{kind}: {problem}\n")).collect();
    lines.concat()
}

/// The least configuration with `lines` put in place of the section or key they begin with, or added.
fn with(lines: &str) -> String {
    let key = lines.split(':').next().unwrap();
    let mut kept = String::new();
    let mut replaced = false;
    for line in LEAST.lines() {
        if !line.starts_with(' ') {
            replaced = line.starts_with(&format!("{key}:"));
        }
        if !replaced {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept + lines + "\n"
}

/// The example with its commented defaults in force.
fn example_uncommented() -> String {
    let uncomment = |line: &str| {
        let indentation = line.len() - line.trim_start().len();
        match line.trim_start().strip_prefix('#') {
            Some(default) if !default.starts_with(' ') && !default.is_empty() => {
                format!("{}{default}\n", &line[..indentation])
            }
            _ => format!("{line}\n"),
        }
    };
    Config::example().lines().map(uncomment).collect()
}

fn paths(prefix: &str, node: &Node, found: &mut Vec<String>) {
    if let Value::Map(entries) = &node.value {
        for (key, value) in entries {
            let path = if prefix.is_empty() { key.text.clone() } else { format!("{prefix}.{}", key.text) };
            found.push(path.clone());
            paths(&path, value, found);
        }
    }
}

#[test]
fn the_shipped_example_parses_and_its_commented_defaults_are_the_codes_own() {
    let shipped = parse(Config::example()).unwrap().config;
    let uncommented = parse(&example_uncommented()).unwrap().config;
    assert_eq!(shipped, uncommented);
    assert_eq!(shipped.release.deletion, Deletion::DryRun);
}

/// Every key the file may contain.
fn known() -> Vec<String> {
    let document = Node::parse(&example_uncommented()).unwrap();
    let decoding = Decoding::default();
    super::load::read(decoding.root(&document));
    let (problems, mut known) = decoding.finish();
    assert_eq!(problems, []);
    known.sort_unstable();
    known
}

#[test]
fn the_shipped_example_has_every_key() {
    let mut written = Vec::new();
    paths("", &Node::parse(&example_uncommented()).unwrap(), &mut written);
    written.sort_unstable();
    assert_eq!(written, known());
}

#[test]
fn the_documentation_has_every_key() {
    let documentation = include_str!("../../docs/configuration.md");
    let known = known();
    let section = |key: &str| known.iter().any(|other| other.starts_with(&format!("{key}.")));
    let missing: Vec<&String> =
        known.iter().filter(|key| !section(key) && !documentation.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/configuration.md lacks {missing:?}");
}

#[test]
fn the_least_configuration_is_enough() {
    let config = parse(LEAST).unwrap().config;
    assert_eq!(config.ledger_path(), Path::new("/var/lib/dl0-ingest/ledger.db"));
    let Auth::Userpass { username, password_file, .. } = &config.rucio.auth;
    assert_eq!((username.as_str(), password_file), ("ingest", &None));
    assert_eq!(config.offsite.copies.get(), 2);
}

#[test]
fn an_empty_file_says_what_is_needed() {
    assert_snapshot!(told("# nothing yet\n"), @"
    error: 1:1: data_path: missing, and it has no default; write 'data_path: /srv/onsite', with your own value
    error: 1:1: onsite_rse: missing, and it has no default; write 'onsite_rse: STORAGE-1', with your own value
    error: 1:1: offsite.expression: missing, and it has no default; write 'expression: OFFSITE', with your own value
    error: 1:1: rucio.url: missing, and it has no default; write 'url: https://rucio.example.org', with your own value
    error: 1:1: rucio.account: missing, and it has no default; write 'account: ingest', with your own value
    ");
}

#[test]
fn unknown_keys_are_refused_all_at_once_with_the_nearest_valid_one() {
    let text = "\
dta_path: /srv
onsite-rse: STORAGE-1
kafka: yes
batch: 3
rucio:
  url: https://rucio.example.org
  acount: ingest
  auth:
    x509: {}
register:
  bacth: 250
";
    assert_snapshot!(told(text), @"
    error: 1:1: data_path: missing, and it has no default; write 'data_path: /srv/onsite', with your own value
    error: 1:1: onsite_rse: missing, and it has no default; write 'onsite_rse: STORAGE-1', with your own value
    error: 1:1: offsite.expression: missing, and it has no default; write 'expression: OFFSITE', with your own value
    error: 1:1: unknown key 'dta_path'; did you mean 'data_path'?
    error: 2:1: unknown key 'onsite-rse'; did you mean 'onsite_rse'?
    error: 3:1: unknown key 'kafka'; valid keys here: data_path, vo, state_dir, onsite_rse, offsite, rucio, intake, verify, register, replicate, confirm, release, settle, http, log, retry, shutdown_timeout
    error: 4:1: unknown key 'batch'; it belongs into the section 'register'
    error: 5:1: rucio.account: missing, and it has no default; write 'account: ingest', with your own value
    error: 7:3: rucio: unknown key 'acount'; did you mean 'account'?
    error: 9:5: rucio.auth: unknown key 'x509'; valid keys here: userpass
    error: 11:3: register: unknown key 'bacth'; did you mean 'batch'?
    ");
}

#[test]
fn wrong_types_say_what_was_expected_and_found() {
    let text = "\
data_path: [a, b]
vo: true
onsite_rse:
offsite:
  expression: OFFSITE
  copies: 1
  storage_check: requierd
  storage_check_by_rse:
    STORAGE-2: never
rucio:
  url: rucio.example.org
  account: ingest
  timeout: 30
  connect_timeout: 5 parsecs
  max_in_flight: 2.5
intake:
  inotify: yes
verify: all
release:
  deletion: false
http:
  listen: 9464
log:
  format: xml
";
    assert_snapshot!(told(text), @"
    error: 1:12: data_path: expected a path, found a list; write an absolute path, such as /srv/data
    error: 2:5: vo: expected a text, found the boolean true; write a text; put it in quotes if it looks like something else
    error: 3:11: onsite_rse: missing, and it has no default; write 'onsite_rse: STORAGE-1', with your own value
    error: 6:11: offsite.copies: 1 off-site copies are too few; the data are unrepeatable, so at least 2 are needed; write 2 or more
    error: 7:18: offsite.storage_check: expected one of required, preferred, off, found 'requierd'; did you mean 'required'?
    error: 9:16: offsite.storage_check_by_rse.STORAGE-2: expected one of required, preferred, off, found 'never'; write one of required, preferred, off
    error: 11:8: rucio.url: not a URL: relative URL without a base; write it like https://rucio.example.org:443
    error: 13:12: rucio.timeout: the duration 30 has no unit; add a unit (ms, s, min, h, d), such as 30s
    error: 14:20: rucio.connect_timeout: expected a duration, found '5 parsecs'; write a number with a unit (ms, s, min, h, d), such as 200ms, 5s, 10min or '1h 30min'
    error: 15:18: rucio.max_in_flight: expected a whole number, found the number 2.5; write a whole number, without quotes or separators
    error: 17:12: intake.inotify: expected true or false, found 'yes'; write true or false
    error: 18:1: verify: expected a section, found 'all'; write its keys below it, each on a line of its own and indented by two more spaces
    error: 20:13: release.deletion: expected one of off, dry-run, on, found the boolean false; did you mean 'off'?
    error: 22:11: http.listen: expected an address and a port, found the number 9464; write address and port, such as 127.0.0.1:9464 or '[::1]:9464', or null to serve nothing
    error: 24:11: log.format: expected one of auto, json, journald, text, found 'xml'; write one of auto, json, journald, text
    ");
}

#[test]
fn broken_yaml_has_a_place_too() {
    let broken = [
        "data_path: /srv\n  vo: x\n",
        "data_path: '/srv\n",
        "data_path: /srv\ndata_path: /other\n",
        "data_path: {a: 1\n",
        "\tdata_path: /srv\n",
        "data_path: *here\n",
        "data_path: /srv\n---\nvo: x\n",
        "- data_path: /srv\n",
        "just words\n",
    ];
    assert_snapshot!(broken.map(told).concat(), @"
    error: 2:5: not valid YAML: mapping values are not allowed in this context; one 'key: value' per line, two spaces of indentation below a section's name
    error: 1:12: not valid YAML: unclosed quote; one 'key: value' per line, two spaces of indentation below a section's name
    error: 2:1: 'data_path' stands above already; keep one of the two; a section is written once, with all its keys below it
    error: 1:12: not valid YAML: unclosed bracket '{'; one 'key: value' per line, two spaces of indentation below a section's name
    error: 1:2: onsite_rse: missing, and it has no default; write 'onsite_rse: STORAGE-1', with your own value
    error: 1:2: offsite.expression: missing, and it has no default; write 'expression: OFFSITE', with your own value
    error: 1:2: rucio.url: missing, and it has no default; write 'url: https://rucio.example.org', with your own value
    error: 1:2: rucio.account: missing, and it has no default; write 'account: ingest', with your own value
    error: 1:12: not valid YAML: reference to unknown value; one 'key: value' per line, two spaces of indentation below a section's name
    error: 3:1: not valid YAML: only single YAML document expected but multiple found; one 'key: value' per line, two spaces of indentation below a section's name
    error: 1:1: expected a section, found a list; write its keys below it, each on a line of its own and indented by two more spaces
    error: 1:1: data_path: missing, and it has no default; write 'data_path: /srv/onsite', with your own value
    error: 1:1: onsite_rse: missing, and it has no default; write 'onsite_rse: STORAGE-1', with your own value
    error: 1:1: offsite.expression: missing, and it has no default; write 'expression: OFFSITE', with your own value
    error: 1:1: rucio.url: missing, and it has no default; write 'url: https://rucio.example.org', with your own value
    error: 1:1: rucio.account: missing, and it has no default; write 'account: ingest', with your own value
    error: 1:1: expected a section, found 'just words'; write its keys below it, each on a line of its own and indented by two more spaces
    error: 1:1: data_path: missing, and it has no default; write 'data_path: /srv/onsite', with your own value
    error: 1:1: onsite_rse: missing, and it has no default; write 'onsite_rse: STORAGE-1', with your own value
    error: 1:1: offsite.expression: missing, and it has no default; write 'expression: OFFSITE', with your own value
    error: 1:1: rucio.url: missing, and it has no default; write 'url: https://rucio.example.org', with your own value
    error: 1:1: rucio.account: missing, and it has no default; write 'account: ingest', with your own value
    ");
}

#[test]
fn each_check_points_at_its_key() {
    let text = "\
data_path: relative
onsite_rse: A|B
state_dir: relative/state
vo: ../x
shutdown_timeout: 30s
offsite:
  expression: OFFSITE
  ca_file: /nonexistent/ca.pem
rucio:
  url: ftp://me:secret@rucio.example.org/?a=b
  account: ingest
  max_in_flight: 0
  connect_timeout: 2min
register: {batch: 501, gather: 0s}
replicate: {poll: 1min}
retry: {initial: 0s}
log: {level: inof}
";
    assert_snapshot!(told(text), @"
    error: 1:12: data_path: 'relative' is a relative path; write the absolute path, beginning with '/'
    error: 2:13: onsite_rse: 'A|B' is an expression, not a name; write the name of the one RSE whose storage is data_path
    error: 3:12: state_dir: 'relative/state' is a relative path; write the absolute path, beginning with '/'
    error: 3:12: state_dir: the ledger would lie inside the interface directory; choose a directory on a local disk, such as /var/lib/dl0-ingest
    error: 4:5: vo: '../x' cannot be the first component of an LFN; it is one directory name; use letters, digits, '.', '_' and '-', beginning with a letter or digit
    error: 5:19: shutdown_timeout: 30s is too long; write 10s or less; what is cut off is taken up again at the next start
    error: 8:12: offsite.ca_file: cannot read /nonexistent/ca.pem: No such file or directory (os error 2); name a readable PEM file with the certificates of the authorities to trust
    error: 10:8: rucio.url: 'ftp' is not a scheme Rucio is spoken to by; write https://host:port
    error: 10:8: rucio.url: it holds a user name or password; remove them; the password belongs into rucio.auth.userpass.password_file or a systemd credential
    error: 10:8: rucio.url: it has a '?' or '#' part; write scheme, host, port and, if need be, a path
    error: 12:18: rucio.max_in_flight: 0 is out of range; write a number from 1 to 64
    error: 13:20: rucio.connect_timeout: 2min is longer than rucio.timeout, 1min; write 1min or less
    error: 14:19: register.batch: 501 is out of range; write a number from 1 to 500
    error: 14:32: register.gather: a duration of zero has no meaning here; write a longer one, or leave the key out
    error: 15:19: replicate.poll: 1min is longer than replicate.poll_max, 15s; write 15s or less
    error: 16:18: retry.initial: a duration of zero has no meaning here; write a longer one, or leave the key out
    error: 17:14: log.level: 'inof' is not a level: there is no such level; write error, warn, info, debug or trace, or a list such as info,dl0_ingest::rucio=debug
    warning: 9:1: rucio.auth.userpass.password_file: is not set, and this process was started without a systemd credential; name a file, or write one 'rucio-password' beside the configuration, of which the unit makes a systemd credential
    ");
}

#[test]
fn what_is_allowed_but_hardly_meant_is_a_warning() {
    let text = "\
data_path: /nonexistent/data
onsite_rse: STORAGE-1
offsite:
  expression: OFFSITE|STORAGE-1
  storage_check_by_rse: {STORAGE-1: required, STORAGE-3: off}
rucio:
  url: http://rucio.example.org
  account: ingest
  max_in_flight: 40
confirm: {hold: 1s}
release: {deletion: on}
http: {listen: '0.0.0.0:9464'}
";
    assert_snapshot!(told(text), @"
    warning: 1:12: data_path: there is no directory /nonexistent/data here; create or mount it; the daemon does not start without it
    warning: 4:15: offsite.expression: it names the on-site RSE STORAGE-1, which never counts as a copy; leave it out of the expression
    warning: 5:3: offsite.storage_check_by_rse: STORAGE-1 is the on-site RSE, whose storage is never asked; name off-site RSEs only
    warning: 6:1: rucio.auth.userpass.password_file: is not set, and this process was started without a systemd credential; name a file, or write one 'rucio-password' beside the configuration, of which the unit makes a systemd credential
    warning: 7:8: rucio.url: the password and the token travel unencrypted; write https:// unless the network between is trusted
    warning: 9:18: rucio.max_in_flight: 40 requests at once can bring a Rucio server down; 16 or fewer are enough: files travel in batches
    warning: 10:17: confirm.hold: 1s between two looks at the evidence is very short; an hour is the default; short holds are for tests
    warning: 11:21: release.deletion: a copy at STORAGE-3 counts on Rucio's word alone; set storage_check_by_rse.STORAGE-3 to required if its storage answers over HTTP
    warning: 12:16: http.listen: 0.0.0.0:9464 can be reached from other hosts; write 127.0.0.1:9464 unless a firewall guards the port
    ");
    assert_snapshot!(told(&with("release: {leftover: remove}")), @"
    warning: 5:1: rucio.auth.userpass.password_file: is not set, and this process was started without a systemd credential; name a file, or write one 'rucio-password' beside the configuration, of which the unit makes a systemd credential
    warning: 8:21: release.leftover: it has no effect while nothing is deleted; set deletion to on, or leave leftover out
    ");
}

#[test]
fn deletion_without_any_storage_check_is_a_warning() {
    let text = with("offsite: {expression: OFFSITE, storage_check: off}") + "release: {deletion: on}\n";
    assert_snapshot!(told(&text), @"
    warning: 3:1: rucio.auth.userpass.password_file: is not set, and this process was started without a systemd credential; name a file, or write one 'rucio-password' beside the configuration, of which the unit makes a systemd credential
    warning: 7:21: release.deletion: files are deleted on Rucio's word alone, no storage is asked; set offsite.storage_check to required, or deletion to dry-run
    ");
}

#[test]
fn the_password_file_is_looked_at_and_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    let section = |file: &Path| {
        let file = file.display();
        with(&format!(
            "rucio:\n  url: https://r.example\n  account: a\n  auth:\n    userpass:\n      password_file: {file}"
        ))
    };
    let told_of = |file: &Path| told(&section(file)).replace(&directory.path().display().to_string(), "DIR");
    assert_snapshot!(told_of(&file), @"error: 10:22: rucio.auth.userpass.password_file: cannot read DIR/password: No such file or directory (os error 2); name a file whose content is the password");
    std::fs::write(&file, "").unwrap();
    assert_snapshot!(told_of(&file), @"error: 10:22: rucio.auth.userpass.password_file: DIR/password is empty; write the password into it");
    std::fs::write(&file, "hunter2\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_snapshot!(told_of(&file), @"warning: 10:22: rucio.auth.userpass.password_file: every user of this host has access to DIR/password; run: chmod o= DIR/password");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(told_of(&file), "");
}

#[test]
fn a_state_directory_that_everybody_may_write_to_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let text =
        with(&format!("state_dir: {}", directory.path().display())).replace("data_path: /tmp", "data_path: /usr");
    let told_of = || {
        let all = told(&text).replace(&directory.path().display().to_string(), "DIR");
        all.lines().find(|line| line.contains("state_dir")).map(str::to_owned)
    };
    assert_eq!(told_of(), None);
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o757)).unwrap();
    assert_snapshot!(told_of().unwrap(), @"error: 8:12: state_dir: every user of this host may exchange the ledger and the audit record in DIR; run: chmod o-w DIR, or name a directory of its own");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_of_its_own() {
    let error = Config::load(Path::new("/nonexistent/c.yaml")).unwrap_err();
    assert_snapshot!(error, @"cannot read the configuration /nonexistent/c.yaml: No such file or directory (os error 2); give its place with --config, or copy the example there");
}

#[test]
fn the_endpoint_can_be_switched_off() {
    assert_eq!(parse(&with("http: {listen: null}")).unwrap().config.http.listen, None);
    assert_eq!(parse(&with("http:")).unwrap().config.http.listen, Http::default().listen);
}

#[test]
fn words_that_other_programs_take_for_booleans_stay_words() {
    for (word, meaning) in [("on", Deletion::On), ("off", Deletion::Off), ("'on'", Deletion::On)] {
        assert_eq!(parse(&with(&format!("release: {{deletion: {word}}}"))).unwrap().config.release.deletion, meaning);
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "([a-z_]{1,9}: ?[\\PC]{0,12}\n ?){0,8}") {
        let _ = parse(&text);
    }
}
