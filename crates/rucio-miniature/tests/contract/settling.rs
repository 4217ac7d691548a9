//! What settling a dataset rests on: one rule takes over the locks of others, whose end then changes nothing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::stack::{ONSITE, SCOPE, Stack, new_rule};

async fn place(stack: &Stack, names: &[&str], expression: &str, changes: &[(&str, Value)]) -> Vec<String> {
    let mut body = new_rule(names, expression);
    for (key, value) in changes {
        body[*key] = value.clone();
    }
    serde_json::from_str(&stack.ingest.post("/rules/", &body).await.expect(201).body).unwrap()
}

/// File to RSE and state of its lock.
async fn locks(stack: &Stack, rule: &str) -> BTreeMap<String, (String, String)> {
    let lines = stack.ingest.get(&format!("/rules/{rule}/locks")).await.expect(200).lines();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    lines.iter().map(|lock| (text(&lock["name"]), (text(&lock["rse"]), text(&lock["state"])))).collect()
}

async fn retire(stack: &Stack, rule: &str) {
    let body = json!({"options": {"lifetime": 0, "purge_replicas": false}});
    stack.ingest.put(&format!("/rules/{rule}"), &body).await.expect(200);
    stack
        .eventually("a retired rule is gone", async || {
            (stack.ingest.get(&format!("/rules/{rule}")).await.status == 404).then_some(())
        })
        .await;
}

fn at(rse: &str) -> (String, String) {
    (rse.to_owned(), "OK".to_owned())
}

pub(crate) async fn a_dataset_rule_takes_over_at_once_and_leaves_two_rules(stack: &Stack) {
    let (dataset, [a, b]) = stack.registered().await;
    let keep = stack.rule(&[&a.name, &b.name], ONSITE).await;
    let first = stack.rule(&[&dataset], "STORAGE-3").await.remove(0);
    stack.rule_is(&first, "OK").await;
    let from_first = [("source_replica_expression", json!("STORAGE-3")), ("grouping", json!("NONE"))];
    let own = place(stack, &[&a.name, &b.name], r"OFFSITE\STORAGE-3", &from_first).await;
    for rule in &own {
        stack.rule_is(rule, "OK").await;
    }
    let all = stack.rule(&[&dataset], "STORAGE-2").await.remove(0);
    // nothing to wait for: the copies are there
    let row = stack.rule_row(&all).await;
    assert_eq!((&row["state"], &row["locks_ok_cnt"]), (&json!("OK"), &json!(2)));
    assert_eq!(locks(stack, &all).await, BTreeMap::from([&a, &b].map(|file| (file.name.clone(), at("STORAGE-2")))));
    for id in &keep {
        stack.end(id).await;
    }
    for rule in &own {
        retire(stack, rule).await;
    }
    stack
        .eventually("the on-site copies are gone", async || (!a.path.exists() && !b.path.exists()).then_some(()))
        .await;
    // the reaper has been here
    for file in [&a, &b] {
        assert_eq!(stack.off_site(&file.name).await, ["STORAGE-2", "STORAGE-3"]);
        let rules =
            stack.ingest.get(&format!("{}/rules", crate::stack::did_path(&file.name))).await.expect(200).lines();
        assert!(rules.is_empty(), "{rules:?}");
    }
    for (rule, rse) in [(&first, "STORAGE-3"), (&all, "STORAGE-2")] {
        let row = stack.rule_row(rule).await;
        assert_eq!((&row["state"], &row["locks_ok_cnt"]), (&json!("OK"), &json!(2)));
        assert!(locks(stack, rule).await.values().all(|lock| *lock == at(rse)));
    }
    let filter = format!("/rules/?scope={SCOPE}&name={}", crate::client::encode(&dataset));
    assert_eq!(stack.ingest.get(&filter).await.expect(200).lines().len(), 2);
}

/// Each file is locked where it lies, and nothing is copied.
pub(crate) async fn a_dataset_rule_over_several_places_locks_each_file_where_it_lies(stack: &Stack) {
    let (dataset, files) = stack.registered::<8>().await;
    let place_of = |n: usize| if n.is_multiple_of(2) { "STORAGE-2" } else { "STORAGE-3" };
    for (n, file) in files.iter().enumerate() {
        let rule = stack.rule(&[&file.name], place_of(n)).await.remove(0);
        stack.rule_is(&rule, "OK").await;
    }
    let all = place(stack, &[&dataset], "(STORAGE-2|STORAGE-3)", &[("grouping", json!("NONE"))]).await.remove(0);
    let row = stack.rule_row(&all).await;
    assert_eq!((&row["state"], &row["locks_ok_cnt"]), (&json!("OK"), &json!(8)));
    let expected: BTreeMap<_, _> =
        files.iter().enumerate().map(|(n, file)| (file.name.clone(), at(place_of(n)))).collect();
    assert_eq!(locks(stack, &all).await, expected);
    for (n, file) in files.iter().enumerate() {
        assert_eq!(stack.off_site(&file.name).await, [place_of(n)]);
    }
}

pub(crate) async fn a_late_file_of_a_dataset_with_two_rules_gets_both_copies(stack: &Stack) {
    let (dataset, [_]) = stack.registered().await;
    let rules =
        [stack.rule(&[&dataset], "STORAGE-2").await.remove(0), stack.rule(&[&dataset], "STORAGE-3").await.remove(0)];
    for rule in &rules {
        stack.rule_is(rule, "OK").await;
    }
    let late = stack.write_file(&dataset, "late.fits");
    stack.register(&dataset, &[&late]).await;
    stack
        .eventually("the late file has both copies", async || {
            (stack.off_site(&late.name).await.len() == 2).then_some(())
        })
        .await;
    for rule in &rules {
        assert_eq!(locks(stack, rule).await[&late.name].1, "OK");
    }
    // its own rule, placed as ever, locks what is there
    let mut own = new_rule(&[&late.name], r"OFFSITE\STORAGE-3");
    own["source_replica_expression"] = "STORAGE-3".into();
    let own = stack.ingest.post("/rules/", &own).await.expect(201).json()[0].as_str().unwrap().to_owned();
    assert_eq!(locks(stack, &own).await, BTreeMap::from([(late.name, at("STORAGE-2"))]));
}

pub(crate) async fn the_end_of_a_rule_can_be_taken_away(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let rule = stack.rule(&[&file.name], ONSITE).await.remove(0);
    let path = format!("/rules/{rule}");
    stack.ingest.delete(&path, &json!({})).await.expect(200);
    assert!(stack.rule_row(&rule).await["expires_at"].is_string());
    stack.ingest.put(&path, &json!({"options": {"lifetime": null}})).await.expect(200);
    let row = stack.rule_row(&rule).await;
    assert_eq!((&row["expires_at"], &row["locks_ok_cnt"]), (&Value::Null, &json!(1)));
}

pub(crate) async fn a_suspended_rule_keeps_its_locks_and_gets_no_new_ones_until_it_is_set_to_stuck(stack: &Stack) {
    let (dataset, [old]) = stack.registered().await;
    let rules =
        [stack.rule(&[&dataset], "STORAGE-2").await.remove(0), stack.rule(&[&dataset], "STORAGE-3").await.remove(0)];
    for rule in &rules {
        stack.rule_is(rule, "OK").await;
    }
    let [stopped, other] = &rules;
    let path = format!("/rules/{stopped}");
    stack.ingest.put(&path, &json!({"options": {"state": "SUSPENDED"}})).await.expect(200);
    assert_eq!(stack.rule_row(stopped).await["state"], "SUSPENDED");
    let late = stack.write_file(&dataset, "late.fits");
    stack.register(&dataset, &[&late]).await;
    stack
        .eventually("the other rule has followed", async || (locks(stack, other).await.len() == 2).then_some(()))
        .await;
    assert_eq!(locks(stack, stopped).await, BTreeMap::from([(old.name.clone(), at("STORAGE-2"))]));
    stack.ingest.put(&path, &json!({"options": {"state": "STUCK", "boost_rule": true}})).await.expect(200);
    stack.rule_is(stopped, "OK").await;
    stack
        .eventually("the late file is locked", async || {
            (locks(stack, stopped).await.get(&late.name) == Some(&at("STORAGE-2"))).then_some(())
        })
        .await;
}
