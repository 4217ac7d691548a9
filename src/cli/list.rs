//! `list`: the files in custody, one a line.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::exit::{Exit, Failure};
use super::ledger::{age, read};
use crate::config::parse_duration;
use crate::custody::{State, in_millis};
use crate::ledger::{FileRow, Filter, now};
use crate::telemetry::human;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only files in this state
    #[arg(long, value_parser = state_parser())]
    state: Option<State>,
    /// Only files whose on-site copies an operator holds (see hold)
    #[arg(long)]
    held_by_operator: bool,
    /// Only files of this dataset
    #[arg(long, value_name = "DATASET")]
    dataset: Option<String>,
    /// Only files that are rejected or held for this reason, such as truncated
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Only files that have been in their state for at least so long, such as 2h
    #[arg(long, value_name = "TIME", value_parser = time_parser)]
    older: Option<Duration>,
    /// At most this many, oldest delivery first
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// One JSON object per line instead of a table
    #[arg(long)]
    json: bool,
}

fn state_parser() -> impl TypedValueParser<Value = State> {
    let known = PossibleValuesParser::new(State::ALL.map(State::as_str));
    known.try_map(|name| State::parse(&name).ok_or("no such state"))
}

fn time_parser(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a number with a unit (s, min, h, d), such as 2h".to_owned())
}

/// Files that are read at a time: a ledger of years has millions.
const PAGE: i64 = 1000;

pub(super) fn run(arguments: &Arguments, config: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    let filter = Filter {
        state: arguments.state,
        held_by_operator: arguments.held_by_operator,
        dataset: arguments.dataset.clone(),
        reason: arguments.reason.clone(),
        since: arguments.older.map(|older| now() - in_millis(older)),
    };
    read(config, |reader| async move {
        let (mut left, mut last) = (arguments.limit.map_or(i64::MAX, i64::from), None);
        while left > 0 {
            let rows = reader.ledger.list(&filter, last.unwrap_or(0), left.min(PAGE)).await?;
            let Some(end) = rows.last() else { break };
            tell(&rows, last.is_none(), arguments.json, out)?;
            left = left.saturating_sub(i64::try_from(rows.len()).unwrap_or(i64::MAX));
            last = Some(end.id);
        }
        if last.is_none() && !arguments.json {
            writeln!(out, "no such file")?;
        }
        Ok(Exit::Good)
    })
}

fn tell(rows: &[FileRow], first: bool, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if json {
        for row in rows {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
        }
        return Ok(());
    }
    if first {
        writeln!(out, "{:<10}  {:>7}  {:>9}  {:<18}  FILE", "STATE", "FOR", "SIZE", "REASON")?;
    }
    let now = now();
    for row in rows {
        let stays = matches!(row.state, State::Rejected | State::Held);
        let reason = row.reason_code.as_deref().filter(|_| stays).unwrap_or("-");
        let (age, size) = (age(now, row.state_since), human::size(row.bytes));
        writeln!(out, "{:<10}  {age:>7}  {size:>9}  {reason:<18}  {}", row.state, row.lfn)?;
    }
    Ok(())
}
