//! The daemon killed in the middle of its work.

use std::sync::Arc;
use std::time::Duration;

use crate::acada::{Acada, Deliveries, Plan};
use crate::daemon::Daemon;
use crate::outcome::{assert_metadata_is_right, assert_released, wait_for, wait_for_release};
use crate::rucio::Rucio;
use crate::stack::{Stack, new_night};
use crate::watch::Witness;

/// Killed while it registers, while copies are under way and while it releases: nothing is lost, nothing is doubled.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_goes_on_where_it_was() {
    let stack = Arc::new(Stack::find());
    let rucio = Rucio::login(&stack).await;
    let night = new_night(&stack);
    let deliveries = Deliveries::default();
    let mut daemon = Daemon::start(&stack);
    let witness = Witness::start(&stack, &rucio, &deliveries);

    let plan = Plan { observations: 4, telescopes: 2, seconds: 12, large: 0 };
    let acada = Acada::start(&stack, night, &plan, &deliveries);
    wait_for("the first files are there", Duration::from_secs(30), &mut daemon, async || deliveries.count() > 0).await;
    for _ in 0..3 {
        // short enough to fall into the registration of what has just arrived
        tokio::time::sleep(Duration::from_millis(300)).await;
        daemon.kill();
        daemon.run();
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    tokio::task::block_in_place(|| acada.finish());
    let all = deliveries.all();
    wait_for("the first release", Duration::from_secs(90), &mut daemon, async || {
        all.iter().any(|delivery| !delivery.path.exists())
    })
    .await;
    daemon.kill();
    daemon.run();

    wait_for_release(&stack, &rucio, &mut daemon, &deliveries).await;
    witness.testify().await;
    assert_released(&stack, &rucio, &deliveries).await;
    assert_metadata_is_right(&stack, &rucio, &deliveries).await;
    daemon.stop();
}
