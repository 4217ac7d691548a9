//! The judge: gives new files their locks, removes ended rules, tries stuck ones again.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::faults::Daemon;
use crate::shared::{RESTS, Shared};

/// Works until stopped.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut took = Duration::ZERO;
    loop {
        let due = shared.catalog().next_judgement(shared.pace.repair);
        let wait = due.map(|at| at.duration_since(SystemTime::now()).unwrap_or_default());
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.judge.notified() => {}
            () = async { match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            } } => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.turn(Daemon::Judge, shared.pace.judge.max(took * RESTS)) => {}
        }
        let begun = Instant::now();
        work(&shared);
        took = begun.elapsed();
    }
}

/// One round over everything.
fn work(shared: &Shared) {
    let mut catalog = shared.catalog();
    let now = SystemTime::now();
    catalog.evaluate(now);
    catalog.clean(now);
    catalog.repair(shared.pace.repair, now);
    shared.journal.write(catalog.take_events());
    if catalog.queued_transfers() > 0 {
        shared.conveyor.notify_one();
    }
    drop(catalog);
    shared.reaper.notify_one();
}
