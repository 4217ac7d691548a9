//! Answers that go wrong between the daemon and a real Rucio.

use std::time::{Duration, Instant};

use rand::RngExt as _;
use rucio_miniature::{Answer, Endpoint, Outage};

use crate::e2e::shift::Shift;

const DATABASE_AWAY: Answer =
    Answer::Refuse { status: 500, class: "DatabaseException", message: "An unknown Database Exception has occurred." };

/// The calls of a file's road, each with the number of its answers that a test spoils: no more than there are.
const CALLS: [(Endpoint, usize); 11] = [
    (Endpoint::AuthUserpass, 1),
    (Endpoint::AccountAttributes, 1),
    (Endpoint::Rses, 2),
    (Endpoint::RseAttributes, 2),
    (Endpoint::AddDids, 1),
    (Endpoint::Attach, 2),
    (Endpoint::AddRules, 2),
    (Endpoint::Replicas, 3),
    (Endpoint::Rule, 1),
    (Endpoint::RuleLocks, 1),
    (Endpoint::UpdateRule, 2),
];

/// Work that was done without Rucio's saying so is found done: no rule twice, no file lost.
#[tokio::test(flavor = "multi_thread")]
async fn answers_lost_after_the_work_double_nothing_and_lose_nothing() {
    each_call_spoilt_by(&[Answer::Lost]).await;
}

/// Half an answer and nonsense with status 200 are no answers, whatever was asked, and not even when work was to be done.
#[tokio::test(flavor = "multi_thread")]
async fn half_answers_and_garbage_are_taken_for_nothing() {
    each_call_spoilt_by(&[Answer::Truncated, Answer::Garbage]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_500_and_broken_connections_cost_time_and_nothing_else() {
    each_call_spoilt_by(&[DATABASE_AWAY, Answer::HangUp]).await;
}

async fn each_call_spoilt_by(ways: &[Answer]) {
    let (mut shift, proxy) = Shift::behind_a_proxy(|faults| {
        for (endpoint, count) in CALLS {
            for way in ways {
                faults.answer(endpoint, count, way);
            }
        }
    })
    .await;
    shift.deliver_some(3, Duration::ZERO).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    shift.deliver_some(4, Duration::from_millis(300)).await;
    let planned: u64 = CALLS.iter().map(|(_, count)| (count * ways.len()) as u64).sum();
    shift.until("all faults have struck", |_| proxy.spoilt() == planned).await;
    shift.end().await;
}

/// A fifth of all answers goes wrong, in any way, from start to end; files come for `DL0_INGEST_FAULT_SECONDS`.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_fifth_of_all_answers_wrong_no_file_is_lost_and_no_rule_is_doubled() {
    let wished = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = wished("DL0_INGEST_FAULT_SEED").unwrap_or_else(|| rand::rng().random());
    let lasts = Duration::from_secs(wished("DL0_INGEST_FAULT_SECONDS").unwrap_or(10));
    println!("DL0_INGEST_FAULT_SEED={seed}, for {} s", lasts.as_secs());
    let ways = [
        Answer::Status(500),
        Answer::Status(503),
        DATABASE_AWAY,
        Answer::Garbage,
        Answer::Truncated,
        Answer::Lost,
        Answer::HangUp,
        Answer::Delay(Duration::from_secs(1)),
        // longer than the daemon waits
        Answer::Delay(Duration::from_secs(5)),
    ];
    let (shift, proxy) = Shift::behind_a_proxy(|faults| faults.answers_percent(20, seed, &ways)).await;
    let end = Instant::now() + lasts;
    while Instant::now() < end {
        shift.deliver_some(3, Duration::from_millis(300)).await;
    }
    shift.end().await;
    println!("spoilt: {:?}", proxy.faults().spoilt());
    assert!(proxy.spoilt() > 10, "{:?}", proxy.faults().spoilt());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_rucio_makes_everything_later_and_nothing_fail() {
    let (shift, proxy) = Shift::behind_a_proxy(|faults| {
        faults.answers_percent(100, 0, &[Answer::Delay(Duration::from_millis(600))]);
    })
    .await;
    shift.deliver_some(4, Duration::from_millis(200)).await;
    let log = shift.end().await;
    assert!(!log.contains("out of reach") && !log.contains("trying again"), "{log}");
    assert!(proxy.spoilt() > 10);
}

/// Three ways to be away: no answer, a proxy without a backend, a closed port. Files wait in each and flow after it.
#[tokio::test(flavor = "multi_thread")]
async fn files_wait_whether_rucio_hangs_says_503_or_refuses_and_flow_when_it_is_back() {
    let (mut shift, proxy) = Shift::behind_a_proxy(|_| {}).await;
    for outage in [Outage::Hang, Outage::Unavailable, Outage::Refuse] {
        shift.deliver_some(2, Duration::from_millis(300)).await;
        proxy.faults().rucio_down(outage);
        shift.deliver();
        shift.until(&format!("{outage:?} is noticed"), |shift| shift.daemon.measures("dl0_ingest_rucio_up 0")).await;
        shift.deliver();
        let unready = |answer: String| answer.starts_with("HTTP/1.1 503") && answer.contains("rucio");
        shift.until("readiness tells it", |shift| shift.daemon.get("/readyz").is_ok_and(unready)).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        shift.nobody_is_blamed();
        proxy.faults().rucio_up();
        shift.until("Rucio is back", |shift| shift.daemon.measures("dl0_ingest_rucio_up 1")).await;
    }
    let log = shift.end().await;
    for words in ["Rucio is out of reach; everything that needs it waits", "Rucio answers again; work goes on"] {
        assert_eq!(log.matches(words).count(), 3, "one line each for the begin and the end of an outage:\n{log}");
    }
}
