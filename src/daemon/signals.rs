//! SIGTERM and SIGINT end the daemon, SIGHUP reads the configuration again.

use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};

use crate::config::{self, Config};
use crate::engine::Context;

/// Where the configuration comes from when it is to be read again.
pub type Reload = Box<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// From now on a SIGHUP does not end the process: one that comes during the start is heard when somebody listens.
/// SIGTERM and SIGINT do until then, since nothing is under way and a disk may hang.
pub(super) fn catch_hangups() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Listens until shutdown.
pub(super) fn listen(
    context: &Context,
    mut hangup: Signal,
    settings: watch::Sender<Arc<Config>>,
    reload: Option<Reload>,
) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let asked = Arc::new(Notify::new());
    tokio::spawn(read_when_asked(context.clone(), settings, reload.map(Arc::new), Arc::clone(&asked)));
    let context = context.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => { tracing::info!(signal = "SIGTERM", "asked to stop"); break }
                _ = interrupt.recv() => { tracing::info!(signal = "SIGINT", "asked to stop"); break }
                _ = hangup.recv() => asked.notify_one(),
                () = context.shutdown.cancelled() => break,
            }
        }
        context.shutdown.cancel();
    });
    Ok(())
}

/// In a task of its own, one at a time: a configuration file on a mount that hangs must not hold up the end. However
/// often it is asked for meanwhile, it is then done once more.
async fn read_when_asked(
    context: Context,
    settings: watch::Sender<Arc<Config>>,
    reload: Option<Arc<Reload>>,
    asked: Arc<Notify>,
) {
    loop {
        tokio::select! {
            () = asked.notified() => {}
            () = context.shutdown.cancelled() => break,
        }
        if let Some(reload) = &reload {
            read_again(&context, &settings, Arc::clone(reload)).await;
        } else {
            tracing::warn!("there is no configuration file to read again");
        }
    }
}

async fn read_again(context: &Context, settings: &watch::Sender<Arc<Config>>, reload: Arc<Reload>) {
    tracing::info!("reading the configuration again");
    // systemd wants to know when the reload began, by the clock that never jumps
    if let Ok(began) = NotifyState::monotonic_usec_now() {
        let _ = sd_notify::notify(&[NotifyState::Reloading, began]);
    }
    let read = tokio::task::spawn_blocking(move || reload()).await;
    match read.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(new) => apply(context, settings, new).await,
        Err(problem) => {
            context.metrics.config_reloaded(false);
            tracing::error!("the new configuration is refused, the old one stays in force: {problem}");
        }
    }
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

/// What the stages read afresh is taken over; what was built at the start is said to need a restart.
async fn apply(context: &Context, settings: &watch::Sender<Arc<Config>>, new: Config) {
    let old = context.config();
    let mut taken = Config::clone(&old);
    taken.release.clone_from(&new.release);
    taken.confirm = new.confirm;
    taken.replicate = new.replicate;
    taken.register = new.register;
    taken.retry = new.retry;
    taken.settle = new.settle;
    taken.intake.scan_interval = new.intake.scan_interval;
    taken.intake.early_after = new.intake.early_after;
    taken.verify = config::Verify { threads: old.verify.threads, ..new.verify };
    // the caller has set the new level already
    taken.log.level.clone_from(&new.log.level);
    if taken != new {
        tracing::warn!(
            "the new configuration also changes settings that need a restart; of it, release, confirm, replicate, \
             register, retry, settle, log.level, intake.scan_interval, intake.early_after and verify but for \
             verify.threads are in force now"
        );
    }
    context.metrics.deletion_mode(taken.release.deletion.as_str());
    // only the receivers' end could refuse it
    settings.send_replace(Arc::new(taken));
    context.metrics.config_reloaded(true);
    tracing::info!(deletion = new.release.deletion.as_str(), "configuration read again");
    context.look_again_by_new_settings().await;
}
