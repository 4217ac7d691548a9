//! Ending rules, and what the reaper makes of it.

use serde_json::json;

use crate::stack::{ONSITE, Stack, did_path};

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
