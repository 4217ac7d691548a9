//! `rebuild`: custody restored from Rucio and the disk when the ledger is lost.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use clap::Args;
use serde_json::json;

use super::exit::{Exit, Failure};
use super::operator::who;
use super::sources::{bar, sources, with};
use crate::config::Config;
use crate::custody::State;
use crate::daemon::lock;
use crate::ledger::{Ledger, Operator};
use crate::printable::one_line;
use crate::reconcile::{Rebuilt, Sources, rebuild};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Write nothing, say what would be restored
    #[arg(long)]
    dry_run: bool,
    /// One JSON object per file and line instead of text
    #[arg(long)]
    json: bool,
}

const HOLD: &str = "the ledger was rebuilt: holds placed before, files that were held and an open breaker are lost with the \
                    old one; look for them in the log, place holds anew, then release-hold --all";

pub(super) fn run(arguments: &Arguments, config: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    let config = Config::load(config).map_err(Failure::usage)?.config;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::environment)?;
    runtime.block_on(async {
        let path = config.ledger_path();
        // before a ledger is made: without Rucio there is nothing to put into it
        let sources = sources(config).await?;
        if !arguments.dry_run {
            std::fs::create_dir_all(&sources.config.state_dir).map_err(|error| {
                Failure::environment(format!("cannot make {}: {error}", sources.config.state_dir.display()))
            })?;
        }
        // what is refused is refused in a dry run too
        let ledger = if arguments.dry_run && !path.exists() { None } else { Some(Ledger::open(&path).await?) };
        let empty = match &ledger {
            Some(ledger) => ledger.holds_only_restored().await?,
            None => true,
        };
        if !empty {
            return Err(crate::reconcile::Error::NotEmpty { path }.into());
        }
        // a daemon with another ledger may be at work on the very files that this one would take over
        let _lock = match &ledger {
            Some(ledger) => lock(&sources.data, &ledger.id().await?).map_err(Failure::environment)?,
            None => None,
        };
        let sources = match &ledger {
            Some(ledger) if !arguments.dry_run => with(sources, ledger),
            _ => sources,
        };
        let done = restore(arguments, &sources, out).await;
        if let Some(ledger) = ledger {
            ledger.close().await;
        }
        done
    })
}

async fn restore(arguments: &Arguments, sources: &Sources, out: &mut dyn Write) -> Result<Exit, Failure> {
    let operator = Operator { who: who(), reason: HOLD.to_owned() };
    let bar = bar();
    let (mut states, mut left) = (BTreeMap::<State, u64>::new(), 0);
    let mut told: Result<(), Failure> = Ok(());
    let mut tell = |line: &dyn Fn(&mut dyn Write) -> Result<(), Failure>| {
        if told.is_ok() {
            told = bar.suspend(|| line(out).and_then(|()| Ok(out.flush()?)));
        }
    };
    rebuild(sources, &operator, |step| match step {
        Rebuilt::Directories(all) => bar.set_length(all),
        Rebuilt::Directory => bar.inc(1),
        Rebuilt::Custody { lfn, state, reason } => {
            *states.entry(state).or_default() += 1;
            if arguments.json {
                tell(&|out| {
                    let line = json!({ "file": lfn, "outcome": state.as_str(), "reason": reason });
                    Ok(writeln!(out, "{line}")?)
                });
            } else if state == State::Held {
                let lfn = one_line(&lfn);
                tell(&|out| Ok(writeln!(out, "held: {lfn}\n  {}", reason.as_deref().unwrap_or_default())?));
            }
        }
        Rebuilt::Left { lfn, code, why } => {
            left += 1;
            tell(&|out| {
                if arguments.json {
                    let line = json!({ "file": lfn, "outcome": "left", "code": code, "reason": why });
                    return Ok(writeln!(out, "{line}")?);
                }
                Ok(writeln!(out, "left out ({code}): {}\n  {why}", one_line(&lfn))?)
            });
        }
    })
    .await?;
    bar.finish_and_clear();
    told?;
    if !arguments.json {
        summary(arguments, &states, left, out)?;
    }
    let troubled = left > 0 || states.contains_key(&State::Held);
    Ok(if troubled { Exit::Bad } else { Exit::Good })
}

fn summary(
    arguments: &Arguments,
    states: &BTreeMap<State, u64>,
    left: u64,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let all: u64 = states.values().sum();
    let counts: Vec<String> = states.iter().map(|(state, count)| format!("{state} {count}")).collect();
    let counts = if counts.is_empty() { String::new() } else { format!(" ({})", counts.join(", ")) };
    let would = if arguments.dry_run { "would be restored" } else { "restored" };
    writeln!(out, "{all} files {would}{counts}, {left} left out")?;
    if arguments.dry_run {
        writeln!(out, "nothing was written")?;
    } else {
        writeln!(out, "nothing is released before 'dl0-ingest release-hold --all --reason TEXT'")?;
    }
    Ok(())
}
