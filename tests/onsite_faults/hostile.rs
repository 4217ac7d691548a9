//! What a hostile producer, a curious neighbour or a careless operator gets to see: nothing that is secret, and nothing that
//! a terminal would obey.

use std::fs;
use std::os::unix::fs::symlink;

use crate::onsite_faults::{NIGHT, named, site};
use crate::testkit::checker::ends_well;
use crate::testkit::command::{ask, say};
use crate::testkit::deliveries::Fate;
use crate::testkit::fixture;
use crate::testkit::process::Daemon;

/// How each token of the embedded Rucio for this account begins.
const TOKEN: &str = "ingest-embedded-";
const PASSWORD: &str = "ingestpw";

#[tokio::test(flavor = "multi_thread")]
async fn neither_password_nor_token_is_logged_at_the_finest_level() {
    let site = site().await;
    site.change("log: {format: json}", "log: {format: json, level: trace}");
    let daemon = Daemon::start(&site, &[]);
    site.deliver_for(&named("good"), fixture("CAL"), Fate::Released);
    site.deliver_for(&named("bad"), b"no FITS file".to_vec(), Fate::Rejected);
    daemon.ready(&site).await;
    // logging in anew is told of as well
    site.rucio.forget_tokens();
    ends_well(&site, daemon).await;
    let log = fs::read_to_string(site.log()).unwrap();
    assert!(log.contains(r#""level":"TRACE""#), "the finest level says nothing, so nothing was shown");
    let audit = fs::read_to_string(site.state().join("audit.jsonl")).unwrap();
    for (place, text) in [("the log", log), ("the audit record", audit)] {
        for secret in [PASSWORD, TOKEN] {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{place} has a secret");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_a_files_name_from_the_http_endpoints() {
    let site = site().await;
    let address = site.listens();
    fs::write(site.kill_switch(), "so that all stay in custody").unwrap();
    let daemon = Daemon::start(&site, &[]);
    let proven = site.deliver_for(&named("quince"), fixture("CAL"), Fate::Released);
    site.deliver_for(&named("medlar"), b"no FITS file".to_vec(), Fate::Rejected);
    let held = site.deliver_for(&named("sorb"), fixture("MUON"), Fate::Released);
    site.until_trigger_gone(&held).await;
    site.replace(&held, fixture("SHOWER"));
    site.trigger(&held);
    symlink("nowhere", site.storage(1).join(NIGHT).join("damson.fits.fz.trigger")).unwrap();
    daemon.until_said(&site, "wrong trigger").await;
    site.until_trigger_gone(&proven).await;
    let names = ["quince", "medlar", "sorb", "damson", "/ctao", "acada", site.root().to_str().unwrap()];
    daemon.until_said(&site, "file held").await;
    for path in ["/", "/metrics", "/healthz", "/readyz", "/status"] {
        let answer = tokio::task::spawn_blocking(move || ask(address, path)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 503"), "{path}: {answer}");
        for name in names {
            assert!(!answer.contains(name), "{path} tells '{name}': {answer}");
        }
    }
    daemon.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_name_sends_no_control_character_to_a_terminal_or_a_log() {
    const HOSTILE: &str = "\x1b[2J\r\u{9b}31m\nall is well.fits.fz";
    for format in ["json", "text"] {
        let site = site().await;
        site.change("log: {format: json}", &format!("log: {{format: {format}}}"));
        let night = site.storage(1).join(NIGHT);
        fs::create_dir_all(&night).unwrap();
        fs::write(night.join(HOSTILE), fixture("CAL")).unwrap();
        symlink(HOSTILE, night.join(format!("{HOSTILE}.trigger"))).unwrap();
        let daemon = Daemon::start(&site, &[]);
        let told = || std::future::ready(fs::read_to_string(site.log()).unwrap().contains("wrong trigger"));
        site.until("the trigger to be told of", told).await;
        let directory = night.to_str().unwrap();
        let mut said = vec![
            ("status", site.say(&["status"])),
            ("status --json", site.say(&["status", "--json"])),
            ("audit", site.say(&["audit", "--min-age", "0s", "--settle", "100ms"])),
            ("audit --repair", site.say(&["audit", "--repair", "--min-age", "0s", "--settle", "100ms"])),
            ("audit --json", site.say(&["audit", "--json", "--min-age", "0s", "--settle", "100ms"])),
            ("why", site.say(&["why", &format!("/{NIGHT}/{HOSTILE}")])),
        ];
        said.push(("verify", say(&["verify", directory])));
        said.push(("verify --json", say(&["verify", "--json", directory])));
        daemon.kill().await;
        // a rebuild leaves to the daemon what has a trigger
        fs::remove_file(night.join(format!("{HOSTILE}.trigger"))).unwrap();
        fs::remove_file(site.ledger_file()).unwrap();
        said.push(("rebuild", site.say(&["rebuild", "--dry-run"])));
        said.push(("rebuild --json", site.say(&["rebuild", "--dry-run", "--json"])));
        let mut texts: Vec<(&str, String)> = vec![("the log", fs::read_to_string(site.log()).unwrap())];
        texts.extend(said.into_iter().map(|(what, said)| (what, said.out + &said.err)));
        for (what, text) in &texts {
            let obeyed = text.lines().find(|line| line.chars().any(|c| c.is_control() && c != '\t'));
            assert_eq!(obeyed, None, "{what}, log as {format}");
            assert!(!text.lines().any(|line| line.starts_with("all is well")), "{what}, log as {format}: {text}");
        }
        for what in ["the log", "status", "audit", "verify", "rebuild"] {
            let text = &texts.iter().find(|(name, _)| name == &what).unwrap().1;
            assert!(text.contains("all is well"), "{what} does not name it: {text}");
        }
    }
}
