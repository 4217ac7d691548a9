//! `take-over`: this ledger answers for the rules of one that is gone for good.

use std::io::Write;
use std::path::Path;

use clap::Args;

use super::exit::{Exit, Failure};
use super::operator::{Reason, change};
use crate::ledger::UNSIGNED;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The other ledger's id, as the log and 'status' name it; 'unsigned' for rules that name none
    #[arg(value_name = "LEDGER", value_parser = ledger_id)]
    ledger: String,
    #[command(flatten)]
    reason: Reason,
}

fn ledger_id(text: &str) -> Result<String, String> {
    if text == UNSIGNED {
        return Ok(text.to_owned());
    }
    let id =
        uuid::Uuid::parse_str(text).map_err(|error| format!("{error}; write the id of a ledger, or '{UNSIGNED}'"))?;
    Ok(id.to_string())
}

pub(super) fn run(arguments: &Arguments, config: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    let operator = arguments.reason.signed();
    let new = change(config, |opened| async move { Ok(opened.ledger.take_over(&arguments.ledger, &operator).await?) })?;
    let answers = if new { "from now on this ledger answers" } else { "this ledger answered already" };
    writeln!(out, "{answers} for the rules of {}", arguments.ledger)?;
    Ok(Exit::Good)
}
