//! `audit`: whether disk, ledger and Rucio agree, and whether the record of what was done is whole.

mod reconcile;
mod verify_log;

use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand};

use super::exit::{Exit, Failure};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    reconcile: reconcile::Arguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prove that the record of irreversible effects is whole
    ///
    /// Without FILE: the log in the state directory, held against the ledger as well. With FILE: these files alone, oldest
    /// first; no configuration is needed.
    VerifyLog(verify_log::Arguments),
}

pub(super) fn run(arguments: &Arguments, config: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    match &arguments.command {
        Some(Command::VerifyLog(arguments)) => verify_log::run(arguments, config, out),
        None => reconcile::run(&arguments.reconcile, config, out),
    }
}
