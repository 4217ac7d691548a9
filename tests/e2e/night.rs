//! A good night.

use std::sync::Arc;
use std::time::Duration;

use crate::e2e::acada::{Acada, Deliveries, Plan};
use crate::e2e::daemon::Daemon;
use crate::e2e::outcome::{assert_metadata_is_right, assert_released, wait_for, wait_for_release};
use crate::e2e::stack::{Stack, new_night};
use crate::e2e::watch::Witness;

/// Three telescopes and a subarray, 64 files, one of more than 100 MB, arriving while the daemon runs.
#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_a_night_ends_as_two_identical_copies_and_leaves_the_site() {
    let stack = Arc::new(Stack::find());
    let rucio = stack.rucio().await;
    let night = new_night(&stack);
    let deliveries = Deliveries::default();
    let mut daemon = Daemon::start(&stack);
    let witness = Witness::start(&stack, &rucio, &deliveries);

    let plan = Plan { observations: 6, telescopes: 3, seconds: 25, large: 110 };
    let acada = Acada::start(&stack, night, &plan, &deliveries);
    tokio::task::block_in_place(|| acada.finish());
    assert!(deliveries.count() >= 60, "{} files", deliveries.count());
    assert!(deliveries.all().iter().any(|delivery| delivery.bytes >= 100_000_000), "no large file");

    wait_for_release(&stack, &rucio, &mut daemon, &deliveries).await;
    witness.testify().await;
    assert_released(&stack, &rucio, &deliveries).await;
    assert_metadata_is_right(&stack, &rucio, &deliveries).await;
    daemon.stop();
}

/// Second copies follow the first ones while files keep arriving; none of our rules is ever stuck.
#[tokio::test(flavor = "multi_thread")]
async fn second_copies_keep_up_with_a_growing_dataset() {
    let stack = Arc::new(Stack::find());
    let rucio = stack.rucio().await;
    let night = new_night(&stack);
    let deliveries = Deliveries::default();
    let mut daemon = Daemon::start(&stack);

    let plan = Plan { observations: 10, telescopes: 1, seconds: 30, large: 0 };
    let acada = Acada::start(&stack, night, &plan, &deliveries);
    wait_for("a file with both copies while ACADA still writes", Duration::from_secs(30), &mut daemon, async || {
        deliveries.all().iter().any(|delivery| stack.offsite().all(|(_, storage)| storage.path(&delivery.lfn).exists()))
    })
    .await;
    assert!(deliveries.count() < 40, "ACADA had finished: this shows nothing");
    tokio::task::block_in_place(|| acada.finish());
    wait_for_release(&stack, &rucio, &mut daemon, &deliveries).await;
    assert_released(&stack, &rucio, &deliveries).await;
    daemon.stop();
}
