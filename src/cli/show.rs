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

/// Evidence, or the order that rests on it, as people read it; anything else as it is.
fn in_words(detail: &str) -> String {
    let Ok(Value::Object(found)) = serde_json::from_str(detail) else { return detail.to_owned() };
    match (found.get("evidence"), found.get("first_look")) {
        (Some(evidence), Some(first)) => match (look(evidence), at(first)) {
            (Some(evidence), Some(first)) => format!("{evidence}; first seen {first}"),
            _ => detail.to_owned(),
        },
        _ => look(&Value::Object(found)).unwrap_or_else(|| detail.to_owned()),
    }
}

/// One look: where which copies were proven, and when.
fn look(look: &Value) -> Option<String> {
    let copies: Vec<String> = look.get("copies")?.as_array()?.iter().map(copy).collect::<Option<_>>()?;
    Some(format!("{}; seen {}", copies.join(", "), at(look)?))
}

fn copy(copy: &Value) -> Option<String> {
    let text = |key: &str| copy.get(key).and_then(Value::as_str);
    let digest = copy
        .get("storage_digest")
        .and_then(Value::as_array)
        .and_then(|pair| Some(format!("its storage says {} {}", pair.first()?.as_str()?, pair.get(1)?.as_str()?)));
    let digest = digest.unwrap_or_else(|| "its storage gave no digest".to_owned());
    Some(format!("{} ({}, rule {}, {digest})", text("rse")?, text("site")?, text("rule")?))
}

fn at(look: &Value) -> Option<String> {
    Some(moment(look.get("at")?.as_i64()?))
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
        let detail = event.detail.as_ref().map_or_else(String::new, |detail| format!(": {}", in_words(detail)));
        writeln!(out, "  {}  {}{to}{detail}", moment(event.at), event.kind)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_told_with_times_that_people_read() {
        let copy =
            r#"{"rse":"A","site":"a","rule":"1","bytes":3,"adler32":"00000001","storage_digest":["crc32c","00ff"]}"#;
        let evidence = format!(r#"{{"at":1767297605000,"copies":[{copy}],"undecided":false}}"#);
        let said = "A (a, rule 1, its storage says crc32c 00ff); seen 2026-01-01 20:00:05 UTC";
        assert_eq!(in_words(&evidence), said);
        let order = format!(r#"{{"first_look":{{"at":1767297600000,"rses":["A"]}},"evidence":{evidence}}}"#);
        assert_eq!(in_words(&order), format!("{said}; first seen 2026-01-01 20:00:00 UTC"));
        for other in ["a rule's id", "{}", r#"{"copies":[]}"#] {
            assert_eq!(in_words(other), other);
        }
    }
}
