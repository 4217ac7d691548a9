//! `check-config`: everything that is wrong with the configuration, at once.

use std::io::Write;
use std::path::Path;

use clap::Args;
use serde_json::json;

use super::exit::{Exit, Failure};
use crate::config::{Config, ConfigError, Problem};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, path: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    let (errors, warnings) = match Config::load(path) {
        Ok(loaded) => (Vec::new(), loaded.warnings),
        Err(ConfigError::Invalid { problems, warnings, .. }) => (problems, warnings),
        Err(unreadable @ ConfigError::Unreadable { .. }) => return Err(Failure::usage(unreadable)),
    };
    let exit = if errors.is_empty() { Exit::Good } else { Exit::Usage };
    if arguments.json {
        let report = json!({
            "path": path.display().to_string(),
            "valid": errors.is_empty(),
            "errors": errors,
            "warnings": warnings,
        });
        writeln!(out, "{report}")?;
    } else {
        print(&errors, "error", path, out)?;
        print(&warnings, "warning", path, out)?;
        let verdict = if errors.is_empty() { "valid" } else { "not valid" };
        let (errors, warnings) = (count(errors.len(), "error"), count(warnings.len(), "warning"));
        writeln!(out, "{} is {verdict}: {errors}, {warnings}", path.display())?;
    }
    Ok(exit)
}

/// `file:line:column: kind: key: message; help`, which editors know how to follow.
fn print(problems: &[Problem], kind: &str, path: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    for problem in problems {
        let place = problem.place.map_or_else(String::new, |place| format!(":{}:{}", place.line, place.column));
        let told = Problem { place: None, ..problem.clone() };
        writeln!(out, "{}{place}: {kind}: {told}", path.display())?;
    }
    Ok(())
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
