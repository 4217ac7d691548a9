//! What `audit` and `rebuild` share: disk, Rucio and the ledger as sources, and a bar over directories.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use super::exit::Failure;
use crate::config::Config;
use crate::daemon;
use crate::datadir::DataDir;
use crate::ledger::Ledger;
use crate::reconcile::{self, Sources};
use crate::telemetry::Metrics;

/// Everything but the ledger, with a login at Rucio that has worked.
pub(super) async fn sources(config: Config) -> Result<Sources, Failure> {
    let data = DataDir::new(&config.data_path, &config.vo);
    let (rucio, _) = daemon::clients(&config, &Arc::new(Metrics::new())).map_err(|error| match error {
        daemon::Error::Password(error) => Failure::usage(error),
        other => Failure::environment(other),
    })?;
    rucio.authenticate().await.map_err(Failure::environment)?;
    Ok(Sources { config: Arc::new(config), ledger: None, data, rucio })
}

/// The same with a ledger.
pub(super) fn with(sources: Sources, ledger: &Ledger) -> Sources {
    Sources { ledger: Some(ledger.clone()), ..sources }
}

impl From<reconcile::Error> for Failure {
    fn from(error: reconcile::Error) -> Self {
        Self::environment(error)
    }
}

/// A bar over all directories, if somebody watches.
pub(super) fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{bar:30} {pos} of {len} directories, {eta} left; {msg}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}
