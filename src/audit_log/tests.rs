#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;

fn record(n: usize) -> Map<String, Value> {
    let mut record = Map::new();
    record.insert("effect".to_owned(), json!("release"));
    record.insert("lfn".to_owned(), json!(format!("/ctao/acada/dl0/{n}.fits.fz")));
    record
}

/// A log of some records in a directory of its own, and its last record.
fn log(records: usize) -> (tempfile::TempDir, Head) {
    let directory = tempfile::tempdir().unwrap();
    let mut log = AuditLog::new(directory.path());
    let mut head = Head::default();
    for n in 0..records {
        head = log.append(Some(&head), record(n)).unwrap();
    }
    (directory, head)
}

fn bytes(directory: &Path) -> Vec<u8> {
    fs::read(directory.join(files::CURRENT)).unwrap()
}

fn verified(directory: &Path, known: Option<&Head>) -> Verified {
    verify(&files::of(directory).unwrap(), known).unwrap()
}

/// Whether a log made of these bytes is found to be other than one of `records` whole records.
fn found_out(bytes: &[u8], records: u64) -> bool {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(files::CURRENT), bytes).unwrap();
    let verified = verified(directory.path(), None);
    verified.broken.is_some() || verified.records != records
}

#[test]
fn what_is_written_is_found_whole_by_a_later_daemon_too() {
    let (directory, head) = log(3);
    let mut again = AuditLog::new(directory.path());
    assert_eq!(again.check(Some(&head)).unwrap(), head);
    let head = again.append(Some(&head), record(3)).unwrap();
    let verified = verified(directory.path(), Some(&head));
    assert_eq!(verified, Verified { records: 4, head, restarts: Vec::new(), broken: None, open_bytes: 0 });
    let mode = fs::metadata(directory.path().join(files::CURRENT)).unwrap().permissions().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");
}

#[test]
fn a_write_cut_off_anywhere_is_named_by_the_next_record_and_nothing_is_rewritten() {
    let (directory, head) = log(3);
    let whole = bytes(directory.path());
    let second = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
    for cut in second..whole.len() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(files::CURRENT);
        fs::write(&path, &whole[..cut]).unwrap();
        // the ledger knows of the records before the one that was cut
        let known = verified(directory.path(), None).head;
        // all but the newline: the record is whole
        let whole_record = cut + 1 == whole.len();
        assert_eq!(known.seq, 2 + u64::from(whole_record), "cut at {cut}");
        let mut log = AuditLog::new(directory.path());
        let last = log.append(Some(&known), record(9)).unwrap();
        let now = bytes(directory.path());
        assert_eq!(now[..cut], whole[..cut]);
        let verified = verified(directory.path(), Some(&last));
        assert_eq!((verified.broken, verified.open_bytes), (None, 0), "cut at {cut}");
        let expected = head.seq + u64::from(whole_record);
        assert_eq!(verified.head.seq, expected, "cut at {cut}");
    }
}

#[test]
fn a_record_cut_off_twice_leaves_no_hole() {
    let (directory, head) = log(2);
    let path = directory.path().join(files::CURRENT);
    for torn in ["{\"format\":1,\"se", "\n{\"form"] {
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(torn.as_bytes()).unwrap();
        assert_eq!(AuditLog::new(directory.path()).check(Some(&head)).unwrap(), head);
    }
    let head = AuditLog::new(directory.path()).append(Some(&head), record(2)).unwrap();
    assert_eq!(
        verified(directory.path(), None),
        Verified { records: 3, head, restarts: Vec::new(), broken: None, open_bytes: 0 }
    );
}

#[test]
fn records_missing_at_the_end_are_missed_by_whoever_knows_of_them() {
    let (directory, head) = log(3);
    let whole = bytes(directory.path());
    let end_of_second = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
    fs::write(directory.path().join(files::CURRENT), &whole[..end_of_second]).unwrap();
    let broken = verified(directory.path(), Some(&head)).broken.unwrap().1;
    assert_eq!(broken.flaw, Flaw::Shortened { found: 2, known: 3 });
    let mut log = AuditLog::new(directory.path());
    assert!(matches!(log.check(Some(&head)), Err(Error::Broken { .. })));
    fs::remove_file(directory.path().join(files::CURRENT)).unwrap();
    assert!(matches!(log.append(Some(&head), record(3)), Err(Error::Broken { .. })));
}

#[test]
fn a_log_that_is_removed_replaced_or_cut_below_a_running_daemon_takes_no_more_records() {
    type Meddle = fn(&Path, &[u8]);
    let meddle: [(u64, Meddle); 4] = [
        (0, |path, _| fs::remove_file(path).unwrap()),
        (1, |path, first| {
            fs::remove_file(path).unwrap();
            fs::write(path, first).unwrap();
        }),
        // in place, as logrotate's copytruncate does
        (0, |path, _| fs::write(path, "").unwrap()),
        (1, |path, first| fs::write(path, first).unwrap()),
    ];
    for (left, meddle) in meddle {
        let directory = tempfile::tempdir().unwrap();
        let mut log = AuditLog::new(directory.path());
        let first = log.append(None, record(0)).unwrap();
        let short = bytes(directory.path());
        let head = log.append(Some(&first), record(1)).unwrap();
        meddle(&directory.path().join(files::CURRENT), &short);
        let error = log.append(Some(&head), record(2)).unwrap_err();
        assert!(matches!(&error, Error::Broken { .. }), "{error}");
        // neither in the file that is gone nor in the other one
        assert_eq!(verified(directory.path(), None).records, left);
        let restarted = log.restart(Some(&head), &error.to_string()).unwrap();
        let last = log.append(Some(&restarted), record(2)).unwrap();
        assert_eq!(last.seq, 4);
        assert!(String::from_utf8(bytes(directory.path())).unwrap().contains("/2.fits.fz"));
    }
}

#[test]
fn a_log_that_was_put_back_as_it_was_goes_on() {
    let (directory, head) = log(2);
    let path = directory.path().join(files::CURRENT);
    let mut log = AuditLog::new(directory.path());
    let head = log.append(Some(&head), record(2)).unwrap();
    let copy = directory.path().join("copy");
    fs::copy(&path, &copy).unwrap();
    fs::rename(&copy, &path).unwrap();
    let head = log.append(Some(&head), record(3)).unwrap();
    assert_eq!(
        verified(directory.path(), Some(&head)),
        Verified { records: 4, head, restarts: Vec::new(), broken: None, open_bytes: 0 }
    );
}

#[test]
fn a_broken_log_is_put_away_and_the_new_one_says_so() {
    let (directory, head) = log(3);
    let path = directory.path().join(files::CURRENT);
    let mut changed = bytes(directory.path());
    let at = changed.len() - 200;
    changed[at] ^= 1;
    fs::write(&path, &changed).unwrap();
    let mut log = AuditLog::new(directory.path());
    let why = log.check(Some(&head)).unwrap_err().to_string();
    assert!(why.contains("the log ends with record 2, the ledger knows of 3"), "{why}");
    let restarted = log.restart(Some(&head), &why).unwrap();
    assert_eq!(restarted.seq, 4);
    let after = log.append(Some(&restarted), record(4)).unwrap();
    let verified = verified(directory.path(), Some(&after));
    assert_eq!((verified.broken, verified.records), (None, 2));
    assert_eq!(verified.restarts[0].seq, 4);
    let first: Value = serde_json::from_slice(bytes(directory.path()).split(|b| *b == b'\n').next().unwrap()).unwrap();
    assert_eq!((&first["effect"], &first["previous"]), (&json!("log-restarted"), &json!(head.hash)));
    assert_eq!(verified.restarts[0].put_away.as_deref(), first["continues"].as_str());
    let put_away = directory.path().join(first["continues"].as_str().unwrap());
    assert_eq!(fs::read(put_away).unwrap(), changed);
}

/// The chain is no secret: whoever can write the file can make a longer one. The ledger knows what was there.
#[test]
fn records_replaced_by_more_of_them_are_missed_by_whoever_knows_of_the_last() {
    let (directory, known) = log(4);
    let end_of_second =
        bytes(directory.path()).iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0;
    let path = directory.path().join(files::CURRENT);
    let second = bytes(directory.path())[..=end_of_second].to_vec();
    fs::write(&path, second).unwrap();
    let mut forger = AuditLog::new(directory.path());
    for n in 10..14 {
        forger.append(None, record(n)).unwrap();
        let found = verified(directory.path(), Some(&known)).broken.map(|(_, found)| found.flaw);
        let expected = if n == 10 { Flaw::Shortened { found: 3, known: 4 } } else { Flaw::Replaced { seq: 4 } };
        assert_eq!(found, Some(expected), "{n}");
        assert!(matches!(AuditLog::new(directory.path()).check(Some(&known)), Err(Error::Broken { .. })), "{n}");
    }
    assert_eq!(verified(directory.path(), None).broken, None);
}

#[test]
fn a_log_that_began_anew_is_followed_behind_its_full_files_too() {
    for known_to_ledger in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let mut log = AuditLog { full: 600, ..AuditLog::new(directory.path()) };
        let mut head = Head::default();
        for n in 0..8 {
            head = log.append(Some(&head), record(n)).unwrap();
        }
        fs::write(directory.path().join(files::CURRENT), "").unwrap();
        let known = known_to_ledger.then_some(&head);
        let restarted = log.restart(known, "it was emptied").unwrap();
        let mut last = restarted.clone();
        for n in 0..4 {
            last = log.append(Some(&last), record(n)).unwrap();
        }
        let verified = verified(directory.path(), Some(&last));
        assert_eq!((verified.broken, verified.head), (None, last));
        assert_eq!(verified.restarts.iter().map(|restart| restart.seq).collect::<Vec<_>>(), [restarted.seq]);
    }
}

#[test]
fn a_full_file_is_followed_by_another_even_if_a_stop_comes_between() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = AuditLog { full: 600, ..AuditLog::new(directory.path()) };
    let mut head = Head::default();
    for n in 0..10 {
        head = log.append(Some(&head), record(n)).unwrap();
    }
    let files = files::of(directory.path()).unwrap();
    let names: Vec<_> = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names[..2], ["audit-1.jsonl", "audit-4.jsonl"]);
    assert_eq!(*names.last().unwrap(), "audit.jsonl");
    assert_eq!(verified(directory.path(), Some(&head)).records, 10);
    // the newer files prove themselves when the older ones are kept elsewhere
    assert_eq!(verify(&files[1..], Some(&head)).unwrap().broken, None);
    // a file in the middle is missed
    let missing = verify(&[files[0].clone(), files[2].clone()], None).unwrap();
    assert!(matches!(missing.broken.unwrap().1.flaw, Flaw::Sequence { .. }));
    // stopped after the old file got its name
    fs::rename(files.last().unwrap(), directory.path().join("audit-10.jsonl")).unwrap();
    let head = AuditLog::new(directory.path()).append(Some(&head), record(10)).unwrap();
    assert_eq!(
        verified(directory.path(), Some(&head)),
        Verified { records: 11, head, restarts: Vec::new(), broken: None, open_bytes: 0 }
    );
}

#[test]
fn the_first_record_of_all_may_be_cut_off_too() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(files::CURRENT), "{\"format\":1").unwrap();
    let head = AuditLog::new(directory.path()).append(None, record(0)).unwrap();
    assert_eq!(
        verified(directory.path(), None),
        Verified { records: 1, head, restarts: Vec::new(), broken: None, open_bytes: 0 }
    );
}

#[test]
fn a_log_that_is_a_link_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = directory.path().join("elsewhere");
    fs::write(&elsewhere, "").unwrap();
    std::os::unix::fs::symlink(&elsewhere, directory.path().join(files::CURRENT)).unwrap();
    let error = AuditLog::new(directory.path()).append(None, record(0)).unwrap_err();
    assert!(matches!(error, Error::Io { action: "open", .. }), "{error}");
    assert_eq!(fs::read(elsewhere).unwrap(), b"");
}

#[test]
fn every_flipped_bit_is_found() {
    let (directory, _) = log(3);
    let whole = bytes(directory.path());
    assert!(!found_out(&whole, 3));
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(found_out(&changed, 3), "byte {at}");
    }
}

proptest! {
    #[test]
    fn lines_removed_swapped_repeated_or_inserted_are_found(
        records in 2usize..8, from in 0usize..8, to in 0usize..8, kind in 0u8..4, junk in "[a-z{}\":,0-9]{0,40}",
    ) {
        let (directory, _) = log(records);
        let whole = bytes(directory.path());
        let mut lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        let (from, to) = (from % records, to % records);
        let junk = format!("{junk}\n");
        match kind {
            0 => drop(lines.remove(from)),
            1 if from != to => lines.swap(from, to),
            2 => lines.insert(to, lines[from]),
            _ => lines.insert(from, junk.as_bytes()),
        }
        prop_assert!(found_out(&lines.concat(), records as u64));
    }

    #[test]
    fn a_change_to_torn_bytes_is_found_too(at in 0usize..14, bit in 0u32..8) {
        let (directory, head) = log(1);
        let path = directory.path().join(files::CURRENT);
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"format\":1,\"s").unwrap();
        AuditLog::new(directory.path()).append(Some(&head), record(1)).unwrap();
        let mut whole = bytes(directory.path());
        prop_assert!(!found_out(&whole, 2));
        let torn = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        whole[torn + at] ^= 1 << bit;
        prop_assert!(found_out(&whole, 2));
    }
}
