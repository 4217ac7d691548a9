//! The command line: one file per subcommand.
//!
//! Commands that read write to a given output, so that a closed pipe ends them quietly and tests see what they say.

mod audit;
mod breaker;
mod check_config;
mod daemon_says;
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
mod suggesting;
mod table;
mod take_over;
mod verify;
mod why;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Config;
#[cfg(feature = "cfitsio-system")]
use crate::crosscheck;
use crate::printable::Printable;
use exit::{Exit, Failure};
use suggesting::Suggesting;

/// From ACADA's trigger to a freed buffer: verifies, registers, replicates and, once two off-site copies are proven,
/// releases the files of the interface directory.
#[derive(Debug, Parser)]
#[command(name = "dl0-ingest", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    /// Before the command, for those that have a configuration
    #[arg(long, short, value_name = "FILE", hide = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// A command that works with a configuration.
#[derive(Debug, Args)]
struct With<A: Args> {
    /// Configuration file
    #[arg(long, short, global = true, value_name = "FILE", default_value = Config::DEFAULT_PATH)]
    config: PathBuf,
    #[command(flatten)]
    arguments: A,
}

const AFTER_HELP: &str = "\
Exit codes: 0 good, 1 found something bad, 2 wrong usage or configuration, 3 environment (Rucio, disk).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon until SIGTERM or SIGINT; SIGHUP reads the configuration again
    Run(With<run::Arguments>),
    /// Check the configuration and say what is wrong with it
    CheckConfig(With<check_config::Arguments>),
    /// Show how many files stand where
    Status(With<status::Arguments>),
    /// List files in custody
    List(With<list::Arguments>),
    /// Show everything known about one file
    Show(With<ledger::OneFile>),
    /// Say in words what a file waits for
    Why(With<ledger::OneFile>),
    /// Put held files back on their road, everything to be proven anew; make waiting ones due at once
    Retry(With<retry::Arguments>),
    /// Keep the on-site copies of files, of a dataset, or all
    Hold(With<hold::Arguments>),
    /// Let held on-site copies go again once they are proven
    ReleaseHold(With<hold::Arguments>),
    /// Show or reset the breaker that a contradiction opens and that stops all releases
    Breaker(With<breaker::Arguments>),
    /// Compare disk, ledger and Rucio; prove what was done
    Audit(With<audit::Arguments>),
    /// Restore custody from Rucio and the disk when the ledger is lost
    Rebuild(With<rebuild::Arguments>),
    /// Answer for the rules of another ledger that is gone for good
    TakeOver(With<take_over::Arguments>),
    /// Read files as the daemon would and say whether they are sound
    Verify(verify::Arguments),
    /// Let CFITSIO read the file that is the standard input; `verify --cross-check` asks it in a process of its own
    #[cfg(feature = "cfitsio-system")]
    #[command(hide = true, name = crosscheck::apart::SUBCOMMAND)]
    SecondOpinion,
    /// Play the whole road with a miniature Rucio and a few files; needs nothing else
    Demo(demo::Arguments),
}

impl Command {
    /// Its configuration file; `None`: it has none.
    fn config(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Run(with) => Some(&mut with.config),
            Self::CheckConfig(with) => Some(&mut with.config),
            Self::Status(with) => Some(&mut with.config),
            Self::List(with) => Some(&mut with.config),
            Self::Show(with) | Self::Why(with) => Some(&mut with.config),
            Self::Retry(with) => Some(&mut with.config),
            Self::Hold(with) | Self::ReleaseHold(with) => Some(&mut with.config),
            Self::Breaker(with) => Some(&mut with.config),
            Self::Audit(with) => Some(&mut with.config),
            Self::Rebuild(with) => Some(&mut with.config),
            Self::TakeOver(with) => Some(&mut with.config),
            #[cfg(feature = "cfitsio-system")]
            Self::SecondOpinion => None,
            Self::Verify(_) | Self::Demo(_) => None,
        }
    }

    fn run(&self, out: &mut dyn Write) -> Result<Exit, Failure> {
        match self {
            Self::Run(With { arguments, config }) => run::run(arguments, config),
            Self::CheckConfig(With { arguments, config }) => check_config::run(arguments, config, out),
            Self::Status(With { arguments, config }) => status::run(arguments, config, out),
            Self::List(With { arguments, config }) => list::run(arguments, config, out),
            Self::Show(With { arguments, config }) => show::run(arguments, config, out),
            Self::Why(With { arguments, config }) => why::run(arguments, config, out),
            Self::Retry(With { arguments, config }) => retry::run(arguments, config, out),
            Self::Hold(With { arguments, config }) => hold::place(arguments, config, out),
            Self::ReleaseHold(With { arguments, config }) => hold::lift(arguments, config, out),
            Self::Breaker(With { arguments, config }) => breaker::run(arguments, config, out),
            Self::Audit(With { arguments, config }) => audit::run(arguments, config, out),
            Self::Rebuild(With { arguments, config }) => rebuild::run(arguments, config, out),
            Self::TakeOver(With { arguments, config }) => take_over::run(arguments, config, out),
            Self::Verify(arguments) => verify::run(arguments, out),
            #[cfg(feature = "cfitsio-system")]
            Self::SecondOpinion => crosscheck::apart::answer().map(|()| Exit::Good).map_err(Failure::from),
            Self::Demo(arguments) => demo::run(arguments, out),
        }
    }
}

/// Parses the command line, does what it says, and turns the result into an exit code.
pub fn main() -> ExitCode {
    let Cli { config, mut command } = Cli::parse();
    match (config, command.config()) {
        (None, _) => {}
        (Some(given), Some(its)) => *its = given,
        (Some(_), None) => {
            return Failure::usage("--config means nothing to this command, which needs no configuration")
                .tell()
                .into();
        }
    }
    let config = command.config().filter(|config| *config != Path::new(Config::DEFAULT_PATH)).cloned();
    let out = &mut Suggesting::new(Printable(BufWriter::new(io::stdout())), config.as_deref());
    let result = command.run(out);
    let result = result.and_then(|exit| out.flush().map(|()| exit).map_err(Failure::from));
    result.unwrap_or_else(Failure::tell).into()
}
