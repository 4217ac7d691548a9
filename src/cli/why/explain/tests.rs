//! The words for each state.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use insta::assert_snapshot;

use super::*;

const NOW: UnixMillis = 1_767_297_600_000; // 2026-01-01 20:00:00 UTC
const MINUTE: UnixMillis = 60_000;

fn config(more: &str) -> Config {
    let text = format!(
        "data_path: /tmp\nonsite_rse: S1\noffsite: {{expression: O}}\nrucio: {{url: 'https://r', account: a}}\n{more}"
    );
    Config::parse(&text, Path::new("c.yaml")).unwrap().config
}

fn row(state: State) -> FileRow {
    FileRow {
        id: 1,
        lfn: "/ctao/acada/dl0/a.fits.fz".to_owned(),
        scope: "acada".to_owned(),
        dataset: "/ctao/acada/dl0".to_owned(),
        state,
        state_since: NOW - 3 * MINUTE,
        delivery: 1,
        discovered_at: NOW - 10 * MINUTE,
        trigger_pending: false,
        bytes: 1_000_000_000,
        mtime_ns: 0,
        inode: 1,
        changed_ns: None,
        adler32: None,
        crc32c: None,
        md5: None,
        blake3: None,
        metadata: None,
        valid_fits_checksum: None,
        further_copies_rule: None,
        further_copies_rule_ending: None,
        earlier_further_copies_rule: None,
        on_site_rule: None,
        first_rse: None,
        first_look: None,
        last_evidence: None,
        release_announced_at: None,
        release_ordered_at: None,
        on_site_rule_end: None,
        replica_gone_at: None,
        reason_code: None,
        reason: None,
        invalid_path: None,
        held_from: None,
        next_attempt: NOW,
        attempts: 0,
        waits_for: None,
        copies_unreadable: false,
    }
}

fn told(row: &FileRow, config: &Config) -> String {
    let explanation = explain(row, config, &Brakes::default(), NOW);
    let mut out = Vec::new();
    super::super::tell(&explanation, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn an_unread_file() {
    let mut row = row(State::Discovered);
    row.attempts = 2;
    row.next_attempt = NOW + MINUTE;
    row.waits_for = Some("it changed while it was read".to_owned());
    assert_snapshot!(told(&row, &config("")), @"
    /ctao/acada/dl0/a.fits.fz
      It was delivered (1.0 GB) and waits to be read and judged.
      What it waits for: it changed while it was read.
      This step failed 2 times; the next attempt is at 2026-01-01 20:01:00 UTC.
      It stands there since 2026-01-01 19:57:00 UTC, for 3 min.

    Next
      Its bytes are read once. Sound, it goes on to registration; bad, it goes to invalid/.

    You can
      see whether the daemon runs and Rucio answers: dl0-ingest status, or its page over HTTP
      see its history: dl0-ingest show /ctao/acada/dl0/a.fits.fz
    ");
}

#[test]
fn a_registered_file_before_and_after_its_first_copy() {
    let mut row = row(State::Registered);
    assert_snapshot!(told(&row, &config("")), @"
    /ctao/acada/dl0/a.fits.fz
      It is registered and protected on site, and waits for its first off-site copy.
      It stands there since 2026-01-01 19:57:00 UTC, for 3 min.

    Next
      Rucio transfers it; once there, a second copy is made from it.

    You can
      see its history: dl0-ingest show /ctao/acada/dl0/a.fits.fz
    ");
    row.first_rse = Some("STORAGE-2".to_owned());
    assert_snapshot!(told(&row, &config("")), @"
    /ctao/acada/dl0/a.fits.fz
      It has its first off-site copy at STORAGE-2, and the second one is to be asked for.
      It stands there since 2026-01-01 19:57:00 UTC, for 3 min.

    Next
      A rule asks for the second copy, with the first one as its source.

    You can
      see its history: dl0-ingest show /ctao/acada/dl0/a.fits.fz
    ");
}

#[test]
fn a_file_whose_copies_are_proven_once() {
    let mut row = row(State::Replicated);
    let at = NOW - 10 * MINUTE;
    row.first_look = Some(format!(r#"{{"at":{at},"rses":["STORAGE-2","STORAGE-3"]}}"#));
    assert_snapshot!(told(&row, &config("")), @"
    /ctao/acada/dl0/a.fits.fz
      All copies were proven once, at 2026-01-01 19:50:00 UTC (STORAGE-2 and STORAGE-3). The second look is due at 2026-01-01 20:50:00 UTC, in 50 min.
      It stands there since 2026-01-01 19:57:00 UTC, for 3 min.

    Next
      2 copies at different sites must be proven at two looks 1h apart, by Rucio and by the storages.

    You can
      see its history: dl0-ingest show /ctao/acada/dl0/a.fits.fz
    ");
    assert_snapshot!(told(&row, &config("confirm: {hold: 10min}\n")), @"
    /ctao/acada/dl0/a.fits.fz
      All copies were proven once, at 2026-01-01 19:50:00 UTC (STORAGE-2 and STORAGE-3). The second look is due.
      It stands there since 2026-01-01 19:57:00 UTC, for 3 min.

    Next
      2 copies at different sites must be proven at two looks 10min apart, by Rucio and by the storages.

    You can
      see its history: dl0-ingest show /ctao/acada/dl0/a.fits.fz
    ");
}

#[test]
fn a_file_that_waits_long_for_proof() {
    let mut row = row(State::Replicated);
    row.state_since = NOW - 300 * MINUTE;
    row.further_copies_rule = Some("abc123".to_owned());
    row.waits_for = Some("1 of 2 sites hold a proven copy; STORAGE-3: replica is COPYING".to_owned());
    assert_snapshot!(told(&row, &config("")), @"
    /ctao/acada/dl0/a.fits.fz
      All off-site copies are asked for. It waits for proof of 2 of them at different sites.
      What it waits for: 1 of 2 sites hold a proven copy; STORAGE-3: replica is COPYING.
      It stands there since 2026-01-01 15:00:00 UTC, for 5 h.

    Next
      2 copies at different sites must be proven at two looks 1h apart, by Rucio and by the storages.

    You can
      look at the transfer in Rucio; a copy that does not come is Rucio's or the site's
      see the rule of its second copy: rucio rule show abc123
      see its history: dl0-ingest show /ctao/acada/dl0/a.fits.fz
    ");
}

#[test]
fn a_proven_file_under_each_mode_of_deletion() {
    let row = row(State::Confirmed);
    let under = |mode: &str| told(&row, &config(&format!("release: {{deletion: {mode}}}\n")));
    assert_snapshot!(under("off"), @"
    /ctao/acada/dl0/a.fits.fz
      Its off-site copies are proven. It stays, because deletion is off.
      It stands there since 2026-01-01 19:57:00 UTC, for 3 min.

    You can
      let proven files go: set release.deletion to on, then reload the daemon
    ");
    assert_snapshot!(under("dry-run"), @"
    /ctao/acada/dl0/a.fits.fz
      Its off-site copies are proven. It stays, because deletion is in dry-run mode.
      It stands there since 2026-01-01 19:57:00 UTC, for 3 min.

    You can
      let proven files go: set release.deletion to on, then reload the daemon
    ");
    assert_snapshot!(under("on"), @"
    /ctao/acada/dl0/a.fits.fz
      Its off-site copies are proven. It waits for the last check, right before its release.
      It stands there since 2026-01-01 19:57:00 UTC, for 3 min.

    Next
      All evidence is asked for afresh; only then its protection on site is ended and Rucio deletes it.

    You can
      see its history: dl0-ingest show /ctao/acada/dl0/a.fits.fz
    ");
}

#[test]
fn a_file_on_its_way_out_and_gone() {
    let mut row = row(State::Releasing);
    row.release_ordered_at = Some(NOW - 2 * MINUTE);
    assert_snapshot!(told(&row, &config("")), @"
    /ctao/acada/dl0/a.fits.fz
      Its protection on site was ended at 2026-01-01 19:58:00 UTC; Rucio is to delete the on-site copy.
      It stands there since 2026-01-01 19:57:00 UTC, for 3 min.

    Next
      The release is complete when the file is gone from the disk; a leftover is reported.

    You can
      see its history: dl0-ingest show /ctao/acada/dl0/a.fits.fz
    ");
    row.state = State::Released;
    row.last_evidence = Some(r#"{"evidence":{"copies":[{"rse":"STORAGE-2"},{"rse":"STORAGE-3"}]}}"#.to_owned());
    assert_snapshot!(told(&row, &config("")), @"
    /ctao/acada/dl0/a.fits.fz
      It waits for nothing: the on-site copy is gone since 2026-01-01 19:57:00 UTC. Its copies are at STORAGE-2 and STORAGE-3.

    You can
      see the evidence it was released on: dl0-ingest show --json /ctao/acada/dl0/a.fits.fz
    ");
}

#[test]
fn a_rejected_and_a_held_file() {
    let mut row = row(State::Rejected);
    row.reason = Some("HDU 1: CHECKSUM does not match the bytes".to_owned());
    row.invalid_path = Some("ctao/acada/invalid/dl0/a.fits.fz".to_owned());
    assert_snapshot!(told(&row, &config("")), @"
    /ctao/acada/dl0/a.fits.fz
      It was rejected at 2026-01-01 19:57:00 UTC and waits for nothing. Reason: HDU 1: CHECKSUM does not match the bytes

    You can
      look at it: /tmp/ctao/acada/invalid/dl0/a.fits.fz (the reason is beside it, in .reason.json)
      check it again: dl0-ingest verify /tmp/ctao/acada/invalid/dl0/a.fits.fz
      have it written and delivered anew under the same name; it is then taken up again
    ");
    row.state = State::Held;
    row.reason = Some("delivered again with other content".to_owned());
    assert_snapshot!(told(&row, &config("")), @"
    /ctao/acada/dl0/a.fits.fz
      It is held until an operator decides; nothing touches it. Reason: delivered again with other content
      It stands there since 2026-01-01 19:57:00 UTC, for 3 min.

    You can
      find out which side is right; the history says what contradicts what
      see its history: dl0-ingest show /ctao/acada/dl0/a.fits.fz
      put it back on its road, everything to be proven anew: dl0-ingest retry --reason TEXT /ctao/acada/dl0/a.fits.fz
    ");
}
