//! Counts the backlog and looks at what the daemon needs, at its own pace, for metrics, page, `/status` and systemd.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;

use super::progress::Progress;
use crate::custody::State;
use crate::engine::{self, Context};
use crate::ledger::{StateSummary, iso, now};
use crate::telemetry::health::Need;
use crate::telemetry::http::{StateRow, StatusPage};

/// Between two counts.
const PACE: Duration = Duration::from_secs(2);
/// A stage that has not been heard of for this long hangs.
const HANGS_AFTER: Duration = Duration::from_mins(1);
/// A ledger on a disk that hangs must not keep us from saying so.
const LEDGER: Duration = Duration::from_secs(10);

/// What is said of Rucio until the checks at the start have passed.
pub(super) const NOT_REACHED: &str = "Rucio not reached yet";

/// Runs until shutdown. `counted`: for the page.
pub(super) async fn run(context: Context, ledger: String, counted: watch::Sender<Arc<StatusPage>>) {
    let mut progress = Progress::default();
    while !context.shutdown.is_cancelled() {
        let summary = tokio::time::timeout(LEDGER, context.ledger.summary()).await;
        let summary = match &summary {
            Ok(Ok(summary)) => Some(summary.as_slice()),
            Ok(Err(_)) | Err(_) => None,
        };
        look_at_ledger(&context, summary.is_some()).await;
        look_at_rucio(&context);
        if let Some(summary) = summary {
            count(&context, summary);
            progress.look(&context, summary);
            counted.send_replace(Arc::new(page(&context, &ledger, summary)));
        }
        context.metrics.health(&context.health);
        engine::tell_of_more(&context);
        if context.health.live(HANGS_AFTER).is_ok() {
            // not under systemd this does nothing
            let status = NotifyState::Status(&status_line(&context, summary));
            let _ = sd_notify::notify(&[NotifyState::Watchdog, status]);
        }
        tokio::select! {
            () = tokio::time::sleep(PACE) => {}
            () = context.shutdown.cancelled() => {}
        }
    }
}

/// Whatever met a ledger that cannot be used has noted it; whether it can be used again shows a write.
async fn look_at_ledger(context: &Context, read: bool) {
    let ledger = &context.ledger;
    if !read || ledger.trouble().is_some() {
        // the same trouble, if it lasts
        let _ = tokio::time::timeout(LEDGER, ledger.try_to_write()).await;
    }
    let state = match ledger.trouble() {
        Some(trouble) => Err(format!("cannot be written: {trouble}")),
        None if !read => Err("does not answer".to_owned()),
        None => Ok(()),
    };
    context.health.set(Need::Ledger, state);
}

fn look_at_rucio(context: &Context) {
    // until then the checks at the start say how it stands
    if *context.gate.borrow() {
        let state = context.rucio.circuit().reason().map_or(Ok(()), Err);
        context.health.set(Need::Rucio, state);
    }
}

fn count(context: &Context, summary: &[StateSummary]) {
    for state in State::ALL {
        let found = summary.iter().find(|row| row.state == state);
        let (files, bytes) = found.map_or((0, 0), |row| (row.files, row.bytes));
        let oldest = found.map(|row| row.oldest as f64 / 1000.0);
        context.metrics.backlog(state.as_str(), files.cast_unsigned(), bytes.cast_unsigned(), oldest);
    }
}

fn status_line(context: &Context, summary: Option<&[StateSummary]>) -> String {
    let rucio = match (*context.gate.borrow(), context.rucio.circuit().is_open()) {
        (false, _) => NOT_REACHED,
        (true, true) => "Rucio down",
        (true, false) => "Rucio up",
    };
    let troubles = context.health.verdict().troubles;
    // said by the word before already
    let other = troubles.iter().find(|trouble| trouble.about != Need::Rucio.as_str());
    let other = other.map_or_else(String::new, |trouble| format!("; NOT READY, {}: {}", trouble.about, trouble.reason));
    let Some(summary) = summary else { return format!("{rucio}, ledger not readable{other}") };
    let waiting: Vec<_> = summary.iter().filter(|row| row.state.in_custody()).collect();
    let files: i64 = waiting.iter().map(|row| row.files).sum();
    let oldest = waiting.iter().map(|row| row.oldest).min().map_or(0, |since| (now() - since) / 1000);
    format!("{files} files in custody, oldest for {oldest} s, {rucio}{other}")
}

/// What the page for humans shows.
fn page(context: &Context, ledger: &str, summary: &[StateSummary]) -> StatusPage {
    let row = |state: State| {
        let row = summary.iter().find(|row| row.state == state)?;
        Some(StateRow {
            state: state.as_str(),
            files: row.files.cast_unsigned(),
            bytes: row.bytes.cast_unsigned(),
            oldest_seconds: u64::try_from((now() - row.oldest) / 1000).ok(),
        })
    };
    let config = context.config();
    let rucio = match (*context.gate.borrow(), context.rucio.circuit().reason()) {
        (_, Some(reason)) => reason,
        (true, None) => "up".to_owned(),
        (false, None) => context.health.reason(Need::Rucio).unwrap_or_else(|| "up".to_owned()),
    };
    let facts = vec![
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("deletion", config.release.deletion.as_str().to_owned()),
        ("off-site copies required", config.offsite.copies.get().to_string()),
    ];
    let states = State::ALL.into_iter().filter_map(row).collect();
    StatusPage { counted_at: iso(now()), states, ledger: ledger.to_owned(), rucio, facts }
}
