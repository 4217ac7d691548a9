//! What only root can arrange: a full disk, and a user who may not read.
#![allow(clippy::unwrap_used)]

mod cli_support;
#[allow(dead_code, reason = "some of them are for other tests")]
#[path = "onsite_faults/mounts.rs"]
mod mounts;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use cli_support::site::Site;
use cli_support::sound_file;
use mounts::Mount;

/// A user with no rights of its own.
const NOBODY: u32 = 65_534;

/// As ACADA delivers: the file, then a symlink to its bare name.
fn deliver(site: &Site, name: &str) {
    let directory = site.directory.path().join("onsite/ctao/acada/dl0/LST/events");
    fs::create_dir_all(&directory).unwrap();
    fs::copy(sound_file(), directory.join(name)).unwrap();
    symlink(name, directory.join(format!("{name}.trigger"))).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_on_a_full_disk_is_told_of_and_the_files_go_on_when_there_is_space() {
    let site = Site::new().await;
    let disk = Mount::memory(&site.directory.path().join("state"), "4m");
    let mut daemon = site.run();
    let said = tokio::task::spawn_blocking(move || {
        daemon.until("ready");
        deliver(&site, "before.fits.fz");
        daemon.until("file registered");
        let ballast = disk.fill();
        // more than what the ledger has room for in its files as they are
        for number in 0..40 {
            deliver(&site, &format!("meanwhile-{number}.fits.fz"));
        }
        let trouble = daemon.until("disk is full");
        drop(ballast);
        let registered: BTreeSet<String> =
            (0..40).map(|_| daemon.until("file registered")["lfn"].to_string()).collect();
        daemon.signal("-TERM");
        daemon.until("stopped");
        assert_eq!(daemon.ended(), Some(0));
        (trouble["message"].as_str().unwrap().to_owned(), registered, site)
    });
    let (trouble, registered, site) = said.await.unwrap();
    assert!(trouble.contains("ledger.db") && trouble.contains("free space on its disk"), "{trouble}");
    assert_eq!(registered.len(), 40);
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_read_or_write_the_interface_directory_is_told_so() {
    let site = Site::new().await;
    let root = site.directory.path();
    // the user must reach everything else
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    for path in ["state", "password"] {
        chown(root.join(path), Some(NOBODY), None).unwrap();
    }
    let program = root.join("dl0-ingest");
    fs::copy(env!("CARGO_BIN_EXE_dl0-ingest"), &program).unwrap();
    for mode in [0o700, 0o755] {
        fs::set_permissions(root.join("onsite"), fs::Permissions::from_mode(mode)).unwrap();
        let output = Command::new(&program).args(["run", "--config", &site.config]).uid(NOBODY).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        let last = said.lines().last().unwrap();
        assert!(
            last.contains("/onsite/ctao: Permission denied") && last.contains("(uid 65534) must be able to"),
            "{said}"
        );
    }
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemons_memory_and_state_are_nobody_elses_business() {
    let site = Site::new().await;
    let root = site.directory.path();
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    for path in ["state", "password", "onsite", "onsite/ctao", "onsite/ctao/acada"] {
        chown(root.join(path), Some(NOBODY), None).unwrap();
    }
    let program = root.join("dl0-ingest");
    fs::copy(env!("CARGO_BIN_EXE_dl0-ingest"), &program).unwrap();
    let mut daemon = site.run_with(|command| {
        *command = Command::new(&program);
        command.args(["run", "--config", &site.config]).uid(NOBODY)
    });
    let modes = tokio::task::spawn_blocking(move || {
        daemon.until("ready");
        let process = PathBuf::from(format!("/proc/{}", daemon.pid()));
        let status = fs::read_to_string(process.join("status")).unwrap();
        assert!(status.contains("Uid:\t65534"), "{status}");
        // the kernel gives to root what its own user may neither dump nor trace
        assert_eq!(fs::metadata(process.join("environ")).unwrap().uid(), 0);
        let arguments = fs::read_to_string(process.join("cmdline")).unwrap();
        assert!(!arguments.contains("ingestpw"), "{arguments}");
        let modes: Vec<(String, u32)> = fs::read_dir(site.directory.path().join("state"))
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().mode() & 0o777))
            .collect();
        daemon.signal("-TERM");
        daemon.until("stopped");
        assert_eq!(daemon.ended(), Some(0));
        (modes, site)
    });
    let (modes, site) = modes.await.unwrap();
    assert!(modes.iter().any(|(name, _)| name == "ledger.db-wal"), "{modes:?}");
    // nothing for others
    assert!(modes.iter().all(|(_, mode)| mode.trailing_zeros() >= 3), "{modes:?}");
    site.rucio.shutdown().await;
}
