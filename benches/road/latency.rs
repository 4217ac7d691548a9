//! How soon a trigger is noticed.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::daemon::Daemon;
use crate::stack::{Night, Stack};
use crate::{Arguments, row, spread};

/// Between two deliveries; the daemon has finished with a file long before.
const PAUSE: Duration = Duration::from_millis(400);

pub(crate) async fn measure(stack: &Stack, arguments: &Arguments) {
    let night = Night::new(stack);
    let lfns: Vec<String> = (0..=arguments.deliveries).map(|number| night.lfn(0, number)).collect();
    for lfn in &lfns {
        night.write(lfn);
    }
    let mut daemon = Daemon::start(stack, &stack.onsite().1.directory, "");
    daemon.ready().await;
    let ledger = daemon.ledger().await;
    let mut times = Vec::new();
    for lfn in &lfns {
        sleep(PAUSE).await;
        let made = Instant::now();
        night.trigger(lfn);
        let recorded = "SELECT discovered_at FROM files WHERE lfn = $1";
        while sqlx::query_scalar::<_, i64>(recorded).bind(lfn).fetch_optional(&ledger).await.unwrap().is_none() {
            assert!(made.elapsed() < Duration::from_secs(30), "{lfn} is not noticed:\n{}", daemon.log());
            sleep(Duration::from_millis(1)).await;
        }
        times.push(made.elapsed());
    }
    // the first one is for warming up
    times.remove(0);
    ledger.close().await;
    daemon.stop();
    row("latency", "triggers, one at a time", times.len());
    row("", "from the symlink to the committed row of the ledger", spread(times));
}
