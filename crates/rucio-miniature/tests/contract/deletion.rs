//! Ending rules, and what the reaper makes of it.

use serde_json::{Value, json};

use crate::stack::{File, ONSITE, SCOPE, Stack, attachment, did, did_path};

pub(crate) async fn ending_the_on_site_rule_with_purge_deletes_the_file_there_and_only_there(stack: &Stack) {
    let (dataset, [file]) = stack.registered().await;
    let keep = stack.rule(&[&file.name], ONSITE).await.remove(0);
    let away = stack.rule(&[&dataset], "STORAGE-3").await.remove(0);
    stack.rule_is(&away, "OK").await;
    stack.end(&keep).await;
    stack
        .eventually("the on-site replica is gone", async || {
            (!stack.states(&file.name).await.contains_key(ONSITE)).then_some(())
        })
        .await;
    assert!(!file.path.exists());
    stack.ingest.get(&format!("/rules/{keep}")).await.refused(404, "RuleNotFound");
    assert_eq!(stack.states(&file.name).await, *json!({"STORAGE-3": "AVAILABLE"}).as_object().unwrap());
    assert_eq!(std::fs::read(stack.path("STORAGE-3", &file.name)).unwrap(), file.content);
    let inside = stack.ingest.get(&format!("{}/dids", did_path(&dataset))).await.expect(200).lines();
    assert_eq!(inside.len(), 1);
}

/// The reason for all our caution.
pub(crate) async fn nothing_protects_the_last_copy(stack: &Stack) {
    let (dataset, [file]) = stack.registered().await;
    let keep = stack.rule(&[&file.name], ONSITE).await.remove(0);
    stack.end(&keep).await;
    stack.eventually("the file is gone", async || (!file.path.exists()).then_some(())).await;
    stack.eventually("the DID is gone", async || (stack.get_did(&file.name).await.status == 404).then_some(())).await;
    assert!(stack.states(&file.name).await.is_empty());
    let inside = stack.ingest.get(&format!("{}/dids", did_path(&dataset))).await.expect(200).lines();
    assert!(inside.is_empty(), "{inside:?}");
}

pub(crate) async fn another_rule_keeps_the_file(stack: &Stack) {
    let (_, [file, gone]) = stack.registered().await;
    let first = stack.rule(&[&file.name, &gone.name], ONSITE).await;
    let second = stack.rule(&[&file.name], "ONSITE").await.remove(0);
    for id in &first {
        stack.end(id).await;
    }
    // when the other file has gone, the reaper has been here
    stack.eventually("the unprotected file is gone", async || (!gone.path.exists()).then_some(())).await;
    assert!(file.path.exists());
    assert_eq!(stack.states(&file.name).await[ONSITE], "AVAILABLE");
    let row = stack.rule_row(&second).await;
    assert_eq!((&row["state"], &row["locks_ok_cnt"]), (&json!("OK"), &json!(1)));
}

fn declaration(file: &File) -> Value {
    json!({ "replicas": [{"scope": SCOPE, "name": file.name, "rse": ONSITE}], "reason": "contract" })
}

/// What became of the declaration about a file.
async fn declared(stack: &Stack, file: &File) -> Vec<Value> {
    let states = format!("/replicas/bad/states?rse={ONSITE}&younger_than=2026-01-01T00%3A00%3A00.0");
    let lines = stack.ingest.get(&states).await.expect(200).lines();
    lines.into_iter().filter(|line| line["name"] == *file.name).map(|line| line["state"].clone()).collect()
}

/// One behaviour: the necromancer goes through everything that is bad.
pub(crate) async fn what_is_declared_bad_can_be_taken_back_and_is_deleted_or_copied_again_if_not(stack: &Stack) {
    let (dataset, [taken_back, lost, copied]) = stack.registered().await;
    let keep = stack.rule(&[&taken_back.name, &lost.name, &copied.name], ONSITE).await;
    let off_site = stack.rule(&[&copied.name], "STORAGE-3").await.remove(0);
    stack.rule_is(&off_site, "OK").await;
    // other administrators may not
    stack.ingest.post("/replicas/bad", &declaration(&lost)).await.refused(401, "AccessDenied");
    let root = stack.root().await;
    for file in [&taken_back, &lost, &copied] {
        root.post("/replicas/bad", &declaration(file)).await.expect(201);
        assert_eq!(stack.states(&file.name).await[ONSITE], "BAD");
        assert_eq!(declared(stack, file).await, ["BAD"]);
    }
    let available = json!({ "rse": ONSITE, "files": [{"scope": SCOPE, "name": taken_back.name, "state": "A"}] });
    stack.plain.put("/replicas", &available).await.refused(401, "AccessDenied");
    stack.ingest.put("/replicas", &available).await.expect(200);
    assert_eq!(stack.states(&taken_back.name).await[ONSITE], "AVAILABLE");
    assert_eq!(declared(stack, &taken_back).await, ["RECOVERED"]);

    stack.bury_the_bad();
    assert!(taken_back.path.exists());
    assert_eq!(stack.rule_row(&keep[0]).await["locks_ok_cnt"], 1);
    // the only copy goes, whatever protects it
    stack.eventually("the file is deleted", async || (!lost.path.exists()).then_some(())).await;
    assert_eq!(declared(stack, &lost).await, ["LOST"]);
    let rule = stack.rule_row(&keep[1]).await;
    assert_eq!((&rule["state"], &rule["locks_ok_cnt"]), (&json!("OK"), &json!(0)), "and the rule looks well");
    let inside = stack.ingest.get(&format!("{}/dids", did_path(&dataset))).await.expect(200).lines();
    assert_eq!(inside.len(), 2, "it is out of its dataset");
    let again = attachment(&dataset, None, &[did(&lost.name)]);
    stack.ingest.post("/dids/attachments", &again).await.refused(409, "UnsupportedOperation");
    // what has another copy is copied over what lies there
    let is_back = async || (stack.states(&copied.name).await[ONSITE] == "AVAILABLE").then_some(());
    stack.eventually("the copy on site is made again", is_back).await;
    assert_eq!(std::fs::read(&copied.path).unwrap(), copied.content);
}
