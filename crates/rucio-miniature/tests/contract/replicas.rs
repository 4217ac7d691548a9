//! `POST /replicas/list`.

use serde_json::{Value, json};

use crate::stack::{ONSITE, Stack, did, fresh_name, new_rule};

async fn list(stack: &Stack, body: Value) -> Vec<Value> {
    stack.ingest.post("/replicas/list", &body).await.expect(200).lines()
}

pub(crate) async fn an_unknown_did_gives_no_line(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let found = list(stack, json!({"dids": [did(&fresh_name()), file.did()]})).await;
    assert_eq!(found.len(), 1);
    let line = &found[0];
    assert_eq!((&line["name"], &line["bytes"]), (&json!(file.name), &json!(file.bytes)));
    assert_eq!((&line["adler32"], &line["states"]), (&json!(file.adler32), &json!({ONSITE: "AVAILABLE"})));
    assert!(list(stack, json!({"dids": [did(&fresh_name())], "all_states": true})).await.is_empty());
    assert!(list(stack, json!({"dids": []})).await.is_empty());
}

/// The row of a destination exists, checksum and all, before a byte was copied: here forever, for want of a source.
pub(crate) async fn copies_that_are_not_there_yet_show_with_all_states_only(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let mut rule = new_rule(&[&file.name], "STORAGE-2");
    rule["source_replica_expression"] = "STORAGE-3".into();
    stack.ingest.post("/rules/", &rule).await.expect(201);
    let found = list(stack, json!({"dids": [file.did()]})).await;
    assert_eq!(found[0]["states"], json!({ONSITE: "AVAILABLE"}));
    let found = list(stack, json!({"dids": [file.did()], "all_states": true})).await;
    assert_eq!(found[0]["states"], json!({ONSITE: "AVAILABLE", "STORAGE-2": "UNAVAILABLE"}));
    let found = list(stack, json!({"dids": [file.did()], "all_states": true, "rse_expression": "STORAGE-2"})).await;
    assert_eq!(found[0]["adler32"], file.adler32);
}

pub(crate) async fn an_expression_restricts_the_copies_and_not_the_files(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let found = list(stack, json!({"dids": [file.did()], "rse_expression": "OFFSITE"})).await;
    assert_eq!((found.len(), &found[0]["states"], &found[0]["rses"]), (1, &json!({}), &json!({})));
    let found = list(stack, json!({"dids": [file.did()], "rse_expression": "ONSITE"})).await;
    assert_eq!(found[0]["states"], json!({ONSITE: "AVAILABLE"}));
}

pub(crate) async fn pfns_are_given_for_the_schemes_asked_for(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let found = list(stack, json!({"dids": [file.did()], "schemes": ["davs", "https", "dav", "http"]})).await;
    let pfns = found[0]["rses"][ONSITE].as_array().unwrap();
    assert_eq!(pfns.len(), 1, "{pfns:?}");
    let pfn = pfns[0].as_str().unwrap();
    assert!(pfn.starts_with("dav") && pfn.ends_with(&file.name), "{pfn}");
    assert_eq!(found[0]["pfns"][pfn]["rse"], ONSITE);
    let found = list(stack, json!({"dids": [file.did()], "schemes": ["gsiftp"]})).await;
    assert_eq!((&found[0]["rses"], &found[0]["pfns"]), (&json!({}), &json!({})));
    assert_eq!(found[0]["states"], json!({ONSITE: "AVAILABLE"}));
}

pub(crate) async fn a_dataset_lists_its_files(stack: &Stack) {
    let (dataset, [_, _]) = stack.registered().await;
    assert_eq!(list(stack, json!({"dids": [did(&dataset)]})).await.len(), 2);
    let off_site = json!({"dids": [did(&dataset)], "rse_expression": "OFFSITE"});
    assert!(list(stack, off_site).await.is_empty());
}

pub(crate) async fn what_replicas_list_refuses(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let refuse = async |body: Value| stack.ingest.post("/replicas/list", &body).await;
    refuse(json!({"dids": vec![file.did(); 1001]})).await.refused(400, "InvalidObject");
    let wrong = json!({"dids": [file.did()], "rse_expression": "A&&B"});
    refuse(wrong).await.refused(500, "InvalidRSEExpression");
    let empty = json!({"dids": [file.did()], "rse_expression": r"OFFSITE\OFFSITE"});
    refuse(empty).await.refused(500, "InvalidRSEExpression");
}
