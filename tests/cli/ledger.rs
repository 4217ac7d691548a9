//! The commands that read the ledger, as a shell sees them, with no daemon running and with one.
use std::path::Path;
use std::time::Duration;

use crate::testkit::command::{Offline as Site, say};
use dl0_ingest::custody::settling::Unsettled;
use dl0_ingest::custody::{Contents, FileIdentity, HoldCode, State};
use dl0_ingest::ledger::{Delivery, Ledger, Sentence, Verified, WrongTrigger};
use dl0_ingest::names::{Did, Lfn};
use insta::assert_snapshot;

const SOUND: &str = "/ctao/acada/dl0/LSTN-01/events/2026/01/01/sound.fits.fz";
const BAD: &str = "/ctao/acada/dl0/LSTN-01/events/2026/01/01/bad.fits.fz";
const HELD: &str = "/ctao/acada/dl0/LSTN-01/events/2026/01/01/held.fits.fz";

/// A ledger with one file verified, one rejected, one held, and a wrong trigger.
async fn fill(config: &Path) -> Ledger {
    let ledger = Ledger::open(&config.parent().unwrap().join("state/ledger.db")).await.unwrap();
    let deliveries = [(SOUND, 43_200), (BAD, 20_000), (HELD, 1)].map(|(lfn, bytes)| Delivery {
        lfn: Lfn::try_from(lfn).unwrap(),
        identity: FileIdentity { bytes, mtime_ns: 1_767_297_600_000_000_000, inode: bytes },
        seen_at: 0,
    });
    ledger.deliver(&deliveries).await.unwrap();
    let claim = ledger.claim(State::Discovered, 10).await.unwrap();
    let row = |lfn: &str| claim.rows.iter().find(|row| row.lfn == lfn).unwrap().clone();
    let contents = Contents {
        bytes: 43_200,
        adler32: "7aeeddf2".to_owned(),
        crc32c: "d106acd6".to_owned(),
        blake3: "af".repeat(32),
        md5: None,
    };
    let metadata = r#"{"instance__obs_id":2000000456,"data__level":"DL0"}"#.to_owned();
    let verified = Verified { row: row(SOUND), contents, metadata, valid_fits_checksum: Some(true) };
    ledger.verified(&[verified]).await.unwrap();
    let sentence = Sentence {
        code: "truncated".to_owned(),
        reason: "HDU 3 needs 23200 more bytes; have ACADA deliver the file again".to_owned(),
        invalid_path: "ctao/acada/invalid/dl0/LSTN-01/events/2026/01/01/bad.fits.fz".to_owned(),
    };
    ledger.rejecting(&row(BAD), &sentence).await.unwrap();
    ledger.rejected(&row(BAD)).await.unwrap();
    ledger.hold(&row(HELD), HoldCode::OtherContent, "delivered again with other content").await.unwrap();
    let trigger = WrongTrigger {
        path: "ctao/acada/dl0/.trigger".to_owned(),
        reason: "bare".to_owned(),
        message: "the trigger has no name before .trigger; remove it".to_owned(),
        signature: "1".to_owned(),
        since: dl0_ingest::ledger::now(),
    };
    ledger.wrong_trigger(&trigger).await.unwrap();
    ledger
}

#[tokio::test]
async fn people_are_told_where_files_stand() {
    let site = Site::new();
    fill(&site.config).await.close().await;
    assert_snapshot!(site.told(&["status"]), @"
    code: 0
    --- out
    STATE  FILES  SIZE  OLDEST FOR
    discovered  0  -  -
    verified  1  43 kB  [age]
    registered  0  -  -
    replicated  0  -  -
    confirmed  0  -  -
    releasing  0  -  -
    released  0  -  -
    rejected  1  20 kB  [age]
    held  1  1 B  [age]

    daemon  not running
    ledger  [id]
    deletion  dry-run, the log says what would be deleted

    1 trigger that cannot be taken:
      ctao/acada/dl0/.trigger (for [age]): the trigger has no name before .trigger; remove it
    --- err
    ");
    assert_snapshot!(site.told(&["list"]), @"
    code: 0
    --- out
    STATE  FOR  SIZE  REASON  FILE
    verified  [age]  43 kB  -  /ctao/acada/dl0/LSTN-01/events/2026/01/01/sound.fits.fz
    rejected  [age]  20 kB  truncated  /ctao/acada/dl0/LSTN-01/events/2026/01/01/bad.fits.fz
    held  [age]  1 B  other-content  /ctao/acada/dl0/LSTN-01/events/2026/01/01/held.fits.fz
    --- err
    ");
    assert_snapshot!(site.told(&["list", "--state", "held"]), @"
    code: 0
    --- out
    STATE  FOR  SIZE  REASON  FILE
    held  [age]  1 B  other-content  /ctao/acada/dl0/LSTN-01/events/2026/01/01/held.fits.fz
    --- err
    ");
    for (filter, files) in [
        (&["--reason", "truncated"][..], 1),
        (&["--reason", "other-content", "--state", "held"], 1),
        (&["--dataset", "/ctao/acada/dl0/LSTN-01/events/2026/01/01"], 3),
        (&["--dataset", "acada:/ctao/acada/dl0/LSTN-01/events/2026/01/01", "--older", "0s"], 3),
        (&["--dataset", "/ctao/acada/dl0/LSTN-01/events/2026/01/02"], 0),
        (&["--older", "1000d"], 0),
    ] {
        let said = site.told(&[&["list"], filter].concat());
        let expected =
            if files == 0 { said.matches("no such file").count() } else { said.matches("/2026/01/01/").count() };
        assert_eq!(expected, files.max(1), "{filter:?}: {said}");
    }
    assert_snapshot!(site.told(&["show", SOUND]), @"
    code: 0
    --- out
    /ctao/acada/dl0/LSTN-01/events/2026/01/01/sound.fits.fz
      state  verified, since [moment]
      delivered  [moment]
      size  43 kB (43200 bytes)
      adler32  7aeeddf2
      crc32c  d106acd6
      blake3  afafafafafafafafafafafafafafafafafafafafafafafafafafafafafafafaf

    metadata
      instance__obs_id  2000000456
      data__level  DL0

    events
      [moment]  discovered
      [moment]  verified
    --- err
    ");
    assert_snapshot!(site.told(&["why", SOUND]), @"
    code: 0
    --- out
    /ctao/acada/dl0/LSTN-01/events/2026/01/01/sound.fits.fz
      It is sound and waits to be registered in Rucio.
      It stands there since [moment], for [age].

    Next
      It is registered with size, checksum and metadata, and protected; then its trigger goes.

    You can
      see whether the daemon runs and Rucio answers: dl0-ingest status --config DIR/dl0-ingest.yaml, or its page over HTTP
      see its history: dl0-ingest show --config DIR/dl0-ingest.yaml /ctao/acada/dl0/LSTN-01/events/2026/01/01/sound.fits.fz
    --- err
    ");
    assert_snapshot!(site.told(&["why", BAD]), @"
    code: 0
    --- out
    /ctao/acada/dl0/LSTN-01/events/2026/01/01/bad.fits.fz
      It was rejected at [moment] and waits for nothing. Reason: HDU 3 needs 23200 more bytes; have ACADA deliver the file again

    You can
      ask ACADA whether the writer was stopped; compare the size with what it believes to have written
      look at it: DIR/onsite/ctao/acada/invalid/dl0/LSTN-01/events/2026/01/01/bad.fits.fz (the reason is beside it, in .reason.json)
      check it again: dl0-ingest verify DIR/onsite/ctao/acada/invalid/dl0/LSTN-01/events/2026/01/01/bad.fits.fz
      have it written and delivered anew under the same name; it is then taken up again
    --- err
    ");
}

#[tokio::test]
async fn a_running_daemon_is_noticed_and_not_disturbed() {
    let site = Site::new();
    let ledger = fill(&site.config).await;
    let config = site.config.to_str().unwrap();
    let status = say(&["status", "--json", "--config", config]).json().remove(0);
    assert_eq!(status["daemon_running"], true);
    drop(ledger);
    let status = say(&["status", "--json", "--config", config]).json().remove(0);
    assert_eq!(status["daemon_running"], false);
}

#[tokio::test]
async fn programs_get_one_object_a_line() {
    let site = Site::new();
    fill(&site.config).await.close().await;
    let config = site.config.to_str().unwrap();
    let rows = say(&["list", "--json", "--config", config]).json();
    let names: Vec<&str> = rows.iter().map(|row| row["lfn"].as_str().unwrap()).collect();
    assert_eq!(names, [SOUND, BAD, HELD]);
    let limited = say(&["list", "--json", "--limit", "1", "--config", config]).json();
    assert_eq!(limited.len(), 1);
    let shown = say(&["show", "--json", BAD, "--config", config]).json();
    assert_eq!(shown[0]["reason_code"], "truncated");
    assert!(!shown[0]["events"].as_array().unwrap().is_empty());
    let why = say(&["why", "--json", HELD, "--config", config]).json();
    assert_eq!(why[0]["state"], "held");
    assert_eq!(why[0]["next"], serde_json::Value::Null);
    let status = say(&["status", "--json", "--config", config]).json();
    assert_eq!(status[0]["states"]["rejected"]["files"], 1);
    assert_eq!(status[0]["wrong_triggers"][0]["reason"], "bare");
    assert_eq!(status[0]["unsettled_datasets"], serde_json::json!([]));
}

#[tokio::test]
async fn status_names_the_datasets_that_cannot_be_settled() {
    let site = Site::new();
    let ledger = fill(&site.config).await;
    let dataset = Did::new("acada", "/ctao/acada/dl0/night");
    ledger
        .unsettled(
            &dataset,
            &Unsettled::other("it holds /f, which the ledger does not have as released"),
            Duration::ZERO,
        )
        .await
        .unwrap();
    ledger.close().await;
    let said = site.told(&["status"]);
    let told = "1 dataset not settled, or with copies that no rule holds:\n  acada:/ctao/acada/dl0/night: it holds /f, which the ledger";
    assert!(said.contains(told), "{said}");
    let status = say(&["status", "--json", "--config", site.config.to_str().unwrap()]).json();
    assert_eq!(status[0]["unsettled_datasets"][0]["dataset"], "acada:/ctao/acada/dl0/night");
}

#[tokio::test]
async fn a_file_without_a_record_is_looked_for_on_disk() {
    let site = Site::new();
    fill(&site.config).await.close().await;
    let lfn = "/ctao/acada/dl0/new.fits";
    let file = site.directory.path().join("onsite/ctao/acada/dl0/new.fits");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    assert_snapshot!(site.told(&["why", lfn]), @"
    code: 1
    --- out
    /ctao/acada/dl0/new.fits
      The daemon has no record of it, and there is neither such a file nor a trigger for it on disk.

    You can
      check the name; its trigger would be DIR/onsite/ctao/acada/dl0/new.fits.trigger
    --- err
    ");
    std::fs::write(&file, "").unwrap();
    assert_snapshot!(site.told(&["why", lfn]), @"
    code: 1
    --- out
    /ctao/acada/dl0/new.fits
      The daemon has no record of it: the file is there, but nothing has asked for it to be taken.

    You can
      check its trigger, which ACADA makes after closing the file: DIR/onsite/ctao/acada/dl0/new.fits.trigger does not exist
    --- err
    ");
    std::os::unix::fs::symlink("new.fits", file.with_extension("fits.trigger")).unwrap();
    assert_snapshot!(site.told(&["why", file.to_str().unwrap()]), @"
    code: 1
    --- out
    /ctao/acada/dl0/new.fits
      The daemon has no record of it, but it and its trigger are there; a scan comes every 5s.

    You can
      see whether the daemon runs: dl0-ingest status --config DIR/dl0-ingest.yaml
    --- err
    ");
    assert_snapshot!(site.told(&["show", lfn]), @"
    code: 1
    --- out
    --- err
    dl0-ingest: /ctao/acada/dl0/new.fits: The daemon has no record of it, but it and its trigger are there; a scan comes every 5s.
    ");
    assert_snapshot!(site.told(&["why", "/other/acada/dl0/new.fits"]), @"
    code: 1
    --- out
    /other/acada/dl0/new.fits
      The daemon does not look there: it takes files below DIR/onsite/ctao only.

    You can
      have it written below the directory of the VO 'ctao', or correct vo in the configuration
    --- err
    ");
    assert_snapshot!(site.told(&["show", "/ctao/a b"]), @"
    code: 2
    --- out
    --- err
    dl0-ingest: '/ctao/a b' is neither an LFN nor a file below DIR/onsite: character ' ' at position 7 is not allowed in a DID; use letters, digits, '.', '_' and '-' only
    ");
}

#[test]
fn a_ledger_that_is_not_there_is_the_environments_fault() {
    let site = Site::new();
    assert_snapshot!(site.told(&["status"]), @"
    code: 3
    --- out
    --- err
    dl0-ingest: cannot use the ledger DIR/state/ledger.db: no such file (has the daemon ever run?); check that its directory exists, is writable and not full
    ");
}
