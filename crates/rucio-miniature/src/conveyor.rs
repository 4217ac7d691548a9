//! The conveyor: copies bytes from one RSE's directory to another's, and believes only what it has read back.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::catalog::transfers::Order;
use crate::digests::{Algorithm, hex};
use crate::faults::Daemon;
use crate::shared::Shared;

/// Transfers under way at once.
const SIDE_BY_SIDE: usize = 16;

/// Works until stopped; copies under way are finished first.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.conveyor.notified() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.turn(Daemon::Conveyor, shared.pace.conveyor) => {}
        }
        // what fails goes to the end of the queue and waits for the next round
        let mut left = shared.catalog().queued_transfers();
        while left > 0 && !stop.is_cancelled() {
            let orders = shared.catalog().take_transfers(left.min(SIDE_BY_SIDE));
            left -= left.min(SIDE_BY_SIDE);
            carry_out(&shared, orders).await;
        }
        if shared.catalog().queued_transfers() > 0 {
            shared.conveyor.notify_one();
        }
    }
}

/// Makes some copies side by side and waits for all of them.
async fn carry_out(shared: &Arc<Shared>, orders: Vec<Order>) {
    let mut copies = JoinSet::new();
    for order in orders {
        let shared = Arc::clone(shared);
        copies.spawn_blocking(move || {
            let outcome = transfer(&shared, &order);
            shared.change(|catalog, now| catalog.end_transfer(&order, outcome, now));
        });
    }
    while copies.join_next().await.is_some() {}
}

/// One transfer from the first source that is up. The error is what the rule will show.
fn transfer(shared: &Shared, order: &Order) -> Result<(), String> {
    let Order { transfer, sources, .. } = order;
    if shared.faults.transfer_fails() {
        return Err("TRANSFER [5] injected failure".to_owned());
    }
    if shared.faults.outage(&transfer.rse).is_some() {
        return Err(format!("DESTINATION [111] {} does not answer", transfer.rse));
    }
    let Some(source) = sources.iter().find(|rse| shared.faults.outage(rse).is_none()) else {
        return Err("SOURCE [111] no source answers".to_owned());
    };
    let paths = shared.path(&transfer.did, source).zip(shared.path(&transfer.did, &transfer.rse));
    let Some((from, to)) = paths else { return Err("no such RSE".to_owned()) };
    if let Err(why) = copy(shared, order, &from, &to) {
        // what is left of a failed copy would be taken for a file; what was there before is none
        if !is_one_file(&from, &to) {
            let _ = fs::remove_file(&to);
        }
        return Err(why);
    }
    Ok(())
}

fn copy(shared: &Shared, order: &Order, from: &Path, to: &Path) -> Result<(), String> {
    let failed = |side: &str| {
        let side = side.to_owned();
        move |error: io::Error| format!("{side} [{}] {error}", error.raw_os_error().unwrap_or(5))
    };
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(failed("DESTINATION"))?;
    }
    // two doors of one storage: what is to be written lies there already, as FTS says then
    let bytes = if is_one_file(from, to) {
        fs::metadata(to).map_err(failed("DESTINATION"))?.len()
    } else {
        let mut source = File::open(from).map_err(failed("SOURCE"))?;
        let mut destination = File::create(to).map_err(failed("DESTINATION"))?;
        io::copy(&mut source, &mut destination).map_err(failed("TRANSFER"))?
    };
    if bytes != order.bytes {
        return Err(format!("SOURCE [5] size mismatch: {bytes} bytes instead of {}", order.bytes));
    }
    let found = hex(&shared.digests.of(to, Algorithm::Adler32).map_err(failed("DESTINATION"))?);
    if let Some(expected) = order.adler32.as_ref().filter(|expected| **expected != found) {
        return Err(format!("TRANSFER [5] checksum mismatch: {found} instead of {expected}"));
    }
    if shared.faults.copy_is_corrupted() {
        corrupt(to).map_err(failed("DESTINATION"))?;
    }
    Ok(())
}

/// Whether both names lead to one file.
fn is_one_file(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// Changes one byte in the middle and keeps the mtime.
fn corrupt(path: &Path) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).open(path)?;
    let status = file.metadata()?;
    let middle = SeekFrom::Start(status.len() / 2);
    let mut byte = [0];
    file.seek(middle)?;
    file.read_exact(&mut byte)?;
    file.seek(middle)?;
    file.write_all(&[byte[0] ^ 1])?;
    file.set_modified(status.modified()?)
}
