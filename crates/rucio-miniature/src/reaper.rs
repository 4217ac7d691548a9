//! The reaper: deletes the files of replicas that no rule holds, then their rows.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::faults::Daemon;
use crate::journal::Event;
use crate::shared::{RESTS, Shared};

/// Works until stopped.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut faults = shared.faults.watch_changes();
    let mut took = Duration::ZERO;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.reaper.notified() => {}
            _ = faults.changed() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.turn(Daemon::Reaper, shared.pace.reaper.max(took * RESTS)) => {}
        }
        delete(&shared).await;
        let begun = Instant::now();
        if condemn(&shared) > 0 {
            shared.reaper.notify_one();
        }
        took = begun.elapsed();
    }
}

/// Marks what may go, and leaves it marked for one round so that others can see it.
fn condemn(shared: &Shared) -> usize {
    shared.catalog().condemn(std::time::SystemTime::now())
}

/// Deletes what was marked in an earlier round. A storage that is away keeps its files for later.
async fn delete(shared: &Shared) {
    let condemned = shared.catalog().condemned();
    for (did, rse) in condemned {
        if shared.faults.outage(&rse).is_some() {
            continue;
        }
        let Some(path) = shared.path(&did, &rse) else { continue };
        if !shared.faults.leaves(&did) {
            match tokio::fs::remove_file(&path).await {
                Ok(()) => shared.journal.write([Event::FileDeleted { did: did.clone(), rse: rse.clone() }]),
                // as Rucio: what is not there counts as deleted
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "the reaper of the miniature Rucio cannot delete a file");
                    continue;
                }
            }
        }
        let mut catalog = shared.catalog();
        catalog.remove_replica(&did, &rse);
        shared.journal.write(catalog.take_events());
    }
}
