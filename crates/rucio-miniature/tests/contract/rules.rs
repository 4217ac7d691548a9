//! Placing, reading, changing and ending rules, without waiting for what they do.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::client::{Answer, encode};
use crate::stack::{ONSITE, SCOPE, Stack, did, did_path, fresh_name, new_rule};

const UNKNOWN: &str = "00000000000000000000000000000000";

async fn place(stack: &Stack, names: &[&str], expression: &str, changes: &[(&str, Value)]) -> Answer {
    let mut body = new_rule(names, expression);
    for (key, value) in changes {
        body[*key] = value.clone();
    }
    stack.ingest.post("/rules/", &body).await
}

async fn rules_on(stack: &Stack, name: &str) -> Vec<Value> {
    stack.ingest.get(&format!("{}/rules", did_path(name))).await.expect(200).lines()
}

pub(crate) async fn ids_come_in_the_order_of_the_dids_and_locks_at_once(stack: &Stack) {
    let (_, [a, b, c]) = stack.registered().await;
    let names = [c.name.as_str(), &a.name, &b.name];
    let ids = stack.rule(&names, ONSITE).await;
    assert_eq!(ids.len(), 3);
    for (id, name) in ids.iter().zip(names) {
        let row = stack.rule_row(id).await;
        assert_eq!((&row["name"], &row["state"], &row["locks_ok_cnt"]), (&json!(name), &json!("OK"), &json!(1)));
        let locks = stack.ingest.get(&format!("/rules/{id}/locks")).await.expect(200).lines();
        assert_eq!(locks.len(), 1);
        let lock = (&locks[0]["scope"], &locks[0]["name"], &locks[0]["rse"], &locks[0]["state"]);
        assert_eq!(lock, (&json!(SCOPE), &json!(name), &json!(ONSITE), &json!("OK")));
    }
}

pub(crate) async fn a_rule_tells_all_we_read(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let meta = json!({"signed_by": "somebody"});
    let changes = [
        ("comment", json!("why")),
        ("activity", json!("Express")),
        ("grouping", json!("NONE")),
        ("meta", json!(meta.to_string())),
    ];
    let id = &place(stack, &[&file.name], ONSITE, &changes).await.expect(201).json()[0];
    let row = stack.rule_row(id.as_str().unwrap()).await;
    for (key, expected) in [
        ("id", id.clone()),
        ("scope", json!(SCOPE)),
        ("name", json!(file.name)),
        ("did_type", json!("FILE")),
        ("account", json!("ingest")),
        ("rse_expression", json!(ONSITE)),
        ("copies", json!(1)),
        ("state", json!("OK")),
        ("error", json!(null)),
        ("expires_at", json!(null)),
        ("locks_ok_cnt", json!(1)),
        ("locks_replicating_cnt", json!(0)),
        ("locks_stuck_cnt", json!(0)),
        ("source_replica_expression", json!(null)),
        ("activity", json!("Express")),
        ("comments", json!("why")),
        ("grouping", json!("NONE")),
        ("purge_replicas", json!(false)),
        ("locked", json!(false)),
        ("stuck_at", json!(null)),
    ] {
        assert_eq!(row[key], expected, "{key}");
    }
    // text, kept as the JSON of that text
    let kept: String = serde_json::from_str(row["meta"].as_str().unwrap()).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&kept).unwrap(), meta);
    let no_text = place(stack, &[&file.name], "STORAGE-2", &[("meta", meta)]).await;
    no_text.refused(409, "InvalidObject");
}

pub(crate) async fn a_duplicate_fails_the_whole_call(stack: &Stack) {
    let (_, [a, b]) = stack.registered().await;
    stack.rule(&[&a.name], ONSITE).await;
    place(stack, &[&b.name, &a.name], ONSITE, &[]).await.refused(409, "DuplicateRule");
    assert!(rules_on(stack, &b.name).await.is_empty());
    place(stack, &[&b.name, &b.name], ONSITE, &[]).await.refused(409, "DuplicateRule");
    assert!(rules_on(stack, &b.name).await.is_empty());
}

pub(crate) async fn a_source_expression_does_not_make_another_rule(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    stack.rule(&[&file.name], ONSITE).await;
    let source = [("source_replica_expression", json!("OFFSITE"))];
    place(stack, &[&file.name], ONSITE, &source).await.refused(409, "DuplicateRule");
    place(stack, &[&file.name], "ONSITE", &[]).await.expect(201);
}

pub(crate) async fn what_cannot_be_placed_is_409(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let name = [file.name.as_str()];
    place(stack, &name, "OFFSITE", &[("copies", json!(3))]).await.refused(409, "InsufficientTargetRSEs");
    place(stack, &name, r"OFFSITE\OFFSITE", &[]).await.refused(409, "InvalidRSEExpression");
    place(stack, &name, "A&&B", &[]).await.refused(409, "InvalidRSEExpression");
    place(stack, &name, ONSITE, &[("grouping", json!("SOME"))]).await.refused(409, "InvalidObject");
    place(stack, &name, ONSITE, &[("activity", json!("Sleeping"))]).await.refused(409, "InvalidObject");
    place(stack, &name, ONSITE, &[("comment", json!("c".repeat(251)))]).await.refused(409, "InvalidObject");
    assert!(rules_on(stack, &file.name).await.is_empty());
}

pub(crate) async fn what_rucio_forbids_or_does_not_know_when_placing(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let unknown = fresh_name();
    let answer = place(stack, &[&file.name, &unknown], ONSITE, &[]).await;
    answer.refused(404, "DataIdentifierNotFound");
    assert!(rules_on(stack, &file.name).await.is_empty());
    let body = new_rule(&[&file.name], ONSITE);
    stack.plain.post("/rules/", &body).await.refused(500, "AccessDenied");
    let mut own = body;
    own["account"] = "plain".into();
    stack.plain.post("/rules/", &own).await.refused(409, "InsufficientAccountLimit");
    place(stack, &[&file.name], ONSITE, &[("copies", json!(0))]).await.refused(500, "InvalidValueForKey");
    let nowhere = [("source_replica_expression", json!("NOWHERE"))];
    let answer = place(stack, &[&file.name], "OFFSITE", &nowhere).await.expect(500);
    assert_eq!(answer.header("ExceptionClass"), "", "Rucio loses the class of a wrong source expression");
}

pub(crate) async fn the_rules_that_hold_a_file_are_listed_whatever_they_are_on_and_whosever_they_are(stack: &Stack) {
    let (dataset, [file, other]) = stack.registered().await;
    let of_file = stack.rule(&[&file.name], ONSITE).await.remove(0);
    stack.rule(&[&other.name], ONSITE).await;
    let of_dataset = stack.rule(&[&dataset], "ONSITE").await.remove(0);
    stack.rule_is(&of_dataset, "OK").await;
    let path = format!("{}/associated_rules", did_path(&file.name));
    let rows = stack.plain.get(&path).await.expect(200).lines();
    let mut found: Vec<_> = rows.iter().map(|row| (&row["id"], &row["account"], &row["expires_at"])).collect();
    found.sort_by_key(|(id, ..)| **id != json!(of_file));
    let ours = json!("ingest");
    assert_eq!(found, [(&json!(of_file), &ours, &Value::Null), (&json!(of_dataset), &ours, &Value::Null)]);
    let unknown = format!("{}/associated_rules", did_path(&fresh_name()));
    stack.ingest.get(&unknown).await.refused(404, "DataIdentifierNotFound");
}

pub(crate) async fn rules_are_found_by_did_and_by_filter(stack: &Stack) {
    let (dataset, [file]) = stack.registered().await;
    let ids = [stack.rule(&[&file.name], ONSITE).await.remove(0), stack.rule(&[&file.name], "ONSITE").await.remove(0)];
    let mut found: Vec<_> =
        rules_on(stack, &file.name).await.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    found.sort();
    let mut expected = ids.to_vec();
    expected.sort();
    assert_eq!(found, expected);
    assert!(rules_on(stack, &dataset).await.is_empty());
    let unknown = format!("{}/rules", did_path(&fresh_name()));
    stack.ingest.get(&unknown).await.refused(404, "DataIdentifierNotFound");
    let filter = async |query: String| stack.ingest.get(&format!("/rules/?{query}")).await.expect(200).lines().len();
    let name = format!("scope={SCOPE}&name={}", encode(&file.name));
    assert_eq!(filter(name.clone()).await, 2);
    assert_eq!(filter(format!("{name}&account=ingest&state=O&rse_expression=ONSITE")).await, 1);
    assert_eq!(filter(format!("{name}&state=S")).await, 0);
    assert_eq!(filter(format!("{name}&account=plain")).await, 0);
    stack.ingest.get(&format!("/rules/?{name}&state=OK")).await.expect(500);
}

pub(crate) async fn an_unknown_rule_is_404_and_has_no_locks(stack: &Stack) {
    stack.ingest.get(&format!("/rules/{UNKNOWN}")).await.refused(404, "RuleNotFound");
    assert!(stack.ingest.get(&format!("/rules/{UNKNOWN}/locks")).await.expect(200).lines().is_empty());
    let body = json!({"options": {"comment": "x"}});
    stack.ingest.put(&format!("/rules/{UNKNOWN}"), &body).await.refused(404, "RuleNotFound");
    stack.ingest.delete(&format!("/rules/{UNKNOWN}"), &json!({})).await.refused(404, "RuleNotFound");
    stack.ingest.get("/rules/no-id").await.refused(500, "RucioException");
}

pub(crate) async fn a_change_needs_rights_and_known_options(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let id = stack.rule(&[&file.name], ONSITE).await.remove(0);
    let path = format!("/rules/{id}");
    let end = json!({"options": {"lifetime": 0, "purge_replicas": true}});
    stack.plain.put(&path, &end).await.refused(401, "AccessDenied");
    stack.plain.delete(&path, &json!({})).await.refused(401, "AccessDenied");
    let nonsense = json!({"options": {"nonsense": 1}});
    stack.ingest.put(&path, &nonsense).await.refused(409, "InputValidationError");
    let sound = json!({"options": {"comment": "new", "priority": 4, "boost_rule": true}});
    stack.ingest.put(&path, &sound).await.expect(200);
    let row = stack.rule_row(&id).await;
    assert_eq!((&row["comments"], &row["priority"], &row["expires_at"]), (&json!("new"), &json!(4), &json!(null)));
}

pub(crate) async fn delete_only_sets_the_end_one_hour_from_now(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let id = stack.rule(&[&file.name], ONSITE).await.remove(0);
    stack.ingest.delete(&format!("/rules/{id}"), &json!({"purge_replicas": true})).await.expect(200);
    let row = stack.rule_row(&id).await;
    let end = row["expires_at"].as_str().unwrap().replace("UTC", "GMT");
    let left = httpdate::parse_http_date(&end).unwrap().duration_since(SystemTime::now()).unwrap();
    assert!((Duration::from_mins(59)..=Duration::from_hours(1)).contains(&left), "{left:?}");
    assert_eq!(row["purge_replicas"], true);
    assert_eq!(did(&file.name), file.did());
    stack.get_did(&file.name).await.expect(200);
}

pub(crate) async fn a_locked_rule_cannot_be_deleted(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let id = place(stack, &[&file.name], ONSITE, &[("locked", json!(true))]).await.expect(201).json()[0].clone();
    let path = format!("/rules/{}", id.as_str().unwrap());
    stack.ingest.delete(&path, &json!({})).await.refused(401, "UnsupportedOperation");
    stack.ingest.put(&path, &json!({"options": {"locked": false}})).await.expect(200);
    stack.ingest.delete(&path, &json!({})).await.expect(200);
}
