//! The daemon in the test's own process.

use dl0_ingest::config::Config;
use dl0_ingest::custody::State;
use dl0_ingest::daemon;
use dl0_ingest::ledger::FileRow;
use rucio_miniature::{Daemon as RucioDaemon, Event};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::fixture;
use super::site::Site;

/// A daemon that is a task of the test.
pub(crate) struct InProcess {
    stop: CancellationToken,
    task: Option<JoinHandle<Result<(), daemon::Error>>>,
}

impl Drop for InProcess {
    /// A test that fails must not wait for a daemon that nobody stops.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Site {
    /// A daemon in this process.
    pub(crate) fn start(&self) -> InProcess {
        InProcess::start(self.config())
    }

    /// A daemon without a limit of releases an hour.
    pub(crate) fn start_unlimited(&self) -> InProcess {
        InProcess::start(self.config_with(|text| text.replace("max_files_per_hour: 5", "max_files_per_hour: 5000")))
    }

    /// A daemon that reads the configuration again as it stands after SIGHUP.
    pub(crate) fn start_reloadable(&self) -> InProcess {
        let file = self.config_file();
        let reload = move || Config::load(&file).map(|loaded| loaded.config).map_err(|error| error.to_string());
        InProcess::start_with(self.config(), Some(Box::new(reload)))
    }
}

impl InProcess {
    /// A daemon with this configuration.
    pub(crate) fn start(config: Config) -> Self {
        Self::start_with(config, None)
    }

    fn start_with(config: Config, reload: Option<daemon::Reload>) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(daemon::run(config, reload, stop.clone()));
        Self { stop, task: Some(task) }
    }

    /// Stops it in good order.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        self.task.take().unwrap().await.unwrap().unwrap();
    }
}

/// A file whose first copy has come, and whose further one is ordered and does not come: Rucio's conveyor stands still. It
/// must be slow enough to be stopped between the two.
pub(crate) async fn with_first_copy_only(site: &Site, name: &str) -> (InProcess, FileRow) {
    with_first_copy_only_by(site.start(), site, name).await
}

/// The same with a daemon that is there already.
pub(crate) async fn with_first_copy_only_by(daemon: InProcess, site: &Site, name: &str) -> (InProcess, FileRow) {
    let lfn = site.deliver(name, &fixture("SUBARRAY"));
    let came = |event: &Event| matches!(event, Event::Available { did, rse } if did.name == lfn && rse != "STORAGE-1");
    site.rucio.until(|history| history.iter().any(|entry| came(&entry.event))).await;
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    let row = site.until_row(&lfn, |row| row.state == State::Replicated && row.waits_for.is_some()).await;
    (daemon, row)
}

/// A confirmed file, which a dry run would release; the daemon has ended.
pub(crate) async fn confirmed_in_a_dry_run(site: &Site, name: &str) -> FileRow {
    let daemon = site.start();
    let lfn = site.deliver(name, &fixture("SUBARRAY"));
    let dry_run = |row: &FileRow| {
        row.state == State::Confirmed && row.waits_for.as_deref().is_some_and(|why| why.contains("dry run"))
    };
    let row = site.until_row(&lfn, dry_run).await;
    daemon.stop().await;
    row
}
