//! Backlog metrics, the page for humans, and systemd's watchdog and status line.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sd_notify::NotifyState;

use crate::custody::State;
use crate::engine::Context;
use crate::ledger::{StateSummary, now};
use crate::telemetry::http::{StateRow, StatusPage};

/// Between two counts.
const PACE: Duration = Duration::from_secs(2);
/// A stage that has not been heard of for this long hangs.
const HANGS_AFTER: Duration = Duration::from_mins(1);

/// What is said of Rucio until the checks at the start have passed.
pub(super) const NOT_REACHED: &str = "Rucio not reached yet";

/// Runs until shutdown.
pub(super) async fn run(context: Context) {
    while !context.shutdown.is_cancelled() {
        let summary = context.ledger.summary().await;
        if let Ok(summary) = &summary {
            for state in State::ALL {
                let found = summary.iter().find(|row| row.state == state);
                let (files, bytes) = found.map_or((0, 0), |row| (row.files, row.bytes));
                let oldest = found.map(|row| row.oldest as f64 / 1000.0);
                context.metrics.backlog(state.as_str(), files.cast_unsigned(), bytes.cast_unsigned(), oldest);
            }
        }
        if context.health.live(HANGS_AFTER).is_ok() {
            // not under systemd this does nothing
            let _ = sd_notify::notify(&[
                NotifyState::Watchdog,
                NotifyState::Status(&status_line(&context, summary.as_deref().ok())),
            ]);
        }
        tell_of_rucio(&context);
        tokio::select! {
            () = tokio::time::sleep(PACE) => {}
            () = context.shutdown.cancelled() => {}
        }
    }
}

fn tell_of_rucio(context: &Context) {
    if *context.gate.borrow() {
        let state = context.rucio.circuit().reason().map_or(Ok(()), Err);
        context.health.set_ready("rucio", state);
    }
}

fn status_line(context: &Context, summary: Option<&[StateSummary]>) -> String {
    let rucio = match (*context.gate.borrow(), context.rucio.circuit().is_open()) {
        (false, _) => NOT_REACHED,
        (true, true) => "Rucio down",
        (true, false) => "Rucio up",
    };
    let Some(summary) = summary else { return format!("{rucio}, ledger not readable") };
    let waiting: Vec<_> = summary.iter().filter(|row| row.state.in_custody()).collect();
    let files: i64 = waiting.iter().map(|row| row.files).sum();
    let oldest = waiting.iter().map(|row| row.oldest).min().map_or(0, |since| (now() - since) / 1000);
    format!("{files} files in custody, oldest for {oldest} s, {rucio}")
}

/// What the page for humans shows.
pub(super) fn page(context: Context) -> BoxFuture<'static, StatusPage> {
    Box::pin(async move {
        let summary = context.ledger.summary().await.unwrap_or_default();
        let states = State::ALL
            .into_iter()
            .filter_map(|state| {
                let row = summary.iter().find(|row| row.state == state)?;
                Some(StateRow {
                    state: state.as_str(),
                    files: row.files.cast_unsigned(),
                    bytes: row.bytes.cast_unsigned(),
                    oldest_seconds: u64::try_from((now() - row.oldest) / 1000).ok(),
                })
            })
            .collect();
        let config = context.config();
        let rucio = match (*context.gate.borrow(), context.rucio.circuit().reason()) {
            (_, Some(reason)) => reason,
            (true, None) => "up".to_owned(),
            (false, None) => "not checked yet".to_owned(),
        };
        let facts = vec![
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("deletion", config.release.deletion.as_str().to_owned()),
            ("off-site copies required", config.offsite.copies.get().to_string()),
            ("Rucio", rucio),
        ];
        StatusPage { states, facts }
    })
}
