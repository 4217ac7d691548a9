//! Files that come a second time.

use std::sync::Arc;
use std::time::Duration;

use crate::e2e::acada::{Deliveries, digest, directory, fixture, pull_trigger, trigger_of, write};
use crate::e2e::daemon::Daemon;
use crate::e2e::outcome::{assert_released, wait_for, wait_for_release, wait_for_state};
use crate::e2e::stack::{Stack, new_night};

const SOON: Duration = Duration::from_secs(30);

/// A trigger for a file that is registered already just goes; a released file that comes again unchanged is recognised
/// and leaves the site again, once its copies have been proven anew.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_delivered_again_changes_nothing() {
    let stack = Arc::new(Stack::find());
    let rucio = stack.rucio().await;
    let directory = directory(&stack, new_night(&stack));
    let deliveries = Deliveries::default();
    let mut daemon = Daemon::start(&stack);
    let file = directory.join("TEL001_AGAIN_CHUNK000.fits.fz");
    let content = fixture("CAL");
    write(&file, &content);
    deliveries.note(&stack, &file);
    pull_trigger(&file);
    let trigger = trigger_of(&file);
    wait_for("registered", SOON, &mut daemon, async || !trigger.is_symlink()).await;

    pull_trigger(&file);
    wait_for("the second trigger is gone, too", SOON, &mut daemon, async || !trigger.is_symlink()).await;
    wait_for_release(&stack, &rucio, &mut daemon, &deliveries).await;
    assert_released(&stack, &rucio, &deliveries).await;

    write(&file, &content);
    pull_trigger(&file);
    wait_for("the trigger of the released file is gone", SOON, &mut daemon, async || !trigger.is_symlink()).await;
    wait_for_release(&stack, &rucio, &mut daemon, &deliveries).await;
    assert_released(&stack, &rucio, &deliveries).await;
    daemon.stop();
}

/// Other content under a registered name waits for an operator; neither the old copies nor the new file are touched.
#[tokio::test(flavor = "multi_thread")]
async fn other_content_under_a_known_name_is_held_and_nothing_is_touched() {
    let stack = Arc::new(Stack::find());
    let rucio = stack.rucio().await;
    let directory = directory(&stack, new_night(&stack));
    let deliveries = Deliveries::default();
    let mut daemon = Daemon::start(&stack);
    let file = directory.join("TEL001_OTHER_CHUNK000.fits.fz");
    write(&file, &fixture("CAL"));
    let delivery = deliveries.note(&stack, &file);
    pull_trigger(&file);
    wait_for("registered", SOON, &mut daemon, async || !trigger_of(&file).is_symlink()).await;
    wait_for_release(&stack, &rucio, &mut daemon, &deliveries).await;

    let other = fixture("MUON");
    write(&file, &other);
    pull_trigger(&file);
    wait_for_state(&daemon, &delivery.lfn, "held").await;
    assert_eq!(std::fs::read(&file).unwrap(), other, "the new file is as it was delivered");
    for (rse, storage) in stack.offsite() {
        assert_eq!(digest(&storage.path(&delivery.lfn)).unwrap(), delivery.digest, "{rse}");
    }
    daemon.stop();
    std::fs::remove_file(trigger_of(&file)).ok();
}
