//! Rucio's database: away for a while, and without the tokens it had.

use std::time::Duration;

use crate::e2e::shift::Shift;

/// Rucio's daemons end with their database and are started again; its server answers 500 to everything.
#[tokio::test(flavor = "multi_thread")]
async fn files_wait_while_rucios_database_is_down_and_flow_again_when_it_is_back() {
    let mut shift = Shift::begin().await;
    shift.deliver_some(3, Duration::from_secs(1)).await;
    let stack = shift.stack.clone();
    let outage = tokio::task::block_in_place(|| stack.without("pg"));
    shift.deliver();
    shift.until("the daemon has noticed", |shift| shift.daemon.measures("dl0_ingest_rucio_up 0")).await;
    shift.deliver_some(2, Duration::from_secs(10)).await;
    shift.nobody_is_blamed();
    tokio::task::block_in_place(|| drop(outage));
    shift.until("the daemon has noticed that it is back", |shift| shift.daemon.measures("dl0_ingest_rucio_up 1")).await;
    shift.end().await;
}

/// Whether Rucio has forgotten a token or ended it before its time, the daemon logs in again, and no file hears of it.
/// (Each process of Rucio's server remembers a token for 15 minutes, so it is restarted.)
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_rucio_has_revoked_or_ended_early_is_replaced() {
    let mut shift = Shift::begin().await;
    shift.deliver();
    let (stack, ours) = (shift.stack.clone(), shift.rucio.token.clone());
    let ended = "update tokens set expired_at = now() at time zone 'utc' - interval '1 minute'";
    for statement in [ended, "delete from tokens"] {
        let before = refused(&shift);
        shift.deliver();
        tokio::task::block_in_place(|| {
            let outage = stack.without("rest");
            let rows = stack.database(&format!("{statement} where account = 'ingest' and token <> '{ours}'"));
            assert!(rows > 0, "the daemon had a token");
            drop(outage);
        });
        shift.deliver();
        shift.until("a token is refused", |shift| refused(shift) > before).await;
    }
    shift.end().await;
}

/// How many requests Rucio has refused for their token.
fn refused(shift: &Shift) -> usize {
    let metrics = shift.daemon.get("/metrics").unwrap_or_default();
    let requests = metrics.lines().filter(|line| line.starts_with("dl0_ingest_rucio_requests_total"));
    let refused = requests.filter(|line| line.contains("outcome=\"login\""));
    refused.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}
