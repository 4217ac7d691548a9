//! `POST /dids/attachments` with an RSE: the one call that registers.

use serde_json::{Value, json};

use crate::stack::{ONSITE, SCOPE, Stack, attachment, did, did_path, fresh_name};

const CALL: &str = "/dids/attachments";

async fn json_meta(stack: &Stack, name: &str) -> Value {
    stack.ingest.get(&format!("{}/meta?plugin=JSON", did_path(name))).await.expect(200).json()
}

pub(crate) async fn one_call_registers_attaches_and_stores_metadata(stack: &Stack) {
    let dataset = stack.dataset().await;
    let file = stack.write_file(&dataset, "a.fits");
    let meta = json!({"obs_id": 5, "title": "Crab", "valid_fits_checksum": true, "ra": 83.633, "nothing": null});
    let mut child = file.child();
    child["meta"] = meta.clone();
    stack.ingest.post(CALL, &attachment(&dataset, Some(ONSITE), &[child])).await.expect(201);

    let row = stack.get_did(&file.name).await.expect(200).json();
    let read = (&row["type"], &row["bytes"], &row["adler32"], &row["account"]);
    assert_eq!(read, (&json!("FILE"), &json!(file.bytes), &json!(file.adler32), &json!("ingest")));
    assert_eq!(stack.states(&file.name).await, *json!({ONSITE: "AVAILABLE"}).as_object().unwrap());
    assert_eq!(json_meta(stack, &file.name).await, meta);
    let inside = stack.ingest.get(&format!("{}/dids", did_path(&dataset))).await.expect(200).lines();
    assert_eq!(inside.len(), 1);
}

pub(crate) async fn registering_again_is_fine_and_changes_nothing(stack: &Stack) {
    let (dataset, [file]) = stack.registered().await;
    assert_eq!(json_meta(stack, &file.name).await, json!({}));
    let mut child = file.child();
    child["meta"] = json!({"obs_id": 6});
    stack.ingest.post(CALL, &attachment(&dataset, Some(ONSITE), &[child])).await.expect(201);
    assert_eq!(json_meta(stack, &file.name).await, json!({}), "metadata is stored only with new DIDs");
    assert_eq!(stack.ingest.get(&format!("{}/dids", did_path(&dataset))).await.expect(200).lines().len(), 1);
}

pub(crate) async fn another_size_or_checksum_is_a_mismatch_and_nothing_is_registered(stack: &Stack) {
    let (dataset, [file]) = stack.registered().await;
    let new = stack.write_file(&dataset, "new.fits");
    for (key, value) in [("bytes", json!(file.bytes + 1)), ("adler32", json!("00000001"))] {
        let mut other = file.child();
        other[key] = value;
        let body = attachment(&dataset, Some(ONSITE), &[new.child(), other.clone()]);
        stack.ingest.post(CALL, &body).await.refused(412, "FileConsistencyMismatch");
        stack.get_did(&new.name).await.refused(404, "DataIdentifierNotFound");
        let two = json!({"ignore_duplicate": true, "attachments": [
            {"scope": SCOPE, "name": dataset, "rse": ONSITE, "dids": [new.child()]},
            {"scope": SCOPE, "name": dataset, "rse": ONSITE, "dids": [other]},
        ]});
        stack.ingest.post(CALL, &two).await.refused(412, "FileConsistencyMismatch");
        stack.get_did(&new.name).await.refused(404, "DataIdentifierNotFound");
    }
}

pub(crate) async fn an_unknown_parent_or_child_is_404_and_nothing_is_registered(stack: &Stack) {
    let dataset = stack.dataset().await;
    let file = stack.write_file(&dataset, "a.fits");
    let nowhere = attachment(&fresh_name(), Some(ONSITE), &[file.child()]);
    stack.ingest.post(CALL, &nowhere).await.refused(404, "DataIdentifierNotFound");
    let without_rse = attachment(&dataset, None, &[file.child()]);
    stack.ingest.post(CALL, &without_rse).await.refused(404, "DataIdentifierNotFound");
    stack.get_did(&file.name).await.refused(404, "DataIdentifierNotFound");
}

pub(crate) async fn a_second_attachment_without_ignore_duplicate_is_409(stack: &Stack) {
    let (dataset, [file]) = stack.registered().await;
    let mut body = attachment(&dataset, Some(ONSITE), &[file.child()]);
    body["ignore_duplicate"] = false.into();
    stack.ingest.post(CALL, &body).await.refused(409, "FileAlreadyExists");
}

pub(crate) async fn what_does_not_fit_the_schema_is_500_invalid_object(stack: &Stack) {
    let dataset = stack.dataset().await;
    let file = stack.write_file(&dataset, "a.fits");
    let with = |key: &str, value: Value| {
        let mut child = file.child();
        child[key] = value;
        vec![child]
    };
    for children in [
        vec![],
        with("name", json!("/ctao/test/a b")),
        with("name", json!("ctao/test/a")),
        with("name", json!(format!("/{}", "a".repeat(250)))),
        with("scope", json!("a".repeat(26))),
        with("adler32", json!("5b901f7")),
        with("adler32", json!("zzzzzzzz")),
        with("bytes", json!("5")),
        with("nonsense", json!(1)),
        vec![did(&fresh_name()); 1001],
    ] {
        let answer = stack.ingest.post(CALL, &attachment(&dataset, Some(ONSITE), &children)).await;
        answer.refused(500, "InvalidObject");
    }
    stack.get_did(&file.name).await.refused(404, "DataIdentifierNotFound");
}

pub(crate) async fn an_unknown_rse_or_scope_is_500(stack: &Stack) {
    let dataset = stack.dataset().await;
    let file = stack.write_file(&dataset, "a.fits");
    let body = attachment(&dataset, Some("NOWHERE"), &[file.child()]);
    stack.ingest.post(CALL, &body).await.refused(500, "RSENotFound");
    let mut child = file.child();
    child["scope"] = "nowhere".into();
    let body = attachment(&dataset, Some(ONSITE), &[child]);
    stack.ingest.post(CALL, &body).await.refused(500, "ScopeNotFound");
}

pub(crate) async fn another_account_may_not_attach(stack: &Stack) {
    let dataset = stack.dataset().await;
    let file = stack.write_file(&dataset, "a.fits");
    let body = attachment(&dataset, Some(ONSITE), &[file.child()]);
    stack.plain.post(CALL, &body).await.refused(401, "AccessDenied");
}
