//! The checks of the start, again and again: somebody may change in Rucio what the daemon needs, while it runs.

use std::collections::BTreeSet;

use super::preflight::{self, Found};
use crate::engine::{Context, StageError, job};
use crate::telemetry::health::Need;

const JOB: &str = "settings in Rucio";

/// Runs until shutdown. `at_start`: what was found then, and logged.
pub(super) async fn run(context: Context, at_start: Found) {
    publish(&context, &at_start);
    let known = tokio::sync::Mutex::new((true, said(&at_start)));
    let round = || async {
        let (just_asked, known) = &mut *known.lock().await;
        if std::mem::take(just_asked) {
            return Ok(());
        }
        let found = preflight::ask(&context.rucio, &context.config()).await?;
        publish(&context, &found);
        log(&found, known);
        Ok::<(), StageError>(())
    };
    job::rounds(&context, JOB, |config| config.rucio.check_interval, round).await;
}

/// Health has all of them.
fn publish(context: &Context, found: &Found) {
    let state = if found.problems.is_empty() { Ok(()) } else { Err(found.problems.join("; ")) };
    context.health.set(Need::RucioSettings, state);
    context.memory.doors.set(found.doors.roots.clone(), found.doors.same.clone());
    let closed = found.closed.iter().flat_map(|(rse, all)| all.iter().map(|what| (rse.clone(), what.clone())));
    let others = found.warnings.iter().map(|what| ("settings in rucio".to_owned(), what.clone()));
    context.health.notices("settings", closed.chain(others));
}

fn said(found: &Found) -> BTreeSet<String> {
    found.problems.iter().cloned().chain(found.all_warnings()).collect()
}

/// Each is logged when it comes and when it goes.
fn log(found: &Found, known: &mut BTreeSet<String>) {
    let now = said(found);
    for new in now.difference(known) {
        if found.problems.contains(new) {
            tracing::error!("in Rucio: {new}");
        } else {
            tracing::warn!("in Rucio: {new}");
        }
    }
    for over in known.difference(&now) {
        tracing::info!("in Rucio, not so any more: {over}");
    }
    *known = now;
}
