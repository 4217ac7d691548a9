//! `audit` and `rebuild` as a shell sees them.
use crate::testkit::command::Offline;
use crate::testkit::site::Site;
use dl0_ingest::ledger::Ledger;
use insta::assert_snapshot;

fn told(site: &Site, arguments: &[&str]) -> String {
    let text = tokio::task::block_in_place(|| site.say(arguments)).all(site.root());
    text.replace(site.rucio.url().as_str().trim_end_matches('/'), "RUCIO")
}

/// A site with an empty ledger and a file that nobody knows.
async fn dark() -> Site {
    let site = Site::with_defaults().await;
    Ledger::open(&site.ledger_file()).await.unwrap().close().await;
    let file = site.data().join("ctao/acada/dl0/dark.fits");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, "dark").unwrap();
    site
}

const AT_ONCE: [&str; 5] = ["audit", "--min-age", "0s", "--settle", "1ms"];

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_tells_people_and_programs() {
    let site = dark().await;
    assert_snapshot!(told(&site, &["audit", "--settle", "1ms"]), @"
    code: 0
    --- out
    1 files in 3 directories compared: disk, ledger and Rucio agree
    --- err
    ");
    assert_snapshot!(told(&site, &AT_ONCE), @"
    code: 1
    --- out
    dark: /ctao/acada/dl0/dark.fits
      4 bytes on disk: neither the ledger nor Rucio knows it, and it has no trigger
      if ACADA wanted it ingested, make its trigger (--repair does so for a sound file); otherwise move it out of the data directory
    1 files in 3 directories compared: 1 findings (dark 1)
    --- err
    ");
    assert_snapshot!(told(&site, &[&AT_ONCE[..], &["--json", "--repair"]].concat()), @r#"
    code: 1
    --- out
    {"code":"dark","file":"/ctao/acada/dl0/dark.fits","state":null,"invariant":null,"message":"4 bytes on disk: neither the ledger nor Rucio knows it, and it has no trigger","remedy":"if ACADA wanted it ingested, make its trigger (--repair does so for a sound file); otherwise move it out of the data directory","repair":"make-trigger"}
    {"repair":"make-trigger","file":"/ctao/acada/dl0/dark.fits","code":"dark","outcome":"planned"}
    --- err
    "#);
    assert_snapshot!(told(&site, &[&AT_ONCE[..], &["--repair", "--yes"]].concat()), @r#"
    code: 1
    --- out
    dark: /ctao/acada/dl0/dark.fits
      4 bytes on disk: neither the ledger nor Rucio knows it, and it has no trigger
      if ACADA wanted it ingested, make its trigger (--repair does so for a sound file); otherwise move it out of the data directory
    1 files in 3 directories compared: 1 findings (dark 1)
    /ctao/acada/dl0/dark.fits: read it and, if it is sound, make its trigger: left alone: it is not sound: at byte 0: this is not a FITS file: it begins with "dark" where 'SIMPLE  =' must be (FITS 4.0, section 4.4.1.1); deliver the FITS file itself under this name
    --- err
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_tells_people_and_programs() {
    let site = dark().await;
    assert_snapshot!(told(&site, &["rebuild", "--dry-run"]), @"
    code: 1
    --- out
    left out (dark): /ctao/acada/dl0/dark.fits
      it is on disk, Rucio does not know it, and it has no trigger; see 'dl0-ingest audit --config DIR/dl0-ingest.yaml'
    0 files would be restored, 1 left out
    nothing was written
    --- err
    ");
    assert_snapshot!(told(&site, &["rebuild", "--json"]), @r#"
    code: 1
    --- out
    {"file":"/ctao/acada/dl0/dark.fits","outcome":"left","code":"dark","reason":"it is on disk, Rucio does not know it, and it has no trigger; see 'dl0-ingest audit'"}
    --- err
    "#);
}

#[test]
fn without_rucio_or_a_ledger_nothing_is_compared() {
    let site = Offline::new();
    assert_snapshot!(site.told(&["audit"]), @"
    code: 3
    --- out
    --- err
    dl0-ingest: cannot use the ledger DIR/state/ledger.db: no such file (has the daemon ever run?); check that its directory exists, is writable and not full
    ");
    assert_snapshot!(site.told(&["rebuild"]), @"
    code: 3
    --- out
    --- err
    dl0-ingest: Rucio at http://127.0.0.1:1 cannot be reached: Connection refused (os error 111)
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_lists_the_first_of_each_kind_and_counts_all() {
    let site = dark().await;
    for number in 0..24 {
        std::fs::write(site.data().join(format!("ctao/acada/dl0/{number}.fits")), "dark").unwrap();
    }
    let lines = |more: &[&str]| {
        let said = told(&site, &[&AT_ONCE, more].concat());
        let listed =
            said.lines().filter(|line| line.starts_with("dark: ") || line.contains("\"code\":\"dark\"")).count();
        (listed, said)
    };
    let (listed, said) = lines(&[]);
    assert!(listed == 20 && said.contains("25 findings (dark 25)\nlisted are 20 of each kind at most"), "{said}");
    assert_eq!(lines(&["--most", "2"]).0, 2);
    let (listed, said) = lines(&["--most", "25"]);
    assert!(listed == 25 && !said.contains("listed are"), "{said}");
    assert_eq!(lines(&["--json", "--most", "2"]).0, 25);
}
