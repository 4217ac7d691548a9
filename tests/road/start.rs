//! What is wrong at the start is told in words, and nothing is touched.

use std::fs;

use dl0_ingest::config::Config;
use dl0_ingest::custody::State;
use dl0_ingest::daemon;
use tokio_util::sync::CancellationToken;

use crate::road::DELETION_ON;
use crate::testkit::fixture;
use crate::testkit::in_process::InProcess;
use crate::testkit::site::{Site, lfn};

/// The words with which the daemon refuses to run.
async fn refusal(config: Config) -> String {
    daemon::run(config, None, CancellationToken::new()).await.unwrap_err().to_string()
}

fn replacing(from: &'static str, to: &'static str) -> impl FnOnce(String) -> String {
    move |text| {
        assert!(text.contains(from), "{text}");
        text.replace(from, to)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rse_that_does_not_exist_is_named() {
    let site = Site::new("").await;
    let words = refusal(site.config_with(replacing("onsite_rse: STORAGE-1", "onsite_rse: STORAGE-9"))).await;
    assert!(words.contains("the on-site RSE 'STORAGE-9' does not exist in Rucio; check onsite_rse"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_rights_is_told_which_one_it_lacks() {
    let site = Site::new("").await;
    fs::write(site.root().join("password"), "plainpw").unwrap();
    let words = refusal(site.config_with(replacing("account: ingest", "account: plain"))).await;
    assert!(words.contains("the Rucio account 'plain' lacks the attribute admin=True"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_matches_one_site_is_not_enough() {
    let site = Site::new("").await;
    let words = refusal(site.config_with(replacing("expression: OFFSITE", "expression: STORAGE-2"))).await;
    assert!(
        words.contains("'STORAGE-2' matches 1 site(s) besides the on-site RSE (STORAGE-2), 2 are needed"),
        "{words}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_rucio_refuses_is_told_at_once() {
    let site = Site::new("").await;
    for wrong in ["expression: NOWHERE-1", "expression: 'OFFSITE|'"] {
        let words = refusal(site.config_with(replacing("expression: OFFSITE", wrong))).await;
        assert!(words.contains("offsite.expression '"), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_matches_the_site_itself_is_refused() {
    let site = Site::new("").await;
    let words = refusal(site.config_with(replacing("expression: OFFSITE", "expression: 'OFFSITE|STORAGE-1'"))).await;
    assert!(
        words.contains("the first-copy rule could be satisfied on site")
            && words.contains("(OFFSITE|STORAGE-1)\\STORAGE-1"),
        "{words}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rses_at_one_site_are_one_site_and_a_siteless_rse_is_named() {
    let site = Site::with("", |options| {
        for rse in &mut options.rses[1..] {
            rse.attributes.insert("site".to_owned(), "SAME".to_owned());
        }
    })
    .await;
    let words = refusal(site.config()).await;
    assert!(words.contains("matches 1 site(s) besides the on-site RSE (STORAGE-2, STORAGE-3)"), "{words}");
    let site = Site::with("", |options| {
        options.rses[2].attributes.remove("site");
    })
    .await;
    let words = refusal(site.config()).await;
    assert!(words.contains("matches 1 site(s) besides the on-site RSE (STORAGE-2, STORAGE-3)"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ways_of_writing_one_site_are_one_site() {
    let site = Site::with("", |options| {
        for (rse, name) in options.rses[1..].iter_mut().zip(["PIC", " pic "]) {
            rse.attributes.insert("site".to_owned(), name.to_owned());
        }
    })
    .await;
    let words = refusal(site.config()).await;
    assert!(words.contains("matches 1 site(s) besides the on-site RSE (STORAGE-2, STORAGE-3)"), "{words}");
}

/// Rucio's grammar of RSE expressions knows no dot in a value.
#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_no_expression_can_name_is_a_site_like_another() {
    let site = Site::with(DELETION_ON, |options| {
        for (rse, name) in options.rses[1..].iter_mut().zip(["PIC.ES", "cscs (Lugano)"]) {
            rse.attributes.insert("site".to_owned(), name.to_owned());
        }
    })
    .await;
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    site.until_state(&lfn, State::Released).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rse_on_the_mountain_is_no_off_site_rse_whatever_its_name() {
    let site = Site::with("", |options| {
        let on_site = options.rses[0].attributes["site"].clone();
        options.rses[2].attributes.insert("site".to_owned(), on_site);
    })
    .await;
    let words = refusal(site.config()).await;
    assert!(
        words.contains("also matches STORAGE-3, which is at the site of the on-site RSE STORAGE-1 (site=LAPALMA)"),
        "{words}"
    );
    let site = Site::with("", |options| {
        options.rses[0].attributes.remove("site");
    })
    .await;
    let words = refusal(site.config()).await;
    assert!(words.contains("the on-site RSE STORAGE-1 has no attribute 'site'"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_delay_on_site_is_refused() {
    let site = Site::with("", |options| {
        options.rses[0].attributes.insert("tombstone_delay".to_owned(), "86400".to_owned());
    })
    .await;
    let words = refusal(site.config()).await;
    assert!(words.contains("STORAGE-1 has the attribute tombstone_delay"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_wrong_password_files_are_taken_in_and_go_on_when_it_is_right() {
    let site = Site::new(DELETION_ON).await;
    fs::write(site.root().join("password"), "a-wrong-secret").unwrap();
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    site.until_state(&lfn, State::Verified).await;
    fs::write(site.root().join("password"), "ingestpw").unwrap();
    site.until_state(&lfn, State::Released).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_without_the_observatorys_tree_is_asked_about() {
    let site = Site::new("").await;
    fs::remove_dir_all(site.data().join("ctao")).unwrap();
    let words = refusal(site.config()).await;
    assert!(words.contains("has no directory 'ctao': is it mounted?"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_cannot_be_made_is_named() {
    let site = Site::new("").await;
    fs::remove_dir(site.state()).unwrap();
    fs::write(site.state(), "in the way").unwrap();
    let words = refusal(site.config()).await;
    assert!(words.contains("cannot make the state directory") && words.contains("set state_dir"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_one_ledger_is_refused() {
    let site = Site::new("").await;
    let daemon = site.start();
    let lfn = site.deliver("a.fits.fz", &fixture("SUBARRAY"));
    site.until_row(&lfn, |_| true).await;
    let words = refusal(site.config()).await;
    assert!(words.contains("is in use by another dl0-ingest"), "{words}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_trigger_is_reported_once_and_taken_when_it_is_mended() {
    let site = Site::new("").await;
    let daemon = site.start();
    std::os::unix::fs::symlink("a", site.path(".trigger")).unwrap();
    fs::create_dir(site.path("directory.trigger")).unwrap();
    std::os::unix::fs::symlink("elsewhere", site.path("b.trigger")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", site.path("c.trigger")).unwrap();
    site.pull_trigger("late.fits.fz");
    let mut seen = Vec::new();
    while seen.len() < 5 {
        seen = site.wrong_triggers().await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let reasons: Vec<&str> = seen.iter().map(|wrong| wrong.reason.as_str()).collect();
    assert_eq!(reasons, ["bare-trigger", "points-elsewhere", "points-outside", "trigger-is-directory", "dangling"]);
    fs::write(site.path("late.fits.fz"), fixture("SUBARRAY")).unwrap();
    site.until_state(&lfn("late.fits.fz"), State::Registered).await;
    assert_eq!(site.wrong_triggers().await.len(), 4);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_trigger_that_becomes_another_mistake_is_reported_as_that() {
    let site = Site::new("").await;
    let daemon = site.start();
    std::os::unix::fs::symlink("elsewhere", site.path("a.fits.fz.trigger")).unwrap();
    for (reason, next) in
        [("points-elsewhere", "right link, no data"), ("dangling", "a directory as data"), ("data-not-a-file", "")]
    {
        site.until_wrong(|wrong| wrong.iter().map(|one| one.reason.as_str()).eq([reason])).await;
        match next {
            "right link, no data" => {
                fs::remove_file(site.path("a.fits.fz.trigger")).unwrap();
                site.pull_trigger("a.fits.fz");
            }
            "a directory as data" => fs::create_dir(site.path("a.fits.fz")).unwrap(),
            _ => fs::remove_dir(site.path("a.fits.fz")).unwrap(),
        }
    }
    // the same mistake as before the last one
    site.until_wrong(|wrong| wrong.iter().map(|one| one.reason.as_str()).eq(["dangling"])).await;
    fs::write(site.path("a.fits.fz"), fixture("SUBARRAY")).unwrap();
    site.until_state(&lfn("a.fits.fz"), State::Registered).await;
    site.until_wrong(<[_]>::is_empty).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_comes_back_is_noticed_before_the_next_scan() {
    let site = Site::new("").await;
    let config = site.config_with(replacing("scan_interval: 500ms", "scan_interval: 50s"));
    let daemon = InProcess::start(config);
    // the first may be found by the scan at the start
    let started = std::time::Instant::now();
    for name in ["a.fits.fz", "b.fits.fz", "c.fits.fz"] {
        fs::create_dir_all(site.path("")).unwrap();
        let lfn = site.deliver(name, &fixture("SUBARRAY"));
        site.until_row(&lfn, |_| true).await;
        fs::remove_dir_all(site.path("")).unwrap();
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(45));
    daemon.stop().await;
}
