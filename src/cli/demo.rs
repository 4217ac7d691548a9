//! `demo`: the whole road in one process. A miniature Rucio with two data centres, the real daemon on top, a few small
//! real files, one of them damaged.

mod delivery;
mod outcome;
mod progress;
mod scene;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::delivery::{Delivery, deliveries};
use self::outcome::{Outcome, tell, where_next};
use self::progress::Progress;
use self::scene::Scene;
use super::exit::{Exit, Failure};
use crate::config::Config;
use crate::custody::State;
use crate::daemon;
use crate::ledger::{FileRow, Filter, Ledger};
use crate::telemetry::logs;
use rucio_miniature::Miniature;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to play it, a new or empty directory [default: a new one among the temporary files]
    directory: Option<PathBuf>,
    /// Remove the new directory at the end instead of leaving it to look around in
    #[arg(long, conflicts_with = "directory")]
    remove: bool,
}

/// Between two deliveries.
const RHYTHM: Duration = Duration::from_millis(300);
/// Between two looks at the ledger.
const LOOK: Duration = Duration::from_millis(100);
/// A file that has not ended by then will not.
const PATIENCE: Duration = Duration::from_mins(2);

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Exit, Failure> {
    let place = Place::find(arguments).map_err(|error| {
        let named = arguments.directory.as_deref().unwrap_or(Path::new("a scratch directory"));
        Failure::environment(format!("cannot play the demo in {}: {error}", named.display()))
    })?;
    let scene = &place.scene;
    logs::init_file(&scene.log(), "info").map_err(Failure::environment)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::environment)?;
    let played = runtime.block_on(play(scene, place.stays, out));
    runtime.shutdown_timeout(Duration::from_secs(1));
    let exit = played?;
    if !place.stays {
        writeln!(out, "\nThe scratch directory is removed.")?;
    }
    Ok(exit)
}

/// Where the demo is played, and whether it stays.
struct Place {
    scene: Scene,
    stays: bool,
    /// Removes the directory when dropped.
    _scratch: Option<Scratch>,
}

impl Place {
    fn find(arguments: &Arguments) -> std::io::Result<Self> {
        if let Some(directory) = &arguments.directory {
            return Ok(Self { scene: Scene::set(directory)?, stays: true, _scratch: None });
        }
        let name = format!("dl0-ingest-demo-{}", uuid::Uuid::new_v4().simple());
        let directory = std::env::temp_dir().join(name);
        let scene = Scene::set(&directory)?;
        let scratch = arguments.remove.then(|| Scratch(scene.directory.clone()));
        Ok(Self { scene, stays: !arguments.remove, _scratch: scratch })
    }
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // what cannot be removed from a scratch directory is left to whoever cleans it
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn play(scene: &Scene, stays: bool, out: &mut dyn Write) -> Result<Exit, Failure> {
    let embedded = Miniature::start(scene.embedded()).await.map_err(Failure::environment)?;
    scene.write_config(embedded.url()).map_err(Failure::environment)?;
    let config = Config::load(&scene.config()).map_err(Failure::usage)?.config;
    let ledger_path = config.ledger_path();
    let deliveries = deliveries().map_err(Failure::environment)?;
    let count = deliveries.len();
    writeln!(
        out,
        "A miniature Rucio, two data centres and the daemon; {count} files of ACADA's mock, one of them damaged.\n"
    )?;
    out.flush()?;

    let stop = CancellationToken::new();
    let mut daemon = tokio::spawn(daemon::run(config, None, stop.clone()));
    let mut progress = Progress::begin();
    let watched = watch(scene, &deliveries, &ledger_path, &mut daemon, &mut progress).await;
    progress.end();
    stop.cancel();
    if !daemon.is_finished() {
        // its own end is logged; what counts here is what became of the files
        let _ = daemon.await;
    }
    embedded.shutdown().await;

    let rows = watched?.into_iter().map(|row| (row.lfn.clone(), row)).collect();
    let outcomes: Vec<Outcome<'_>> = deliveries.iter().map(|delivery| Outcome::of(delivery, &rows, scene)).collect();
    tell(&outcomes, progress.elapsed(), out)?;
    if stays {
        let program = std::env::args().next().unwrap_or_else(|| "dl0-ingest".to_owned());
        where_next(&outcomes, scene, &ledger_path, &program, out)?;
    }
    Ok(if outcomes.iter().all(Outcome::as_it_should) { Exit::Good } else { Exit::Bad })
}

/// Delivers the files one after the other, looks at the ledger until each has come to an end, and returns the last look.
async fn watch(
    scene: &Scene,
    deliveries: &[Delivery],
    ledger: &Path,
    daemon: &mut JoinHandle<Result<(), daemon::Error>>,
    progress: &mut Progress,
) -> Result<Vec<FileRow>, Failure> {
    let mut pending = deliveries.iter();
    let mut next_delivery = tokio::time::interval(RHYTHM);
    let mut next_look = tokio::time::interval(LOOK);
    let mut reader: Option<Ledger> = None;
    loop {
        tokio::select! {
            _ = next_delivery.tick() => {
                if let Some(delivery) = pending.next() {
                    delivery.deliver(&scene.interface()).map_err(Failure::environment)?;
                    progress.delivered(delivery)?;
                }
            }
            _ = next_look.tick() => {
                let rows = rows_now(&mut reader, ledger).await?;
                progress.seen(&rows, deliveries)?;
                let ended = |row: &&FileRow| matches!(row.state, State::Released | State::Rejected | State::Held);
                if rows.iter().filter(ended).count() == deliveries.len() || progress.elapsed() > PATIENCE {
                    return Ok(rows);
                }
            }
            // it failed, or was asked to stop from the keyboard
            ended = &mut *daemon => {
                return match ended {
                    Ok(Ok(())) => rows_now(&mut reader, ledger).await,
                    Ok(Err(error)) => Err(Failure::environment(error)),
                    Err(panic) => Err(Failure::environment(panic)),
                };
            }
        }
    }
}

/// The rows of the ledger; none while the daemon has not made it.
async fn rows_now(reader: &mut Option<Ledger>, path: &Path) -> Result<Vec<FileRow>, Failure> {
    if reader.is_none() && path.exists() {
        // it may be there and not yet have its tables; the next look will tell
        *reader = Ledger::open_read_only(path).await.ok();
    }
    match reader {
        Some(ledger) => Ok(ledger.list(&Filter::default(), 0, i64::MAX).await.unwrap_or_default()),
        None => Ok(Vec::new()),
    }
}
