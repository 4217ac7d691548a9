//! Services that go away for half a minute and come back: nobody's fault, and nobody's work.

use std::sync::Arc;
use std::time::Duration;

use dl0_ingest::custody::invariants::{StateAndAttempts, outage_is_nobodys_fault};
use dl0_ingest::ledger::FileRow;

use crate::e2e::acada::{Acada, Deliveries, Plan};
use crate::e2e::daemon::Daemon;
use crate::e2e::outcome::{assert_no_promise_was_broken, assert_released, wait_for, wait_for_release};
use crate::e2e::stack::{Stack, new_night};
use crate::e2e::watch::Witness;

const OUTAGE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn files_wait_while_rucio_is_down_and_flow_again_when_it_is_back() {
    night_with_an_outage_of("rucio").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_wait_while_a_data_centre_is_down_and_flow_again_when_it_is_back() {
    let stack = Stack::find();
    let (_, storage) = stack.offsite().next().unwrap();
    night_with_an_outage_of(&storage.service).await;
}

/// Files arrive before, during and after the outage; the daemon lives through it, rejects nothing and holds nothing.
async fn night_with_an_outage_of(service: &str) {
    let stack = Arc::new(Stack::find());
    let rucio = stack.rucio().await;
    let night = new_night(&stack);
    let deliveries = Deliveries::default();
    let mut daemon = Daemon::start(&stack);
    let witness = Witness::start(&stack, &rucio, &deliveries);

    let plan = Plan { observations: 4, telescopes: 1, seconds: 48, large: 0 };
    let acada = Acada::start(&stack, night, &plan, &deliveries);
    wait_for("the first files are there", Duration::from_secs(30), &mut daemon, async || deliveries.count() >= 4).await;
    let outage = tokio::task::block_in_place(|| stack.without(service));
    let before = daemon.rows().await;
    tokio::time::sleep(OUTAGE).await;
    assert!(daemon.is_running(), "the daemon did not survive\n{}", daemon.last_words());
    let troubled: Vec<_> =
        daemon.states().into_iter().filter(|(_, state)| state == "rejected" || state == "held").collect();
    assert_eq!(troubled, [], "an outage is nobody's fault");
    assert!(daemon.states().values().any(|state| state != "released"), "nothing had to wait: this shows nothing");
    let after = daemon.rows().await;
    assert!(!before.is_empty(), "nothing was on its road when the outage began");
    for (lfn, row) in before {
        let stands = |row: &FileRow| StateAndAttempts { state: row.state, attempts: row.attempts };
        outage_is_nobodys_fault(stands(&row), stands(&after[&lfn])).unwrap_or_else(|broken| panic!("{lfn}: {broken}"));
    }
    tokio::task::block_in_place(|| drop(outage));

    tokio::task::block_in_place(|| acada.finish());
    wait_for_release(&stack, &rucio, &mut daemon, &deliveries).await;
    witness.testify().await;
    assert_no_promise_was_broken(&stack, &rucio, &daemon, &deliveries).await;
    assert_released(&stack, &rucio, &deliveries).await;
    daemon.stop();
}
