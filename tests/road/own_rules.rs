//! Rules of released files whose dataset is not settled yet.

use std::time::Duration;

use rucio_client::RuleState;

use crate::road::reconcile::sources;
use crate::road::settling::{quiet_after, released};
use crate::road::watched::until_measured;
use crate::testkit::in_process::InProcess;
use crate::testkit::site::{Site, lfn};

/// Nothing but the list of rules tells of it; the copies are there all the while.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_rule_of_a_released_file_is_told_and_a_stuck_one_boosted() {
    // Rucio by itself would not try again in the time of this test
    let site = Site::with(&quiet_after("1h"), |options| options.pace.repair = Duration::from_hours(1)).await;
    let daemon = site.start();
    released(&site, &["a.fits.fz".to_owned()]).await;
    daemon.stop().await;
    let rule = site.row(&lfn("a.fits.fz")).await.unwrap().further_copies_rule.unwrap();
    let rucio = sources(&site, None).rucio;
    for (suspended, told) in [
        (true, "dl0_ingest_rule_troubles_total{trouble=\"suspended\"} 1"),
        (false, "dl0_ingest_rule_troubles_total{trouble=\"stuck\"} 1"),
    ] {
        site.rucio.suspend_rule(&rule, suspended);
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let daemon =
            InProcess::start(site.config_with(|text| text.replace("listen: null", &format!("listen: {address}"))));
        until_measured(address, told).await;
        if suspended {
            assert_eq!(rucio.rule(&rule).await.unwrap().state, RuleState::Suspended);
        } else {
            until_measured(address, "dl0_ingest_boosted_rules_total 1").await;
        }
        daemon.stop().await;
    }
}
