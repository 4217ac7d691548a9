//! Reading and writing metadata.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::stack::{SCOPE, Stack, did, did_path, fresh_name};

/// What the JSON store has, sorted by name. Old versions of `bulkmeta` read the columns, whatever they are asked for.
async fn read(stack: &Stack, names: &[&str]) -> Vec<Value> {
    let dids: Vec<Value> = names.iter().map(|name| did(name)).collect();
    let body = json!({"dids": dids, "plugin": "JSON"});
    let mut found = stack.ingest.post("/dids/bulkmeta", &body).await.expect(200).lines();
    if stack.major <= 35 {
        for line in &mut found {
            assert_eq!(line["did_type"], "FILE");
            let path = did_path(line["name"].as_str().unwrap());
            let json = stack.ingest.get(&format!("{path}/meta?plugin=JSON")).await.expect(200).json();
            let mut whole = did(line["name"].as_str().unwrap());
            whole.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
            *line = whole;
        }
    }
    found.sort_by_key(|line| line["name"].to_string());
    found
}

fn sets(pairs: &[(&str, Value)]) -> Value {
    let dids: Vec<Value> =
        pairs.iter().map(|(name, meta)| json!({"scope": SCOPE, "name": name, "meta": meta})).collect();
    json!({"dids": dids})
}

async fn write(stack: &Stack, pairs: &[(&str, Value)]) -> crate::client::Answer {
    stack.ingest.post("/dids/bulkdidsmeta", &sets(pairs)).await
}

pub(crate) async fn bulkmeta_reads_the_json_store_and_omits_unknown_dids(stack: &Stack) {
    let (_, [a, b]) = stack.registered().await;
    write(stack, &[(&a.name, json!({"obs_id": 5}))]).await.expect(201);
    let found = read(stack, &[&a.name, &fresh_name(), &b.name]).await;
    let expected = [json!({"scope": SCOPE, "name": a.name, "obs_id": 5}), json!({"scope": SCOPE, "name": b.name})];
    assert_eq!(found, expected);
}

/// `GET /dids/{scope}/{name}` shows no end of a file; the columns do.
pub(crate) async fn the_ends_of_files_and_datasets_are_read_in_bulk(stack: &Stack) {
    let (dataset, [ending, staying]) = stack.registered().await;
    for name in [&dataset, &ending.name] {
        let lifetime = json!({"meta": {"lifetime": 86400}});
        stack.ingest.post(&format!("{}/meta", did_path(name)), &lifetime).await.expect(201);
    }
    let dids: Vec<Value> = [&dataset, &ending.name, &staying.name, &fresh_name()].map(|name| did(name)).into();
    let body = json!({"dids": dids, "plugin": "DID_COLUMN"});
    let found = stack.ingest.post("/dids/bulkmeta", &body).await.expect(200).lines();
    assert_eq!(found.len(), 3);
    for line in found {
        // what does not end says so, with a null
        let end = line.as_object().unwrap()["expired_at"].as_str();
        assert_eq!(end.is_some(), line["name"] != json!(staying.name), "{line}");
        assert!(end.is_none_or(|end| end.ends_with("UTC")), "{line}");
    }
}

pub(crate) async fn bulkdidsmeta_merges_keys(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    write(stack, &[(&file.name, json!({"a": 1, "b": "x"}))]).await.expect(201);
    write(stack, &[(&file.name, json!({"b": "y", "c": [1, 2]}))]).await.expect(201);
    let expected = json!({"scope": SCOPE, "name": file.name, "a": 1, "b": "y", "c": [1, 2]});
    assert_eq!(read(stack, &[&file.name]).await, [expected]);
}

pub(crate) async fn bulkdidsmeta_writes_all_or_none(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let unknown = fresh_name();
    let both = [(file.name.as_str(), json!({"a": 1})), (unknown.as_str(), json!({"a": 1}))];
    write(stack, &both).await.refused(404, "DataIdentifierNotFound");
    assert_eq!(read(stack, &[&file.name]).await, [json!({"scope": SCOPE, "name": file.name})]);
}

pub(crate) async fn another_account_may_not_write_metadata(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let body = sets(&[(&file.name, json!({"a": 1}))]);
    stack.plain.post("/dids/bulkdidsmeta", &body).await.refused(401, "AccessDenied");
}

pub(crate) async fn a_key_with_a_dot_is_refused(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    write(stack, &[(&file.name, json!({"a.b": 1}))]).await.refused(500, "InvalidMetadata");
}

pub(crate) async fn names_of_did_columns_never_reach_the_json_store(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let meta = json!({"version": "1", "project": "ctao", "run_number": 7, "instrument": "LST"});
    write(stack, &[(&file.name, meta)]).await.expect(201);
    let expected = json!({"scope": SCOPE, "name": file.name, "instrument": "LST"});
    assert_eq!(read(stack, &[&file.name]).await, [expected]);
    let columns = stack.ingest.get(&format!("{}/meta", did_path(&file.name))).await.expect(200).json();
    assert_eq!((&columns["project"], &columns["run_number"]), (&json!("ctao"), &json!(7)));
}

pub(crate) async fn the_key_lifetime_sets_the_end_of_the_did(stack: &Stack) {
    let (dataset, [file]) = stack.registered().await;
    write(stack, &[(&file.name, json!({"lifetime": 86_400})), (&dataset, json!({"lifetime": 86_400}))])
        .await
        .expect(201);
    let columns = stack.ingest.get(&format!("{}/meta", did_path(&file.name))).await.expect(200).json();
    let end = columns["expired_at"].as_str().unwrap().replace("UTC", "GMT");
    let left = httpdate::parse_http_date(&end).unwrap().duration_since(SystemTime::now()).unwrap();
    assert!(left > Duration::from_hours(23) && left <= Duration::from_hours(24), "{left:?}");
    // a dataset that has one is removed then, with its rules
    assert!(stack.get_did(&dataset).await.expect(200).json()["expired_at"].is_string());
    write(stack, &[(&file.name, json!({"lifetime": null})), (&dataset, json!({"lifetime": null}))]).await.expect(201);
    assert_eq!(stack.get_did(&dataset).await.expect(200).json()["expired_at"], json!(null));
}

pub(crate) async fn more_than_a_thousand_dids_are_refused(stack: &Stack) {
    let dids = vec![did(&fresh_name()); 1001];
    let body = json!({"dids": dids, "plugin": "JSON"});
    stack.ingest.post("/dids/bulkmeta", &body).await.refused(500, "InvalidObject");
    let thousand = json!({"dids": dids[..1000], "plugin": "JSON"});
    assert!(stack.ingest.post("/dids/bulkmeta", &thousand).await.expect(200).lines().is_empty());
}
