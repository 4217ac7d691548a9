//! `run`: the daemon, until it is asked to stop.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Failure};
use crate::config::{Config, Problem};
use crate::daemon::{self, Error, Reload};
use crate::telemetry::logs;

#[derive(Debug, Args)]
pub(super) struct Arguments {}

/// How long a thread that hangs on a disk may hold up the end of the process; the daemon has drained by then.
const LAST_THREADS: Duration = Duration::from_millis(500);

pub(super) fn run(_arguments: &Arguments, path: &Path) -> Result<Exit, Failure> {
    let loaded = Config::load(path).map_err(Failure::usage)?;
    let logs = logs::init(&loaded.config.log).map_err(Failure::environment)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %path.display(), "starting");
    warn(path, &loaded.warnings);
    let reload: Reload = {
        let path = path.to_owned();
        Box::new(move || {
            let loaded = Config::load(&path).map_err(|error| error.to_string())?;
            warn(&path, &loaded.warnings);
            logs.set_level(&loaded.config.log.level).map_err(|error| error.to_string())?;
            Ok(loaded.config)
        })
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::environment)?;
    let ended = runtime.block_on(daemon::run(loaded.config, Some(reload), CancellationToken::new()));
    runtime.shutdown_timeout(LAST_THREADS);
    Ok(match ended {
        Ok(()) => Exit::Good,
        Err(error) => {
            // into the log, where whoever looks for the reason looks first
            tracing::error!("{error}");
            exit_of(&error)
        }
    })
}

fn exit_of(error: &Error) -> Exit {
    match error {
        Error::Password(_) => Exit::Usage,
        _ => Exit::Environment,
    }
}

fn warn(path: &Path, warnings: &[Problem]) {
    for warning in warnings {
        tracing::warn!("{}:{warning}", path.display());
    }
}
