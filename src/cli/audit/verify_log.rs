//! `audit verify-log`: proving what was done.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::super::exit::{Exit, Failure};
use super::super::ledger::read;
use crate::audit_log::{self, Head, Restart, Verified};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Files of the log, oldest first
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, config: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    let (files, known) = if arguments.files.is_empty() {
        // the ledger first: a record written meanwhile is one more than it knows of, not one less
        read(config, |reader| async move {
            let known = reader.ledger.audit_head().await?.map(|(seq, hash)| Head { seq, hash });
            let directory = &reader.config.state_dir;
            let files = audit_log::files(directory)
                .map_err(|error| Failure::environment(format!("cannot read {}: {error}", directory.display())))?;
            Ok((files, known))
        })?
    } else {
        (arguments.files.clone(), None)
    };
    let verified = audit_log::verify(&files, known.as_ref())
        .map_err(|error| Failure::environment(format!("cannot read the audit record: {error}")))?;
    if arguments.json {
        writeln!(out, "{}", report(&files, &verified))?;
    } else {
        writeln!(out, "{}", told(&files, &verified))?;
    }
    Ok(if verified.broken.is_some() { Exit::Bad } else { Exit::Good })
}

fn report(files: &[PathBuf], verified: &Verified) -> serde_json::Value {
    let broken = verified.broken.as_ref().map(|(file, found)| {
        json!({ "file": file.display().to_string(), "line": found.line, "reason": found.flaw.to_string() })
    });
    let restarts: Vec<_> =
        verified.restarts.iter().map(|restart| json!({ "seq": restart.seq, "put_away": restart.put_away })).collect();
    json!({
        "files": files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
        "whole": verified.broken.is_none(),
        "records": verified.records,
        "last": { "seq": verified.head.seq, "hash": verified.head.hash },
        "restarts": restarts,
        "unfinished_bytes": verified.open_bytes,
        "broken": broken,
    })
}

fn told(files: &[PathBuf], verified: &Verified) -> String {
    if let Some((file, found)) = &verified.broken {
        return format!("{}, line {}: {}", file.display(), found.line, found.flaw);
    }
    if files.is_empty() {
        return "no effect is on record".to_owned();
    }
    let mut text = format!("{} records, the chain is whole", verified.records);
    if verified.records > 0 {
        // writing to a String cannot fail
        let _ = write!(text, "; the last is number {}, hash {}", verified.head.seq, verified.head.hash);
    }
    for Restart { seq, put_away } in &verified.restarts {
        let _ = write!(text, "\nrecord {seq} begins a new log: the one before was not as it was written");
        let _ = match put_away {
            Some(file) => write!(text, ", and lies in {file}"),
            None => write!(text, ", or not there any more"),
        };
    }
    if verified.open_bytes > 0 {
        let bytes = verified.open_bytes;
        let _ = write!(text, "\n{bytes} bytes of an unfinished record follow: its effect was not carried out");
    }
    text
}
