//! Rules that somebody else ends, limits or suspends while files are on their road.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::e2e::outcome::{wait_for, wait_for_state};
use crate::e2e::shift::Shift;

const PATIENCE: Duration = Duration::from_secs(90);

/// The rules on a DID that `is_it` picks.
async fn rules(shift: &Shift, name: &str, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
    shift.rucio.rules(name).await.into_iter().filter(is_it).collect()
}

fn id(rule: &Value) -> String {
    rule["id"].as_str().unwrap().to_owned()
}

/// Waits until a DID has a rule that is as it should be.
async fn until_rule(shift: &mut Shift, what: &str, name: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let rucio = shift.rucio.clone();
    wait_for(what, PATIENCE, &mut shift.daemon, async || rucio.rules(name).await.iter().any(&is_it)).await;
    rucio.rules(name).await.into_iter().find(is_it).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_given_to_the_rule_of_the_on_site_copy_is_taken_away_and_a_removed_rule_placed_again() {
    let mut shift = Shift::begin().await;
    let stack = shift.stack.clone();
    let onsite = stack.onsite().0.to_owned();
    let on_site = |rule: &Value| rule["rse_expression"] == *onsite;
    let submitter = tokio::task::block_in_place(|| stack.without("conveyor-submitter"));
    let reaper = tokio::task::block_in_place(|| stack.without("reaper"));
    let (limited, removed) = (shift.deliver(), shift.deliver());
    for (file, lifetime) in [(&limited, 3600), (&removed, 0)] {
        wait_for_state(&shift.daemon, &file.lfn, "registered").await;
        let rule = rules(&shift, &file.lfn, on_site).await.remove(0);
        assert_eq!(rule["expires_at"], Value::Null);
        shift.rucio.change_rule(&id(&rule), &json!({ "lifetime": lifetime })).await;
    }
    let rucio = shift.rucio.clone();
    wait_for("the judge to remove a rule", PATIENCE, &mut shift.daemon, async || {
        !rucio.rules(&removed.lfn).await.iter().any(on_site)
    })
    .await;
    // the round that looks after these rules is the first thing it does
    shift.daemon.kill();
    shift.daemon.run();
    for file in [&limited, &removed] {
        let lasting = |rule: &Value| on_site(rule) && rule["expires_at"].is_null();
        until_rule(&mut shift, "a lasting rule on site", &file.lfn, lasting).await;
    }
    let log = shift.daemon.log();
    for words in ["was given an end by somebody", "was removed by somebody", "protected again"] {
        assert!(log.contains(words), "the log does not say '{words}'");
    }
    tokio::task::block_in_place(|| drop((submitter, reaper)));
    shift.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_the_first_copies_that_somebody_ended_is_placed_again_and_files_go_on() {
    let mut shift = Shift::begin().await;
    let stack = shift.stack.clone();
    let reaper = tokio::task::block_in_place(|| stack.without("reaper"));
    let file = shift.deliver();
    shift.until_available(&file.lfn, 1).await;
    let finisher = tokio::task::block_in_place(|| stack.without("conveyor-finisher"));
    wait_for_state(&shift.daemon, &file.lfn, "replicated").await;
    let earlier = shift.daemon.rows().await[&file.lfn].further_copies_rule.clone().unwrap();
    let dataset = file.lfn[..file.lfn.rfind('/').unwrap()].to_owned();
    let first = until_rule(&mut shift, "the rule of first copies", &dataset, |_| true).await;
    // alive, it would take the end away before Rucio's judge comes
    shift.daemon.kill();
    shift.rucio.change_rule(&id(&first), &json!({ "lifetime": 0 })).await;
    let begun = Instant::now();
    while !rules(&shift, &dataset, |_| true).await.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the judge does not remove the rule");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    shift.daemon.run();
    until_rule(&mut shift, "another rule of first copies", &dataset, |rule| rule["expires_at"].is_null()).await;
    assert!(shift.daemon.log().contains("the rule of first copies was removed by somebody; it is placed again"));
    tokio::task::block_in_place(|| drop((finisher, reaper)));
    shift.until("the file is released", |shift| shift.daemon.states()[&file.lfn] == "released").await;
    // Rucio may have put the first copy where the further one was to come; another was asked for then, and the earlier rule
    // is for an operator to end
    if shift.daemon.rows().await[&file.lfn].further_copies_rule.as_ref() != Some(&earlier) {
        shift.rucio.change_rule(&earlier, &json!({ "lifetime": 0 })).await;
        let rucio = shift.rucio.clone();
        wait_for("the earlier rule is gone", PATIENCE, &mut shift.daemon, async || {
            !rucio.rules(&file.lfn).await.iter().any(|rule| rule["id"] == *earlier)
        })
        .await;
    }
    shift.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_further_rule_somebody_suspended_waits_until_it_goes_on_and_is_not_held() {
    let mut shift = Shift::begin().await;
    let stack = shift.stack.clone();
    let onsite = stack.onsite().0.to_owned();
    let further = |rule: &Value| rule["rse_expression"] != *onsite;
    let file = shift.deliver();
    shift.until_available(&file.lfn, 1).await;
    let finisher = tokio::task::block_in_place(|| stack.without("conveyor-finisher"));
    let rule = until_rule(&mut shift, "the rule of the further copy", &file.lfn, further).await;
    shift.rucio.change_rule(&id(&rule), &json!({ "state": "SUSPENDED" })).await;
    tokio::task::block_in_place(|| drop(finisher));
    shift.until("it is told", |shift| shift.daemon.why(&file.lfn).contains("SUSPENDED")).await;
    // longer than both looks would take
    tokio::time::sleep(Duration::from_secs(10)).await;
    shift.nobody_is_blamed();
    assert_eq!(shift.daemon.states()[&file.lfn], "replicated");
    assert!(file.path.exists());
    shift.rucio.change_rule(&id(&rule), &json!({ "state": "STUCK" })).await;
    shift.end().await;
}
