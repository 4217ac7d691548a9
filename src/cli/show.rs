//! `show`: everything on record about one file.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::ledger::{OneFile, lfn_of, moment, read};
use super::why::unknown;
use crate::ledger::{EventRow, FileRow};
use crate::telemetry::human;

pub(super) fn run(arguments: &OneFile, config: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    let (row, events) = read(config, |reader| async move {
        let lfn = lfn_of(&reader.config, &arguments.file)?;
        let Some(row) = reader.ledger.by_lfn(lfn.as_str()).await? else {
            return Err(unknown(&reader, &lfn).await?.into_failure());
        };
        let events = reader.ledger.events(&row).await?;
        Ok((row, events))
    })?;
    if arguments.json {
        let mut report = serde_json::to_value(&row)?;
        if let Value::Object(report) = &mut report {
            report.insert("events".to_owned(), json!(events));
        }
        writeln!(out, "{report}")?;
    } else {
        tell(&row, &events, out)?;
    }
    Ok(Exit::Good)
}

fn tell(row: &FileRow, events: &[EventRow], out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(out, "{}", row.lfn)?;
    let mut line = |name: &str, value: &str| writeln!(out, "  {name:<21}{value}");
    line("state", &format!("{}, since {}", row.state, moment(row.state_since)))?;
    line("delivered", &moment(row.discovered_at))?;
    line("size", &format!("{} ({} bytes)", human::size(row.bytes), row.bytes))?;
    for (name, value) in [
        ("adler32", &row.adler32),
        ("crc32c", &row.crc32c),
        ("blake3", &row.blake3),
        ("md5", &row.md5),
        ("first copy", &row.first_rse),
        ("further-copies rule", &row.further_copies_rule),
        ("on-site rule", &row.on_site_rule),
        ("reason", &row.reason),
        ("lies in", &row.invalid_path),
        ("held from", &row.held_from),
        ("waits for", &row.waits_for),
    ] {
        if let Some(value) = value {
            line(name, value)?;
        }
    }
    if row.attempts > 0 {
        line("attempts", &format!("{} failed, next at {}", row.attempts, moment(row.next_attempt)))?;
    }
    let metadata = row.metadata()?;
    if !metadata.is_empty() {
        writeln!(out, "\nmetadata")?;
        let width = metadata.keys().map(String::len).max().unwrap_or(0);
        for (key, value) in &metadata {
            writeln!(out, "  {key:<width$}  {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))?;
        }
    }
    writeln!(out, "\nevents")?;
    for event in events {
        // most moves are named after the state they lead to
        let to = event.to_state.as_ref().filter(|to| **to != event.kind);
        let to = to.map_or_else(String::new, |to| format!(" → {to}"));
        let detail = event.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
        writeln!(out, "  {}  {}{to}{detail}", moment(event.at), event.kind)?;
    }
    Ok(())
}
