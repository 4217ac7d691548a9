//! What only root can arrange: a full disk, and a user who may not read.
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::testkit::command::sound_file;
use crate::testkit::mounts::Mount;
use crate::testkit::process::{Daemon, End};
use crate::testkit::site::Site;
use rustix::process::Signal;

/// A user with no rights of its own.
const NOBODY: u32 = 65_534;

/// As ACADA delivers: the file, then a symlink to its bare name.
fn deliver(site: &Site, name: &str) {
    let directory = site.data().join("ctao/acada/dl0/LST/events");
    fs::create_dir_all(&directory).unwrap();
    fs::copy(sound_file(), directory.join(name)).unwrap();
    symlink(name, directory.join(format!("{name}.trigger"))).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_on_a_full_disk_is_told_of_and_the_files_go_on_when_there_is_space() {
    let site = Site::with_defaults().await;
    let disk = Mount::memory(&site.state(), "4m");
    let daemon = Daemon::start(&site, &[]);
    daemon.ready(&site).await;
    deliver(&site, "before.fits.fz");
    daemon.until_said(&site, "file registered").await;
    let ballast = disk.fill();
    // more than what the ledger has room for in its files as they are
    for number in 0..40 {
        deliver(&site, &format!("meanwhile-{number}.fits.fz"));
    }
    let trouble = daemon.until_said(&site, "disk is full").await;
    let trouble = trouble["message"].as_str().unwrap();
    assert!(trouble.contains("ledger.db") && trouble.contains("free space on its disk"), "{trouble}");
    drop(ballast);
    let registered = || {
        let said = daemon.said(&site).into_iter().filter(|line| line["message"] == "file registered");
        said.map(|line| line["lfn"].to_string()).collect::<BTreeSet<String>>().len()
    };
    site.until("all files to be registered", || std::future::ready(registered() == 1 + 40)).await;
    daemon.signal(Signal::TERM);
    daemon.until_said(&site, "stopped").await;
    assert_eq!(daemon.ended().await, End::Stopped);
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_read_or_write_the_interface_directory_is_told_so() {
    let site = Site::with_defaults().await;
    let root = site.root();
    // the user must reach everything else
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    for path in ["state", "password"] {
        chown(root.join(path), Some(NOBODY), None).unwrap();
    }
    let program = root.join("dl0-ingest");
    fs::copy(env!("CARGO_BIN_EXE_dl0-ingest"), &program).unwrap();
    for mode in [0o700, 0o755] {
        fs::set_permissions(site.data(), fs::Permissions::from_mode(mode)).unwrap();
        let output =
            Command::new(&program).args(["run", "--config"]).arg(site.config_file()).uid(NOBODY).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        let last = said.lines().last().unwrap();
        assert!(
            last.contains("/storage-1/ctao: Permission denied") && last.contains("(uid 65534) must be able to"),
            "{said}"
        );
    }
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_may_not_be_read_is_not_told_as_a_daemon_that_never_ran() {
    let site = Site::with_defaults().await;
    let root = site.root();
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = Daemon::start(&site, &[]);
    daemon.ready(&site).await;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await, End::Stopped);
    fs::set_permissions(site.state(), fs::Permissions::from_mode(0o700)).unwrap();
    let program = root.join("dl0-ingest");
    fs::copy(env!("CARGO_BIN_EXE_dl0-ingest"), &program).unwrap();
    let output = Command::new(&program).args(["status", "--config"]).arg(site.config_file()).uid(NOBODY).output();
    let said = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(said.contains("Permission denied") && said.contains("as the daemon's user"), "{said}");
    assert!(!said.contains("ever run"), "{said}");
    site.rucio.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemons_memory_and_state_are_nobody_elses_business() {
    let site = Site::with_defaults().await;
    let root = site.root();
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    for path in ["state", "password", "storage-1", "storage-1/ctao", "storage-1/ctao/acada"] {
        chown(root.join(path), Some(NOBODY), None).unwrap();
    }
    let program = root.join("dl0-ingest");
    fs::copy(env!("CARGO_BIN_EXE_dl0-ingest"), &program).unwrap();
    let daemon = Daemon::start_with(&site, |command| {
        *command = Command::new(&program);
        command.args(["run", "--config"]).arg(site.config_file()).uid(NOBODY);
    });
    daemon.ready(&site).await;
    let user = daemon.status("Uid");
    assert!(user.starts_with("65534"), "{user}");
    // the kernel gives to root what its own user may neither dump nor trace
    let process = PathBuf::from(format!("/proc/{}", daemon.id().as_raw_nonzero()));
    assert_eq!(fs::metadata(process.join("environ")).unwrap().uid(), 0);
    let arguments = fs::read_to_string(process.join("cmdline")).unwrap();
    assert!(!arguments.contains("ingestpw"), "{arguments}");
    let modes: Vec<(String, u32)> = fs::read_dir(site.state())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().mode() & 0o777))
        .collect();
    daemon.signal(Signal::TERM);
    daemon.until_said(&site, "stopped").await;
    assert_eq!(daemon.ended().await, End::Stopped);
    assert!(modes.iter().any(|(name, _)| name == "ledger.db-wal"), "{modes:?}");
    // nothing for others
    assert!(modes.iter().all(|(_, mode)| mode.trailing_zeros() >= 3), "{modes:?}");
    site.rucio.shutdown().await;
}
