//! What ACADA, or somebody, should not have delivered.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::e2e::acada::{Deliveries, directory, fixture, pull_trigger, trigger_of, write};
use crate::e2e::daemon::Daemon;
use crate::e2e::outcome::{assert_released, wait_for, wait_for_release, wait_for_state};
use crate::e2e::stack::{Stack, new_night};

const SOON: Duration = Duration::from_secs(30);

/// A truncated file and a text file end in `invalid/` with their bytes and a reason; Rucio never hears of them, and the
/// good file between them is released.
#[tokio::test(flavor = "multi_thread")]
async fn bad_files_are_set_aside_with_a_reason_and_never_registered() {
    let stack = Arc::new(Stack::find());
    let rucio = stack.rucio().await;
    let directory = directory(&stack, new_night(&stack));
    let deliveries = Deliveries::default();
    let mut daemon = Daemon::start(&stack);

    let shower = fixture("SHOWER");
    let bad = [
        ("TEL001_TRUNCATED_CHUNK000.fits.fz", shower[..shower.len() / 2].to_vec()),
        ("TEL001_TEXT_CHUNK000.fits.fz", b"disk full while writing\n".to_vec()),
    ];
    for (name, content) in &bad {
        write(&directory.join(name), content);
        pull_trigger(&directory.join(name));
    }
    let good = directory.join("TEL001_GOOD_CHUNK000.fits.fz");
    write(&good, &shower);
    deliveries.note(&stack, &good);
    pull_trigger(&good);

    for (name, content) in &bad {
        let file = directory.join(name);
        let base = stack.acada_base();
        let aside = base.join("invalid").join(file.strip_prefix(&base).unwrap());
        wait_for(&format!("{name} is set aside"), SOON, &mut daemon, async || {
            aside.exists() && !file.exists() && !trigger_of(&file).is_symlink()
        })
        .await;
        assert_eq!(&std::fs::read(&aside).unwrap(), content, "set aside as it was delivered");
        let reason = std::fs::read(PathBuf::from(format!("{}.reason.json", aside.display()))).unwrap();
        let reason: serde_json::Value = serde_json::from_slice(&reason).unwrap();
        assert!(reason["reasons"].as_array().is_some_and(|reasons| !reasons.is_empty()), "{reason}");
        assert_eq!(rucio.did(&stack.lfn(&file)).await, None, "{name} must not be registered");
        wait_for_state(&daemon, &stack.lfn(&file), "rejected").await;
    }
    wait_for_release(&stack, &rucio, &mut daemon, &deliveries).await;
    assert_released(&stack, &rucio, &deliveries).await;
    daemon.stop();
}

/// A trigger that comes before its file is early and no more: when the file comes, it takes the usual road.
#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_without_its_file_waits_for_the_file() {
    let stack = Arc::new(Stack::find());
    let rucio = stack.rucio().await;
    let directory = directory(&stack, new_night(&stack));
    let deliveries = Deliveries::default();
    let mut daemon = Daemon::start(&stack);

    let file = directory.join("TEL001_EARLY_CHUNK000.fits.fz");
    std::fs::create_dir_all(&directory).unwrap();
    pull_trigger(&file);
    // several scans
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(daemon.is_running(), "{}", daemon.last_words());
    assert!(trigger_of(&file).is_symlink(), "the trigger stays where it is");
    assert_eq!(rucio.did(&stack.lfn(&file)).await, None, "nothing is registered");

    write(&directory.join("part"), &fixture("MUON"));
    std::fs::rename(directory.join("part"), &file).unwrap();
    deliveries.note(&stack, &file);
    wait_for_release(&stack, &rucio, &mut daemon, &deliveries).await;
    assert_released(&stack, &rucio, &deliveries).await;
    daemon.stop();
}
