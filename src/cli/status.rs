//! `status`: how many files stand where.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use clap::Args;
use serde_json::json;

use super::breaker;
use super::daemon_says::{self, Said};
use super::exit::{Exit, Failure};
use super::ledger::{Reader, age, iso, moment, read, size};
use super::table::table;
use crate::config::Deletion;
use crate::custody::State;
use crate::custody::brakes::{Hold, Trip};
use crate::kill_switch;
use crate::ledger::{StateSummary, WrongTrigger, now};
use crate::names::Did;
use crate::printable::one_line;
use crate::telemetry::human;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Told in full of each kind; a broken producer can leave thousands of triggers.
const MOST_TOLD: usize = 10;

pub(super) fn run(arguments: &Arguments, config: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    let (reader, summary, triggers, stops, unsettled, daemon) = read(config, |reader| async {
        let summary = reader.ledger.summary().await?;
        let triggers = reader.ledger.wrong_triggers().await?;
        let stops = Stops {
            kill_switch: kill_switch::reason(&reader.config.kill_switch_path()),
            breaker: reader.ledger.breaker().await?,
            holds: reader.ledger.holds().await?,
        };
        let unsettled = reader.ledger.unsettled_datasets().await?;
        let daemon = Daemon::ask(&reader).await?;
        Ok((reader, summary, triggers, stops, unsettled, daemon))
    })?;
    if arguments.json {
        writeln!(out, "{}", report(&reader, &summary, &triggers, &stops, &unsettled, &daemon))?;
    } else {
        tell(&reader, &summary, &stops, &daemon, out)?;
        tell_triggers(&triggers, out)?;
        tell_unsettled(&unsettled, out)?;
    }
    Ok(Exit::Good)
}

/// What stops releases.
struct Stops {
    kill_switch: Option<String>,
    breaker: Option<Trip>,
    holds: Vec<Hold>,
}

/// Whether a daemon works with this ledger, and what it says of itself.
struct Daemon {
    /// The id of this ledger.
    ledger: String,
    runs: Option<bool>,
    says: Said,
}

impl Daemon {
    async fn ask(reader: &Reader) -> Result<Self, Failure> {
        let ledger = reader.ledger.id().await?;
        let runs = daemon_runs(reader.ledger.path());
        // whoever else may listen there is none of ours
        let says = if runs == Some(false) { Said::NotAsked } else { daemon_says::ask(&reader.config).await };
        Ok(Self { ledger, runs, says })
    }

    fn report(&self) -> serde_json::Value {
        match &self.says {
            Said::Status(status) => json!(status),
            Said::NotAsked => serde_json::Value::Null,
            Said::Silent(why) => json!({ "silent": why }),
        }
    }

    fn tell(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let runs = match self.runs {
            Some(true) => "running",
            Some(false) => "not running",
            None => "unknown whether it runs",
        };
        match &self.says {
            Said::NotAsked if self.runs == Some(false) => writeln!(out, "daemon    {runs}")?,
            Said::NotAsked => writeln!(out, "daemon    {runs}; how it stands is not known: http.listen is null")?,
            Said::Status(status) if status.ledger != self.ledger => {
                writeln!(
                    out,
                    "daemon    {runs}; at http.listen another one answers, with the ledger {}",
                    status.ledger
                )?;
            }
            Said::Silent(why) => writeln!(out, "daemon    {runs}, and does not say how it stands: {why}")?,
            Said::Status(status) => {
                let ready = if status.ready { "ready" } else { "NOT READY, files wait:" };
                writeln!(out, "daemon    {runs}, {ready}")?;
                for trouble in &status.troubles {
                    writeln!(out, "          {}: {}", trouble.about, trouble.reason)?;
                }
                writeln!(out, "Rucio     {}", status.rucio)?;
                for (n, notice) in status.notices.iter().enumerate() {
                    let title = if n == 0 { "notice" } else { "" };
                    writeln!(out, "{title:<10}{}: {}", notice.about, notice.reason)?;
                }
            }
        }
        Ok(())
    }
}

fn report(
    reader: &Reader,
    summary: &[StateSummary],
    triggers: &[WrongTrigger],
    stops: &Stops,
    unsettled: &[(Did, String)],
    daemon: &Daemon,
) -> serde_json::Value {
    let unsettled = unsettled.iter().map(|(dataset, why)| json!({ "dataset": dataset.to_string(), "reason": why }));
    let hold =
        |hold: &Hold| json!({ "target": hold.target, "since": iso(hold.since), "by": hold.by, "reason": hold.reason });
    let states: BTreeMap<&str, _> = summary
        .iter()
        .map(|row| {
            let row_report = json!({ "files": row.files, "bytes": row.bytes, "oldest": iso(row.oldest) });
            (row.state.as_str(), row_report)
        })
        .collect();
    json!({
        "ledger": reader.ledger.path().display().to_string(),
        "ledger_id": daemon.ledger,
        "daemon_running": daemon.runs,
        "daemon": daemon.report(),
        "deletion": reader.config.release.deletion.as_str(),
        "kill_switch": stops.kill_switch,
        "breaker": breaker::report(stops.breaker.as_ref()),
        "holds": stops.holds.iter().map(hold).collect::<Vec<_>>(),
        "states": states,
        "wrong_triggers": triggers,
        "unsettled_datasets": unsettled.collect::<Vec<_>>(),
    })
}

fn tell(
    reader: &Reader,
    summary: &[StateSummary],
    stops: &Stops,
    daemon: &Daemon,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let now = now();
    let mut rows = Vec::new();
    for state in State::ALL {
        let row = summary.iter().find(|row| row.state == state);
        let cells = row.map_or_else(
            || [state.to_string(), "0".to_owned(), "-".to_owned(), "-".to_owned()],
            |row| [state.to_string(), row.files.to_string(), size(row.bytes), age(now, row.oldest)],
        );
        rows.push(cells);
    }
    writeln!(out, "{}\n", table(["STATE", "FILES", "SIZE", "OLDEST FOR"], &[1, 2, 3], rows))?;
    daemon.tell(out)?;
    writeln!(out, "ledger    {}", daemon.ledger)?;
    let deletion = match reader.config.release.deletion {
        Deletion::Off => "off, files stay confirmed",
        Deletion::DryRun => "dry-run, the log says what would be deleted",
        Deletion::On => "on",
    };
    writeln!(out, "deletion  {deletion}")?;
    if let Some(reason) = &stops.kill_switch {
        writeln!(out, "stopped   by the kill switch {}: {reason}", reader.config.kill_switch_path().display())?;
    }
    if let Some(trip) = &stops.breaker {
        writeln!(
            out,
            "stopped   by the release breaker since {}, see dl0-ingest breaker: {}",
            moment(trip.at),
            trip.reason
        )?;
    }
    for hold in stops.holds.iter().take(MOST_TOLD) {
        writeln!(out, "held      {} by {} since {}: {}", hold.target, hold.by, moment(hold.since), hold.reason)?;
    }
    more(stops.holds.len(), out)
}

fn tell_triggers(triggers: &[WrongTrigger], out: &mut dyn Write) -> Result<(), Failure> {
    if triggers.is_empty() {
        return Ok(());
    }
    let now = now();
    writeln!(out, "\n{} that cannot be taken:", human::count(triggers.len() as u64, "trigger"))?;
    for trigger in triggers.iter().take(MOST_TOLD) {
        writeln!(out, "  {} (for {}): {}", one_line(&trigger.path), age(now, trigger.since), trigger.message)?;
    }
    more(triggers.len(), out)
}

/// Datasets whose rules are not those of a settled one, and why.
fn tell_unsettled(unsettled: &[(Did, String)], out: &mut dyn Write) -> Result<(), Failure> {
    if unsettled.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n{} not settled, or with copies that no rule holds:",
        human::count(unsettled.len() as u64, "dataset")
    )?;
    for (dataset, why) in unsettled.iter().take(MOST_TOLD) {
        writeln!(out, "  {dataset}: {why}")?;
    }
    more(unsettled.len(), out)
}

fn more(of: usize, out: &mut dyn Write) -> Result<(), Failure> {
    if of > MOST_TOLD {
        writeln!(out, "  and {} more, see --json", of - MOST_TOLD)?;
    }
    Ok(())
}

/// Whether a daemon holds the ledger's lock. Asks the kernel's list of locks: to try the lock would get in the way of a
/// daemon that starts at this moment.
fn daemon_runs(ledger: &Path) -> Option<bool> {
    let stat = rustix::fs::stat(ledger.with_extension("lock")).ok()?;
    let device = format!("{:02x}:{:02x}", rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
    let file = format!("{device}:{}", stat.st_ino);
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    Some(locks.lines().any(|line| line.contains(" FLOCK ") && line.split_whitespace().any(|word| word == file)))
}
