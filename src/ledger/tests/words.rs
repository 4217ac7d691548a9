//! Words in SQL are not seen by the compiler: each is the name of a state, or one of those listed here.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::custody::settling::Cause;

/// Kinds of events, of holds and of operators' actions.
const OTHERS: [&str; 11] = [
    "all",
    "dataset",
    "discovered",
    "file",
    "first-look-void",
    "read-back",
    "rebuilt",
    "registered",
    "release-ordered",
    "found",
    "answered",
];

/// Every `'word'` of lower-case letters and hyphens.
fn quoted(text: &str) -> BTreeSet<String> {
    let is_word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase()) && part.bytes().all(|c| c.is_ascii_lowercase() || c == b'-')
    };
    let mut words = BTreeSet::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//") && !line.starts_with("--")) {
        // before the first and after the last quote nothing is quoted
        let parts: Vec<&str> = line.split('\'').collect();
        let within = parts.get(1..parts.len() - 1).unwrap_or_default();
        words.extend(within.iter().filter(|part| is_word(part)).map(|part| (*part).to_owned()));
    }
    words
}

fn unknown(text: &str) -> Vec<String> {
    let known =
        |word: &String| State::parse(word).is_some() || Cause::parse(word).is_some() || OTHERS.contains(&word.as_str());
    quoted(text).into_iter().filter(|word| !known(word)).collect()
}

#[test]
fn every_word_in_the_sql_of_the_ledger_is_a_state_or_listed() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ledger");
    let mut seen = BTreeSet::new();
    for directory in [room.clone(), room.join("migrations")] {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() || path.ends_with("tests.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(unknown(&text), [""; 0], "{}", path.display());
            seen.extend(quoted(&text));
        }
    }
    for state in [State::Verified, State::Registered, State::Releasing, State::Released, State::Rejected, State::Held] {
        assert!(seen.contains(state.as_str()), "{state} was not found: is the SQL written in another way now?");
    }
    assert_eq!(unknown("WHERE state IN ('released', 'relased') AND held_from = 'gone'"), ["gone", "relased"]);
}

#[tokio::test]
async fn every_word_in_the_schema_as_it_stands_is_a_state_or_listed() {
    let (_directory, ledger) = ledger().await;
    let schema: Vec<String> =
        sqlx::query_scalar("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND type <> 'trigger'")
            .fetch_all(&ledger.reader)
            .await
            .unwrap();
    for sql in schema {
        assert_eq!(unknown(&sql), [""; 0], "{sql}");
    }
}
