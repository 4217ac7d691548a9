//! The audit record as its page describes it: the Python there and the command agree.
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::testkit::command::{offline_configuration, say};
use dl0_ingest::audit_log::{AuditLog, Head};
use dl0_ingest::ledger::Ledger;
use insta::assert_snapshot;
use serde_json::{Map, json};

/// Some records, with one that was cut off in between; and the last one.
fn log(directory: &Path) -> Head {
    let mut head = Head::default();
    for n in 0..5 {
        let mut record = Map::new();
        record.insert("effect".to_owned(), json!("release"));
        record.insert("lfn".to_owned(), json!(format!("/ctao/acada/dl0/Überlauf {n}.fits.fz")));
        head = AuditLog::new(directory).append(Some(&head), record).unwrap();
        if n == 2 {
            let mut file = OpenOptions::new().append(true).open(directory.join("audit.jsonl")).unwrap();
            file.write_all(b"{\"format\":1,\"seq\":4,\"a").unwrap();
        }
    }
    head
}

/// The Python of the page says that a log is whole.
fn python_agrees(log: &Path) -> bool {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit-log.md")).unwrap();
    let code = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap().to_owned();
    Command::new("python3").arg("-c").arg(code).arg(log).output().unwrap().status.success()
}

fn command_agrees(log: &Path) -> bool {
    match say(&["audit", "verify-log", log.to_str().unwrap()]).code {
        0 => true,
        1 => false,
        other => panic!("exit code {other}"),
    }
}

#[test]
fn the_python_of_the_page_and_the_command_judge_alike() {
    let directory = tempfile::tempdir().unwrap();
    log(directory.path());
    let path = directory.path().join("audit.jsonl");
    let whole = fs::read(&path).unwrap();
    assert!(python_agrees(&path) && command_agrees(&path));
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let without = |at: usize| [&lines[..at], &lines[at + 1..]].concat().concat();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    let swapped = [&lines[..1], &[lines[2], lines[1]], &lines[3..]].concat().concat();
    let inserted = [&lines[..2], &[b"{}\n"], &lines[2..]].concat().concat();
    for (what, spoilt) in [
        ("first removed", without(0)),
        ("second removed", without(1)),
        ("torn bytes removed", without(3)),
        ("flipped", flipped),
        ("swapped", swapped),
        ("inserted", inserted),
    ] {
        fs::write(&path, spoilt).unwrap();
        assert!(!python_agrees(&path), "{what}");
        assert!(!command_agrees(&path), "{what}");
    }
}

#[tokio::test]
async fn people_and_programs_are_told_where_the_chain_is_broken() {
    let directory = tempfile::tempdir().unwrap();
    let config = offline_configuration(directory.path());
    let state = directory.path().join("state");
    let ledger = Ledger::open(&state.join("ledger.db")).await.unwrap();
    let told = |more: &[&str]| {
        let said = say(&[&["audit", "verify-log", "--config", config.to_str().unwrap()], more].concat());
        said.all(directory.path())
    };
    assert_snapshot!(told(&[]), @"
    code: 0
    --- out
    no effect is on record
    --- err
    ");
    let head = log(&state);
    ledger.audited(head.seq, &head.hash, None).await.unwrap();
    assert_snapshot!(told(&[]).replace(&head.hash, "[hash]"), @"
    code: 0
    --- out
    5 records, the chain is whole; the last is number 5, hash [hash]
    --- err
    ");
    let path = state.join("audit.jsonl");
    let whole = fs::read(&path).unwrap();
    let end = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    // what the daemon is writing at this moment
    fs::write(&path, [&whole[..], b"{\"form"].concat()).unwrap();
    assert_snapshot!(told(&[]).replace(&head.hash, "[hash]"), @"
    code: 0
    --- out
    5 records, the chain is whole; the last is number 5, hash [hash]
    6 bytes of an unfinished record follow: its effect was not carried out
    --- err
    ");
    // the end is missing: only the ledger knows
    fs::write(&path, &whole[..end]).unwrap();
    assert_snapshot!(told(&[]), @"
    code: 1
    --- out
    DIR/state/audit.jsonl, line 5: the log ends with record 4, the ledger knows of 5: records are missing at the end
    --- err
    ");
    let mut flipped = whole.clone();
    flipped[10] ^= 1;
    fs::write(&path, flipped).unwrap();
    let json = told(&["--json"]);
    assert_snapshot!(json, @r#"
    code: 1
    --- out
    {"files":["DIR/state/audit.jsonl"],"whole":false,"records":0,"last":{"seq":0,"hash":"0000000000000000000000000000000000000000000000000000000000000000"},"restarts":[],"unfinished_bytes":0,"broken":{"file":"DIR/state/audit.jsonl","line":1,"reason":"the line is not a record: its hash is not that of its content"}}
    --- err
    "#);
    // put away, and begun anew: with the file, and when that is gone
    for put_away in [true, false] {
        let restarted = AuditLog::new(&state).restart(Some(&head), "a bit was flipped").unwrap();
        assert!(python_agrees(&path) && command_agrees(&path));
        let broken = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("audit-broken");
        let broken: Vec<fs::DirEntry> = fs::read_dir(&state).unwrap().map(Result::unwrap).filter(broken).collect();
        let said = told(&[]).replace(&restarted.hash, "[hash]");
        if put_away {
            assert_snapshot!(said.replace(broken[0].file_name().to_str().unwrap(), "[put away]"), @"
            code: 0
            --- out
            1 records, the chain is whole; the last is number 6, hash [hash]
            record 6 begins a new log: the one before was not as it was written, and lies in [put away]
            --- err
            ");
        } else {
            assert_snapshot!(said, @"
            code: 0
            --- out
            1 records, the chain is whole; the last is number 6, hash [hash]
            record 6 begins a new log: the one before was not as it was written, or not there any more
            --- err
            ");
        }
        fs::remove_file(&path).unwrap();
    }
    ledger.close().await;
}
