//! `audit`: disk, ledger and Rucio held against each other.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use super::super::exit::{Exit, Failure};
use super::super::ledger::open;
use super::super::sources::{bar, sources, with};
use crate::config::parse_duration;
use crate::ledger::Ledger;
use crate::printable::one_line;
use crate::reconcile::{self, Audited, Code, Finding, Options, Progress, Repaired, Sources};
use crate::telemetry::human;

/// So many repairs in a row that fail have one cause.
const FAILED: u32 = 5;

#[derive(Debug, Args)]
#[group(id = "reconcile")]
#[allow(clippy::struct_excessive_bools)] // flags are independent of each other
pub(super) struct Arguments {
    /// Also read every file on site and compare its content with what was verified
    #[arg(long)]
    read: bool,
    /// Also ask Rucio for the off-site copies of all that was ever released
    #[arg(long)]
    copies: bool,
    /// Leave alone what has changed on disk less long ago
    #[arg(long, value_name = "TIME", default_value = "10min", value_parser = duration)]
    min_age: Duration,
    /// Look a second time, after so long, at what seems wrong
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    settle: Duration,
    /// In text, list so many findings of each kind at most
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    most: u64,
    /// Say what could be mended without risk; with --yes, mend it
    #[arg(long)]
    repair: bool,
    /// Carry out what --repair proposes
    #[arg(long, requires = "repair")]
    yes: bool,
    /// One JSON object per finding and line instead of text
    #[arg(long)]
    json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a time such as 30s, 10min or 2h".to_owned())
}

pub(super) fn run(arguments: &Arguments, config: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    let writes = arguments.repair && arguments.yes;
    let how = async |path: &Path| {
        if writes { Ledger::open_for_operator(path).await } else { Ledger::open_read_only(path).await }
    };
    open(config, how, |reader| async move {
        let sources = with(sources(reader.config).await?, &reader.ledger);
        audit(arguments, &sources, out).await
    })
}

async fn audit(arguments: &Arguments, sources: &Sources, out: &mut dyn Write) -> Result<Exit, Failure> {
    let Arguments { min_age, settle, read, copies, .. } = *arguments;
    let options = Options { min_age, settle, read, copies };
    let bar = bar();
    let mut printer = Printer { arguments, out, bar: &bar, counts: BTreeMap::new(), repairs: Vec::new(), told: Ok(()) };
    let audited = reconcile::audit(sources, options, |progress| match progress {
        Progress::Directories(all) => bar.set_length(all),
        Progress::Directory => bar.inc(1),
        Progress::Found(finding) => printer.found(finding),
    })
    .await;
    bar.finish_and_clear();
    let audited = audited?;
    std::mem::replace(&mut printer.told, Ok(()))?;
    if !arguments.json {
        writeln!(printer.out, "{}", printer.summary(audited))?;
    }
    let repaired = printer.repair(sources, options).await?;
    Ok(if audited.findings > repaired { Exit::Bad } else { Exit::Good })
}

struct Printer<'p> {
    arguments: &'p Arguments,
    out: &'p mut dyn Write,
    bar: &'p ProgressBar,
    counts: BTreeMap<Code, u64>,
    repairs: Vec<Finding>,
    /// What became of writing.
    told: Result<(), Failure>,
}

impl Printer<'_> {
    fn found(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.code).or_default();
        *count += 1;
        if self.told.is_ok() && (self.arguments.json || *count <= self.arguments.most) {
            self.told = self.bar.suspend(|| {
                if self.arguments.json {
                    writeln!(self.out, "{}", finding.json())?;
                } else {
                    let Finding { code, file, message, .. } = &finding;
                    let file = one_line(file);
                    writeln!(self.out, "{code}: {file}\n  {message}\n  {}", finding.remedy())?;
                }
                Ok(self.out.flush()?)
            });
        }
        if self.arguments.repair && finding.repair.is_some() {
            self.repairs.push(finding);
        }
    }

    fn summary(&self, audited: Audited) -> String {
        let Audited { directories, files, bytes_read, findings } = audited;
        let read = if self.arguments.read { format!(", {} read", human::size(bytes_read)) } else { String::new() };
        let all = format!("{files} files in {directories} directories compared{read}");
        if findings == 0 {
            return format!("{all}: disk, ledger and Rucio agree");
        }
        let counts: Vec<String> = self.counts.iter().map(|(code, count)| format!("{code} {count}")).collect();
        let most = self.arguments.most;
        let cut = if self.counts.values().any(|count| *count > most) {
            format!("\nlisted are {most} of each kind at most; all of them: --json, or --most NUMBER")
        } else {
            String::new()
        };
        format!("{all}: {findings} findings ({}){cut}", counts.join(", "))
    }

    /// The plan, or what became of it. Returns how many findings are mended.
    async fn repair(&mut self, sources: &Sources, options: Options) -> Result<u64, Failure> {
        if !self.arguments.repair {
            return Ok(0);
        }
        let (mut done, mut failed) = (0, 0);
        for finding in &self.repairs {
            let Some(repair) = finding.repair else { continue };
            let outcome =
                if self.arguments.yes { Some(reconcile::repair(sources, options, finding).await) } else { None };
            let word = match &outcome {
                None => "planned".to_owned(),
                Some(Ok(Repaired::Done)) => "done".to_owned(),
                Some(Ok(Repaired::Not(why))) => format!("left alone: {why}"),
                Some(Err(error)) => format!("failed: {error}"),
            };
            done += u64::from(matches!(outcome, Some(Ok(Repaired::Done))));
            failed = if matches!(outcome, Some(Err(_))) { failed + 1 } else { 0 };
            if self.arguments.json {
                let line = json!({ "repair": repair, "file": finding.file, "code": finding.code, "outcome": word });
                writeln!(self.out, "{line}")?;
            } else {
                writeln!(self.out, "{}: {repair}: {word}", one_line(&finding.file))?;
            }
            // one that fails keeps no other waiting, but what is wrong with all is
            if let Some(Err(error)) = outcome
                && failed == FAILED
            {
                return Err(error.into());
            }
        }
        if self.repairs.is_empty() && !self.arguments.json {
            writeln!(self.out, "nothing can be mended without a decision")?;
        } else if !self.arguments.yes && !self.arguments.json {
            writeln!(self.out, "nothing was changed; add --yes to do this")?;
        }
        Ok(done)
    }
}
