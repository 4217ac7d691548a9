//! `list`: the files in custody, one a line.

use std::io::Write;
use std::path::Path;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::exit::{Exit, Failure};
use super::ledger::{age, read};
use super::table::table;
use crate::custody::State;
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

pub(super) fn run(arguments: &Arguments, config: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    let filter =
        Filter { state: arguments.state, held_by_operator: arguments.held_by_operator, limit: arguments.limit };
    let rows = read(config, |reader| async move { Ok(reader.ledger.list(&filter).await?) })?;
    if arguments.json {
        for row in &rows {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
        }
    } else if !rows.is_empty() {
        writeln!(out, "{}", told(&rows))?;
    }
    Ok(Exit::Good)
}

fn told(rows: &[FileRow]) -> String {
    let now = now();
    let cells = rows
        .iter()
        .map(|row| [row.state.to_string(), age(now, row.state_since), human::size(row.bytes), row.lfn.clone()]);
    table(["STATE", "FOR", "SIZE", "FILE"], &[1, 2], cells)
}
