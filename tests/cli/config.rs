//! Usage and configuration, as a shell sees them.
use std::fmt::Write as _;
use std::path::Path;

use crate::testkit::command::{command, offline_configuration, say};
use insta::assert_snapshot;

#[test]
fn the_help_names_every_command_and_the_exit_codes() {
    let said = say(&["--help"]);
    assert_eq!(said.code, 0);
    assert_snapshot!(said.out, @"
    From ACADA's trigger to a freed buffer: verifies, registers, replicates and, once two off-site
    copies are proven, releases the files of the interface directory

    Usage: dl0-ingest <COMMAND>

    Commands:
      run           Run the daemon until SIGTERM or SIGINT; SIGHUP reads the configuration again
      check-config  Check the configuration and say what is wrong with it
      status        Show how many files stand where
      list          List files in custody
      show          Show everything known about one file
      why           Say in words what a file waits for
      retry         Put held files back on their road, everything to be proven anew; make waiting ones
                    due at once
      hold          Keep the on-site copies of files, of a dataset, or all
      release-hold  Let held on-site copies go again once they are proven
      breaker       Show or reset the breaker that a contradiction opens and that stops all releases
      audit         Compare disk, ledger and Rucio; prove what was done
      rebuild       Restore custody from Rucio and the disk when the ledger is lost
      take-over     Answer for the rules of another ledger that is gone for good
      verify        Read files as the daemon would and say whether they are sound
      demo          Play the whole road with a miniature Rucio and a few files; needs nothing else
      help          Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Exit codes: 0 good, 1 found something bad, 2 wrong usage or configuration, 3 environment (Rucio,
    disk).
    ");
}

#[test]
fn every_command_has_help_of_its_own() {
    let mut helps = String::new();
    for command in [
        "run",
        "check-config",
        "status",
        "list",
        "show",
        "why",
        "retry",
        "hold",
        "release-hold",
        "breaker",
        "breaker reset",
        "audit",
        "audit verify-log",
        "verify",
        "demo",
    ] {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        writeln!(helps, "$ dl0-ingest {command} --help\n{}", say(&arguments).out).unwrap();
    }
    assert_snapshot!(helps);
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [&["chek-config"][..], &["verify"], &["list", "--state", "lost"], &["show"], &[]] {
        let said = say(arguments);
        assert_eq!(said.code, 2, "{arguments:?}");
        assert!(said.out.is_empty(), "{arguments:?}: {}", said.out);
        assert!(!said.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_good_configuration_is_said_to_be_good() {
    let directory = tempfile::tempdir().unwrap();
    let config = offline_configuration(directory.path());
    let said = say(&["check-config", "--config", config.to_str().unwrap()]);
    assert_snapshot!(said.all(directory.path()), @"
    code: 0
    --- out
    DIR/dl0-ingest.yaml is valid: 0 errors, 0 warnings
    --- err
    ");
}

#[test]
fn a_wrong_configuration_is_told_with_file_line_and_column() {
    let directory = tempfile::tempdir().unwrap();
    let config = offline_configuration(directory.path());
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("state_dir", "state-dir") + "http:\n  listen: 0.0.0.0:9464\nregister: {batch: 9999}\n",
    )
    .unwrap();
    let said = say(&["check-config", "--config", config.to_str().unwrap()]);
    assert_snapshot!(said.all(directory.path()), @"
    code: 2
    --- out
    DIR/dl0-ingest.yaml:2:1: error: unknown key 'state-dir'; did you mean 'state_dir'?
    DIR/dl0-ingest.yaml:14:19: error: register.batch: 9999 is out of range; write a number from 1 to 500
    DIR/dl0-ingest.yaml:13:11: warning: http.listen: 0.0.0.0:9464 can be reached from other hosts; write 127.0.0.1:9464 unless a firewall guards the port
    DIR/dl0-ingest.yaml is not valid: 2 errors, 1 warning
    --- err
    ");
    let said = say(&["check-config", "--json", "--config", config.to_str().unwrap()]);
    assert_eq!(said.code, 2);
    insta::assert_json_snapshot!(said.json_below(directory.path()));
}

#[test]
fn a_missing_configuration_is_told_once_whatever_the_command() {
    for arguments in [&["check-config"][..], &["status"], &["list"], &["show", "/a/b/c/d"], &["why", "/a/b/c/d"]] {
        let said = say(&[arguments, &["--config", "/nonexistent/c.yaml"]].concat());
        assert_eq!(said.code, 2, "{arguments:?}");
        assert_eq!(
            said.err,
            "dl0-ingest: cannot read the configuration /nonexistent/c.yaml: No such file or directory (os error 2); give \
             its place with --config, or copy the example there\n"
        );
    }
}

#[test]
fn the_credential_of_systemd_stands_in_for_a_password_file() {
    let directory = tempfile::tempdir().unwrap();
    let config = offline_configuration(directory.path());
    let text = std::fs::read_to_string(&config).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.contains("password_file")).collect();
    std::fs::write(&config, without.join("\n")).unwrap();
    let check = |credentials: &Path| {
        let mut command = command(&["check-config", "--config", config.to_str().unwrap()]);
        let output = command.env("CREDENTIALS_DIRECTORY", credentials).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, out) = check(directory.path());
    assert_eq!(code, Some(2), "{out}");
    assert!(out.contains("rucio-password"), "{out}");
    std::fs::write(directory.path().join("rucio-password"), "ingestpw\n").unwrap();
    let (code, out) = check(directory.path());
    assert_eq!(code, Some(0), "{out}");
    assert!(out.ends_with("0 errors, 0 warnings\n"), "{out}");
}
