//! `check-config`: everything that is wrong with the configuration, at once; with `--online` also what Rucio says to it.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::exit::{Exit, Failure};
use crate::config::{Config, ConfigError, Problem};
use crate::daemon::{self, preflight::Found};
use crate::telemetry::Metrics;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Also ask Rucio: the login, the account's rights, the on-site RSE, the sites and RSEs of the off-site expression,
    /// and the scopes of the directories that are there
    #[arg(long)]
    online: bool,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// What was found.
struct Findings {
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
    /// What Rucio says; `None` when it was not asked.
    online: Option<Online>,
}

/// What Rucio says.
enum Online {
    /// What only a person can mend, nothing if all is well.
    Answered(Found),
    /// It could not be asked.
    Silent(String),
}

pub(super) fn run(arguments: &Arguments, path: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    let findings = match Config::load(path) {
        Ok(loaded) => Findings {
            errors: Vec::new(),
            warnings: loaded.warnings,
            online: if arguments.online { Some(ask(&loaded.config)?) } else { None },
        },
        Err(ConfigError::Invalid { problems, warnings, .. }) => Findings { errors: problems, warnings, online: None },
        Err(unreadable @ ConfigError::Unreadable { .. }) => return Err(Failure::usage(unreadable)),
    };
    if arguments.json {
        writeln!(out, "{}", findings.report(path))?;
    } else {
        findings.tell(path, out)?;
    }
    Ok(findings.exit())
}

/// The daemon's own checks at start.
fn ask(config: &Config) -> Result<Online, Failure> {
    let (rucio, _) = match daemon::clients(config, &Arc::new(Metrics::new())) {
        Ok(clients) => clients,
        Err(error @ daemon::Error::Password(_)) => return Err(Failure::usage(error)),
        Err(error) => return Err(Failure::environment(error)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::environment)?;
    Ok(match runtime.block_on(daemon::preflight::check(&rucio, config)) {
        Ok(found) => Online::Answered(found),
        Err(error) => Online::Silent(error.to_string()),
    })
}

impl Findings {
    fn exit(&self) -> Exit {
        match &self.online {
            _ if !self.errors.is_empty() => Exit::Usage,
            Some(Online::Silent(_)) => Exit::Environment,
            Some(Online::Answered(found)) if !found.problems.is_empty() => Exit::Bad,
            _ => Exit::Good,
        }
    }

    fn report(&self, path: &Path) -> serde_json::Value {
        let online = self.online.as_ref().map(|online| match online {
            Online::Answered(found) => {
                let warnings: Vec<String> = found.all_warnings().collect();
                json!({ "answered": true, "problems": found.problems, "warnings": warnings })
            }
            Online::Silent(error) => json!({ "answered": false, "problems": [error], "warnings": [] }),
        });
        json!({
            "path": path.display().to_string(),
            "valid": self.errors.is_empty(),
            "errors": self.errors,
            "warnings": self.warnings,
            "online": online,
        })
    }

    fn tell(&self, path: &Path, out: &mut dyn Write) -> Result<(), Failure> {
        print(&self.errors, "error", path, out)?;
        print(&self.warnings, "warning", path, out)?;
        let verdict = if self.errors.is_empty() { "valid" } else { "not valid" };
        let (errors, warnings) = (count(self.errors.len(), "error"), count(self.warnings.len(), "warning"));
        writeln!(out, "{} is {verdict}: {errors}, {warnings}", path.display())?;
        match &self.online {
            None => {}
            Some(Online::Silent(error)) => writeln!(out, "Rucio cannot be asked: {error}")?,
            Some(Online::Answered(found)) => {
                let warnings: Vec<String> = found.all_warnings().collect();
                let verdict = match (found.problems.is_empty(), warnings.is_empty()) {
                    (false, _) => "is not as the daemon needs it:",
                    (true, false) => "lets the daemon start, and should be mended:",
                    (true, true) => {
                        "is as the daemon needs it, as far as it was looked at: login, rights, RSEs, sites, scopes"
                    }
                };
                writeln!(out, "Rucio {verdict}")?;
                for problem in &found.problems {
                    writeln!(out, "  {problem}")?;
                }
                for warning in warnings {
                    writeln!(out, "  warning: {warning}")?;
                }
            }
        }
        Ok(())
    }
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
