//! The command line: one file per subcommand.
//!
//! Commands that read write to a given output, so that a closed pipe ends them quietly and tests see what they say.

mod audit;
mod breaker;
mod check_config;
mod demo;
mod exit;
mod hold;
mod ledger;
mod list;
mod operator;
mod rebuild;
mod retry;
mod run;
mod show;
mod sources;
mod status;
mod table;
mod verify;
mod why;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;
#[cfg(feature = "cfitsio-system")]
use crate::crosscheck;
use crate::printable::Printable;
use exit::Failure;

/// From ACADA's trigger to a freed buffer: verifies, registers, replicates and, once two off-site copies are proven,
/// releases the files of the interface directory.
#[derive(Debug, Parser)]
#[command(name = "dl0-ingest", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    /// Configuration file
    #[arg(long, short, global = true, value_name = "FILE", default_value = Config::DEFAULT_PATH)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 good, 1 found something bad, 2 wrong usage or configuration, 3 environment (Rucio, disk).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon until SIGTERM or SIGINT; SIGHUP reads the configuration again
    Run(run::Arguments),
    /// Check the configuration and say what is wrong with it
    CheckConfig(check_config::Arguments),
    /// Show how many files stand where
    Status(status::Arguments),
    /// List files in custody
    List(list::Arguments),
    /// Show everything known about one file
    Show(ledger::OneFile),
    /// Say in words what a file waits for
    Why(ledger::OneFile),
    /// Put held files back on their road, everything to be proven anew; make waiting ones due at once
    Retry(retry::Arguments),
    /// Keep the on-site copies of files, of a dataset, or all
    Hold(hold::Arguments),
    /// Let held on-site copies go again once they are proven
    ReleaseHold(hold::Arguments),
    /// Show or reset the breaker that a contradiction opens and that stops all releases
    Breaker(breaker::Arguments),
    /// Compare disk, ledger and Rucio; prove what was done
    Audit(audit::Arguments),
    /// Restore custody from Rucio and the disk when the ledger is lost
    Rebuild(rebuild::Arguments),
    /// Read files as the daemon would and say whether they are sound
    Verify(verify::Arguments),
    /// Let CFITSIO read the file that is the standard input; `verify --cross-check` asks it in a process of its own
    #[cfg(feature = "cfitsio-system")]
    #[command(hide = true, name = crosscheck::apart::SUBCOMMAND)]
    SecondOpinion,
    /// Play the whole road with a miniature Rucio and a few files; needs nothing else
    Demo(demo::Arguments),
}

/// Parses the command line, does what it says, and turns the result into an exit code.
pub fn main() -> ExitCode {
    let Cli { config, command } = Cli::parse();
    let out = &mut Printable(BufWriter::new(io::stdout()));
    let result = match command {
        Command::Run(arguments) => run::run(&arguments, &config),
        Command::CheckConfig(arguments) => check_config::run(&arguments, &config, out),
        Command::Status(arguments) => status::run(&arguments, &config, out),
        Command::List(arguments) => list::run(&arguments, &config, out),
        Command::Show(arguments) => show::run(&arguments, &config, out),
        Command::Why(arguments) => why::run(&arguments, &config, out),
        Command::Retry(arguments) => retry::run(&arguments, &config, out),
        Command::Hold(arguments) => hold::place(&arguments, &config, out),
        Command::ReleaseHold(arguments) => hold::lift(&arguments, &config, out),
        Command::Breaker(arguments) => breaker::run(&arguments, &config, out),
        Command::Audit(arguments) => audit::run(&arguments, &config, out),
        Command::Rebuild(arguments) => rebuild::run(&arguments, &config, out),
        Command::Verify(arguments) => verify::run(&arguments, out),
        #[cfg(feature = "cfitsio-system")]
        Command::SecondOpinion => crosscheck::apart::answer().map(|()| exit::Exit::Good).map_err(Failure::from),
        Command::Demo(arguments) => demo::run(&arguments, out),
    };
    let result = result.and_then(|exit| out.flush().map(|()| exit).map_err(Failure::from));
    result.unwrap_or_else(Failure::tell).into()
}
