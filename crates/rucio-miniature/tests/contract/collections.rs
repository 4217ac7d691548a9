//! Datasets and containers.

use reqwest::Method;
use serde_json::{Value, json};

use crate::stack::{SCOPE, Stack, attachment, did, did_path, fresh_name};

fn new(name: &str, kind: &str) -> Value {
    json!({"scope": SCOPE, "name": name, "type": kind})
}

pub(crate) async fn collections_are_added_all_or_none(stack: &Stack) {
    let (dataset, container) = (fresh_name(), fresh_name());
    let both = json!([new(&dataset, "DATASET"), new(&container, "CONTAINER")]);
    stack.ingest.post("/dids", &both).await.expect(201);
    let row = stack.get_did(&dataset).await.expect(200).json();
    assert_eq!((&row["type"], &row["open"], &row["name"]), (&json!("DATASET"), &json!(true), &json!(dataset)));
    assert_eq!(stack.get_did(&container).await.expect(200).json()["type"], "CONTAINER");

    let other = fresh_name();
    let again = json!([new(&other, "DATASET"), new(&dataset, "DATASET")]);
    stack.ingest.post("/dids", &again).await.refused(409, "DataIdentifierAlreadyExists");
    stack.get_did(&other).await.refused(404, "DataIdentifierNotFound");
    stack.ingest.post("/dids", &json!([])).await.expect(201);
    let file = json!([new(&other, "FILE")]);
    stack.ingest.post("/dids", &file).await.refused(409, "UnsupportedOperation");
}

pub(crate) async fn names_of_collections_are_not_validated(stack: &Stack) {
    let name = format!("{}/not a name!", fresh_name());
    stack.ingest.post("/dids", &json!([new(&name, "DATASET")])).await.expect(201);
    assert_eq!(stack.get_did(&name).await.expect(200).json()["name"], name);
}

pub(crate) async fn an_unknown_scope_is_500_and_a_foreign_one_401(stack: &Stack) {
    let nowhere = json!([{"scope": "nowhere", "name": fresh_name(), "type": "DATASET"}]);
    stack.ingest.post("/dids", &nowhere).await.refused(500, "ScopeNotFound");
    let foreign = json!([new(&fresh_name(), "DATASET")]);
    stack.plain.post("/dids", &foreign).await.refused(401, "AccessDenied");
}

pub(crate) async fn a_container_holds_collections_of_one_kind(stack: &Stack) {
    let (outer, inner) = (stack.collection("CONTAINER").await, stack.collection("CONTAINER").await);
    let (dataset, [file]) = stack.registered().await;
    let attach = async |parent: &str, children: &[&str]| {
        let children: Vec<Value> = children.iter().map(|name| did(name)).collect();
        stack.ingest.post("/dids/attachments", &attachment(parent, None, &children)).await
    };
    attach(&inner, &[&dataset]).await.expect(201);
    match stack.major {
        // with containers, `ignore_duplicate` is ignored itself
        ..=35 => attach(&inner, &[&dataset]).await.refused(409, "DuplicateContent"),
        _ => drop(attach(&inner, &[&dataset]).await.expect(201)),
    }
    attach(&outer, &[&inner]).await.expect(201);
    attach(&inner, &[&outer]).await.refused(409, "UnsupportedOperation");
    attach(&inner, &[&inner]).await.refused(409, "UnsupportedOperation");
    attach(&stack.collection("CONTAINER").await, &[&dataset, &inner]).await.refused(409, "UnsupportedOperation");
    attach(&outer, &[&file.name]).await.refused(409, "UnsupportedOperation");
    attach(&dataset, &[&inner]).await.refused(409, "UnsupportedOperation");
    attach(&file.name, &[&file.name]).await.refused(409, "UnsupportedOperation");
}

pub(crate) async fn a_name_is_a_dataset_or_a_container_and_stays_that(stack: &Stack) {
    let kinds = ["DATASET", "CONTAINER"];
    for (is, other) in [(kinds[0], kinds[1]), (kinds[1], kinds[0])] {
        let name = stack.collection(is).await;
        let again = json!([new(&name, other)]);
        stack.ingest.post("/dids", &again).await.refused(409, "DataIdentifierAlreadyExists");
        assert_eq!(stack.get_did(&name).await.expect(200).json()["type"], is);
    }
}

pub(crate) async fn a_container_takes_no_file_and_registers_none(stack: &Stack) {
    let container = stack.collection("CONTAINER").await;
    let (_, [known]) = stack.registered().await;
    let file = stack.write_file(&container, "a.fits");
    let attach = async |child| {
        let body = attachment(&container, Some("STORAGE-1"), &[child]);
        stack.ingest.post("/dids/attachments", &body).await
    };
    attach(file.child()).await.refused(404, "DataIdentifierNotFound");
    stack.get_did(&file.name).await.refused(404, "DataIdentifierNotFound");
    attach(known.child()).await.refused(409, "UnsupportedOperation");
}

pub(crate) async fn a_container_takes_datasets_and_containers_in_attachments_of_their_own(stack: &Stack) {
    let outer = stack.collection("CONTAINER").await;
    let children = [stack.collection("CONTAINER").await, stack.dataset().await];
    let attachments: Vec<Value> =
        children.iter().map(|child| attachment(&outer, None, &[did(child)])["attachments"][0].clone()).collect();
    let body = json!({"ignore_duplicate": true, "attachments": attachments});
    stack.ingest.post("/dids/attachments", &body).await.expect(201);
    let inside = stack.ingest.get(&format!("{}/dids", did_path(&outer))).await.expect(200).lines();
    assert_eq!(inside.len(), 2);
}

pub(crate) async fn what_dids_are_and_whether_they_are_open_is_read_in_bulk(stack: &Stack) {
    let (dataset, [file]) = stack.registered().await;
    let (container, closed) = (stack.collection("CONTAINER").await, stack.dataset().await);
    stack.ingest.put(&format!("{}/status", did_path(&closed)), &json!({"open": false})).await.expect(200);
    let dids: Vec<Value> = [&dataset, &file.name, &container, &closed, &fresh_name()].map(|name| did(name)).into();
    let body = json!({"dids": dids, "plugin": "DID_COLUMN"});
    let found = stack.ingest.post("/dids/bulkmeta", &body).await.expect(200).lines();
    let mut told: Vec<_> = found.iter().map(|line| [&line["name"], &line["did_type"], &line["is_open"]]).collect();
    told.sort_by_key(|line| line[0].to_string());
    let open = |name: &str, kind: &str, open: bool| [json!(name), json!(kind), json!(open)];
    let mut expected = [
        open(&dataset, "DATASET", true),
        open(&container, "CONTAINER", true),
        open(&closed, "DATASET", false),
        [json!(file.name), json!("FILE"), told.iter().find(|line| line[1] == "FILE").unwrap()[2].clone()],
    ];
    expected.sort_by_key(|line| line[0].to_string());
    assert_eq!(told, expected.each_ref().map(<[_; 3]>::each_ref));
}

pub(crate) async fn content_lists_what_is_directly_inside(stack: &Stack) {
    let (dataset, [file]) = stack.registered().await;
    let container = stack.collection("CONTAINER").await;
    let path = format!("{}/dids", did_path(&container));
    assert!(stack.ingest.get(&path).await.expect(200).lines().is_empty());
    stack.ingest.post("/dids/attachments", &attachment(&container, None, &[did(&dataset)])).await.expect(201);
    let inside = stack.ingest.get(&path).await.expect(200).lines();
    assert_eq!((inside.len(), &inside[0]["name"], &inside[0]["type"]), (1, &json!(dataset), &json!("DATASET")));
    let inside = stack.ingest.get(&format!("{}/dids", did_path(&dataset))).await.expect(200).lines();
    let expected = json!({
        "scope": SCOPE, "name": file.name, "type": "FILE", "bytes": file.bytes, "adler32": file.adler32, "md5": null,
    });
    assert_eq!(inside, [expected]);
    let unknown = format!("{}/dids", did_path(&fresh_name()));
    stack.ingest.get(&unknown).await.refused(404, "DataIdentifierNotFound");
}

pub(crate) async fn a_closed_dataset_takes_nothing_more(stack: &Stack) {
    let dataset = stack.dataset().await;
    let path = format!("{}/status", did_path(&dataset));
    stack.ingest.put(&path, &json!({"open": false})).await.expect(200);
    assert_eq!(stack.get_did(&dataset).await.expect(200).json()["open"], false);
    let file = stack.write_file(&dataset, "late.fits");
    let body = attachment(&dataset, Some("STORAGE-1"), &[file.child()]);
    stack.ingest.post("/dids/attachments", &body).await.refused(409, "UnsupportedOperation");
    stack.ingest.put(&path, &json!({"open": false})).await.refused(409, "UnsupportedOperation");
}

pub(crate) async fn what_is_no_json_is_400(stack: &Stack) {
    let send = async |path, body: &str| stack.ingest.send(Method::POST, path, &[], Some(body.to_owned())).await;
    send("/dids", "{").await.refused(400, "ValueError");
    send("/dids", "{}").await.refused(400, "TypeError");
    send("/dids/attachments", "{}").await.refused(400, "KeyError");
    send("/rules/", "{\"copies\": 1}").await.refused(400, "KeyError");
}
