//! `list`: the files in custody, one a line.

use std::io::Write;
use std::path::Path;

use clap::Args;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::exit::{Exit, Failure};
use super::ledger::{age, read};
use crate::custody::State;
use crate::ledger::{FileRow, Filter, now};
use crate::telemetry::human;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only files in this state
    #[arg(long, value_parser = state_parser())]
    state: Option<State>,
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
    let filter = Filter { state: arguments.state, limit: arguments.limit };
    let rows = read(config, |reader| async move { Ok(reader.ledger.list(&filter).await?) })?;
    if arguments.json {
        for row in &rows {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
        }
    } else if !rows.is_empty() {
        writeln!(out, "{}", table(&rows).trim_fmt())?;
    }
    Ok(Exit::Good)
}

fn table(rows: &[FileRow]) -> Table {
    let now = now();
    let mut table = Table::new();
    // never wrapped: a line is a file, for grep and for the eye
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["STATE", "FOR", "SIZE", "FILE"]);
    for row in rows {
        table.add_row([row.state.to_string(), age(now, row.state_since), human::size(row.bytes), row.lfn.clone()]);
    }
    for column in 1..=2 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
