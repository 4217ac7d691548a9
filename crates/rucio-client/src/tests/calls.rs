//! What goes over the wire, and what is made of the answers.

use super::*;

async fn with(replies: impl IntoIterator<Item = Reply> + 'static) -> (MockServer, Client) {
    let server = MockServer::start(rucio(replies)).await;
    let (client, _) = client(settings(&server.url));
    (server, client)
}

fn lines(values: &[Value]) -> Reply {
    Reply::new(200, values.iter().flat_map(|value| [value.to_string(), "\n".to_owned()]).collect::<String>())
}

fn meta(value: Value) -> Map {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[tokio::test]
async fn names_in_urls_are_escaped_whole() {
    let (server, client) = with([
        Reply::new(200, did_answer().to_string()),
        lines(&[]),
        lines(&[]),
        Reply::new(200, "{\"site\":\"PIC\"}"),
        lines(&[json!({"rse": "STORAGE-3"}), json!({"rse": "STORAGE-2"})]),
    ])
    .await;
    let did = file("a.fits");
    client.did(&did).await.unwrap();
    client.content(&did).await.unwrap();
    client.did_rules(&did).await.unwrap();
    assert_eq!(client.rse_attributes("STORAGE-2").await.unwrap()["site"], "PIC");
    assert_eq!(client.list_rses(r"OFFSITE\STORAGE-1").await.unwrap(), ["STORAGE-2", "STORAGE-3"]);
    let targets: Vec<String> = calls(&server).into_iter().map(|seen| seen.target).collect();
    assert_eq!(
        targets,
        [
            "/dids/acada/%2Fctao%2Facada%2Fdl0%2Fa.fits",
            "/dids/acada/%2Fctao%2Facada%2Fdl0%2Fa.fits/dids",
            "/dids/acada/%2Fctao%2Facada%2Fdl0%2Fa.fits/rules",
            "/rses/STORAGE-2/attr/",
            "/rses/?expression=OFFSITE%5CSTORAGE-1",
        ]
    );
}

#[tokio::test]
async fn an_rse_without_any_attribute_is_no_answer_of_rucios() {
    let (_server, client) = with([Reply::new(200, "{}")]).await;
    let error = client.rse_attributes("STORAGE-2").await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (Kind::Protocol, true), "{error}");
}

#[tokio::test]
async fn parts_that_would_make_it_another_call_are_refused() {
    let (server, client) = with([]).await;
    for error in [
        client.rule("").await.unwrap_err(),
        client.end_rule("..", || true).await.unwrap_err(),
        client.did(&Did::new("..", "rses")).await.unwrap_err(),
        client.rse_attributes(".").await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.is_transient()), (Kind::Invalid, false), "{error}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn errors_say_who_did_not_do_what_and_why() {
    let (server, client) = with([
        exception(404, "RuleNotFound", "No rule with the id a1 found"),
        exception(401, "AccessDenied", "Account ingest can not add rules"),
        exception(409, "ReplicationRuleCreationTemporaryFailed", "try again"),
        Reply::new(404, "<html>"),
        Reply::new(201, "[]"),
    ])
    .await;
    let rule = NewRule { dids: vec![file("a.fits"), file("b.fits")], ..one_rule() };
    let mut said = vec![client.rule("a1").await.unwrap_err()];
    for _ in 0..4 {
        said.push(client.add_rules(&rule).await.unwrap_err());
    }
    let url = server.url.as_str().trim_end_matches('/');
    let said: Vec<String> = said.iter().map(|error| error.to_string().replace(url, "URL")).collect();
    assert_eq!(
        said,
        [
            "Rucio at URL refused to show rule a1 (RuleNotFound: No rule with the id a1 found)",
            "Rucio at URL does not let account 'ingest' place a rule on acada:/ctao/acada/dl0/a.fits and 1 more \
             (AccessDenied: Account ingest can not add rules); the account must own the scope or have the attribute \
             admin=True",
            "Rucio at URL cannot place a rule on acada:/ctao/acada/dl0/a.fits and 1 more just now \
             (ReplicationRuleCreationTemporaryFailed: try again)",
            "URL, asked to place a rule on acada:/ctao/acada/dl0/a.fits and 1 more, gave an answer that is not Rucio's \
             (status 404 Not Found); check that rucio.url is the API of a Rucio server",
            "Rucio, asked to place a rule on acada:/ctao/acada/dl0/a.fits and 1 more, gave 0 ids for 2 DIDs",
        ]
    );
}

#[tokio::test]
async fn a_registration_is_one_call() {
    let (server, client) = with([Reply::new(201, "Created")]).await;
    let mut attachments = one_file();
    attachments[0].children[0].meta = meta(json!({ "obs_id": 7 }));
    attachments.push(Attachment { parent: file("empty"), rse: None, children: vec![] });
    client.attach(&attachments).await.unwrap();
    let seen = &calls(&server)[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/dids/attachments"));
    assert_eq!(seen.header("Content-Type"), Some("application/json"));
    assert_eq!(
        seen.json(),
        json!({ "ignore_duplicate": true, "attachments": [{
            "scope": "acada", "name": "/ctao/acada/dl0/d", "rse": "STORAGE-1",
            "dids": [{ "scope": "acada", "name": "/ctao/acada/dl0/a.fits", "bytes": 3, "adler32": "00000001",
                       "meta": { "obs_id": 7 } }],
        }]})
    );
}

#[tokio::test]
async fn other_content_under_a_registered_name_is_told_apart() {
    let words = "(acada:/ctao/acada/dl0/a.fits) has size 4, the catalogue says 3. ".repeat(3);
    let (_server, client) = with([exception(412, "FileConsistencyMismatch", &words)]).await;
    let error = client.attach(&one_file()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (Kind::ConsistencyMismatch, false));
    assert_eq!(error.class(), Some("FileConsistencyMismatch"));
    // the whole of it, where the header has only the first 125 characters
    assert!(error.to_string().contains(words.trim()), "{error}");
}

#[tokio::test]
async fn nothing_to_do_asks_nothing() {
    let (server, client) = with([]).await;
    client.attach(&[]).await.unwrap();
    client.attach(&[Attachment { parent: file("d"), rse: None, children: vec![] }]).await.unwrap();
    client.add_collections(&[]).await.unwrap();
    client.set_metadata(&[]).await.unwrap();
    assert!(client.metadata(&[]).await.unwrap().is_empty());
    assert!(client.add_rules(&NewRule { dids: vec![], ..one_rule() }).await.unwrap().is_empty());
    let query = ReplicaQuery { dids: &[], rse_expression: None, all_states: true, schemes: &[] };
    assert!(client.replicas(&query).await.unwrap().is_empty());
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_key_that_rucio_would_misread_never_leaves() {
    let (server, client) = with([]).await;
    let mut attachments = one_file();
    attachments[0].children[0].meta = meta(json!({ "lifetime": 60 }));
    let error = client.attach(&attachments).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (Kind::UnsafeMetadataKey, false));
    assert!(error.to_string().contains("'lifetime'"), "{error}");
    let error = client.set_metadata(&[(file("a.fits"), meta(json!({ "a": 1, "b.gte": 2 })))]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::UnsafeMetadataKey);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn collections_are_created_with_their_kind() {
    let (server, client) = with([
        Reply::new(201, "Created"),
        exception(409, "DataIdentifierAlreadyExists", "Data Identifier already exists!"),
    ])
    .await;
    let new = [
        NewCollection { did: file("c"), kind: CollectionKind::Container },
        NewCollection { did: file("d"), kind: CollectionKind::Dataset },
    ];
    client.add_collections(&new).await.unwrap();
    assert_eq!(client.add_collections(&new).await.unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(
        calls(&server)[0].json(),
        json!([{ "scope": "acada", "name": "/ctao/acada/dl0/c", "type": "CONTAINER" },
               { "scope": "acada", "name": "/ctao/acada/dl0/d", "type": "DATASET" }])
    );
}

#[tokio::test]
async fn replicas_are_told_with_states_and_physical_names() {
    let listing = json!({
        "scope": "acada", "name": "/ctao/acada/dl0/a.fits", "bytes": 3, "md5": null, "adler32": "00000001",
        "pfns": {
            "root://b/x": { "rse_id": "0", "rse": "STORAGE-2", "type": "DISK", "volatile": false, "domain": "wan",
                            "priority": 2, "client_extract": false },
            "davs://b/x": { "rse_id": "0", "rse": "STORAGE-2", "type": "DISK", "volatile": false, "domain": "wan",
                            "priority": 1, "client_extract": false },
        },
        "rses": { "STORAGE-2": ["davs://b/x", "root://b/x"] },
        "states": { "STORAGE-1": "BEING_DELETED", "STORAGE-2": "AVAILABLE", "STORAGE-3": "SOMETHING_NEW" },
    });
    let without = json!({ "scope": "acada", "name": "/ctao/acada/dl0/b.fits", "bytes": 4, "md5": null, "adler32": null,
                          "pfns": {}, "rses": {} });
    let (server, client) = with([lines(&[listing, without])]).await;
    let dids = [file("a.fits"), file("b.fits"), file("unknown.fits")];
    let query = ReplicaQuery {
        dids: &dids,
        rse_expression: Some("STORAGE-1|OFFSITE"),
        all_states: true,
        schemes: &["davs", "root"],
    };
    let found = client.replicas(&query).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].did.clone(), found[0].bytes), (file("a.fits"), 3));
    assert_eq!(found[0].adler32, Some(1.into()));
    assert_eq!(
        found[0].states.clone().into_iter().collect::<Vec<_>>(),
        [
            ("STORAGE-1".to_owned(), ReplicaState::BeingDeleted),
            ("STORAGE-2".to_owned(), ReplicaState::Available),
            ("STORAGE-3".to_owned(), ReplicaState::Unknown),
        ]
    );
    assert_eq!(found[0].pfns["STORAGE-2"], ["davs://b/x", "root://b/x"]);
    assert!(found[1].states.is_empty() && found[1].pfns.is_empty() && found[1].adler32.is_none());
    let asked = calls(&server)[0].json();
    assert_eq!(asked["dids"].as_array().unwrap().len(), 3);
    assert_eq!((&asked["all_states"], &asked["ignore_availability"]), (&json!(true), &json!(true)));
    assert_eq!(asked["rse_expression"], "STORAGE-1|OFFSITE");
    assert_eq!(asked["schemes"], json!(["davs", "root"]));
}

#[tokio::test]
async fn long_lists_go_in_pieces() {
    let (server, client) = with([lines(&[]), lines(&[]), lines(&[])]).await;
    let dids: Vec<Did> = (0..2001).map(|n| file(&n.to_string())).collect();
    client
        .replicas(&ReplicaQuery { dids: &dids, rse_expression: None, all_states: false, schemes: &[] })
        .await
        .unwrap();
    let sizes: Vec<usize> = calls(&server).iter().map(|seen| seen.json()["dids"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [1000, 1000, 1]);
}

#[tokio::test]
async fn an_old_rucio_is_asked_for_the_metadata_of_each_did() {
    let columns = |name: &str| json!({ "scope": "acada", "name": format!("/ctao/acada/dl0/{name}"), "did_type": "FILE", "bytes": 3 });
    let listed = lines(&[columns("a.fits"), columns("none.fits")]);
    let mut rest = rucio([]);
    let server = MockServer::start(move |seen: &Seen| match seen.target.as_str() {
        "/dids/bulkmeta" => listed.clone(),
        "/dids/acada/%2Fctao%2Facada%2Fdl0%2Fa.fits/meta?plugin=JSON" => Reply::new(200, r#"{"obs_id": 7}"#),
        target if target.ends_with("none.fits/meta?plugin=JSON") => {
            exception(404, "DataIdentifierNotFound", "no metadata found")
        }
        _ => rest(seen),
    })
    .await;
    let (client, _) = client(settings(&server.url));
    let found = client.metadata(&[file("a.fits"), file("none.fits"), file("unknown.fits")]).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[&file("a.fits")], meta(json!({ "obs_id": 7 })));
    assert!(found[&file("none.fits")].is_empty());
    assert_eq!(calls(&server).len(), 3);
}

#[tokio::test]
async fn metadata_comes_by_did() {
    let listed = json!({ "scope": "acada", "name": "/ctao/acada/dl0/a.fits", "obs_id": 7, "instrument__id": "LST" });
    let (server, client) = with([lines(&[listed]), Reply::new(201, "Created")]).await;
    let found = client.metadata(&[file("a.fits"), file("unknown.fits")]).await.unwrap();
    assert_eq!(found.len(), 1);
    let expected = meta(json!({ "obs_id": 7, "instrument__id": "LST" }));
    assert_eq!(found[&file("a.fits")], expected);
    client.set_metadata(&[(file("a.fits"), expected)]).await.unwrap();
    assert_eq!(calls(&server)[0].json()["plugin"], "JSON");
    assert_eq!(calls(&server)[1].target, "/dids/bulkdidsmeta");
    assert_eq!(
        calls(&server)[1].json(),
        json!({ "dids": [{ "scope": "acada", "name": "/ctao/acada/dl0/a.fits",
                           "meta": { "obs_id": 7, "instrument__id": "LST" } }] })
    );
}

#[tokio::test]
async fn rules_are_placed_read_and_ended() {
    let rule = json!({
        "id": "a1", "scope": "acada", "name": "/ctao/acada/dl0/a.fits", "account": "ingest", "did_type": "FILE",
        "state": "STUCK", "error": "MissingSourceReplica", "rse_expression": "OFFSITE", "copies": 1,
        "expires_at": null, "locks_ok_cnt": 1, "locks_replicating_cnt": 2, "locks_stuck_cnt": 3,
        "source_replica_expression": "STORAGE-2", "purge_replicas": false, "priority": 3,
        "meta": "{\"signed_by\": \"somebody\"}",
    });
    let lock = json!({ "scope": "acada", "name": "/ctao/acada/dl0/a.fits", "rse_id": "0", "rse": "STORAGE-3",
                       "state": "REPLICATING", "rule_id": "a1" });
    let (server, client) = with([
        Reply::new(201, "[\"a1\", \"a2\"]"),
        Reply::new(200, rule.to_string()),
        lines(&[lock]),
        Reply::new(200, ""),
        Reply::new(200, ""),
        exception(404, "RuleNotFound", "No rule with the id a1 found"),
        exception(409, "DuplicateRule", "A duplicate rule for this account, did, rse_expression, copies exists."),
    ])
    .await;
    let new = NewRule {
        dids: vec![file("a.fits"), file("b.fits")],
        source_replica_expression: Some("STORAGE-2".into()),
        activity: Some("dl0".into()),
        comment: Some("second copy".into()),
        ..one_rule()
    };
    assert_eq!(client.add_rules(&new).await.unwrap(), ["a1", "a2"]);
    let told = client.rule("a1").await.unwrap();
    assert_eq!((told.did, told.state, told.copies), (file("a.fits"), RuleState::Stuck, 1));
    assert_eq!((told.locks_ok, told.locks_replicating, told.locks_stuck), (1, 2, 3));
    assert_eq!((told.error.as_deref(), told.expires_at), (Some("MissingSourceReplica"), None));
    let locks = client.rule_locks("a1").await.unwrap();
    assert_eq!((locks[0].rse.as_str(), locks[0].state), ("STORAGE-3", LockState::Replicating));
    client.end_rule("a1", || true).await.unwrap();
    client.boost_rule("a1").await.unwrap();
    assert_eq!(client.end_rule("a1", || true).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(client.add_rules(&new).await.unwrap_err().kind(), Kind::DuplicateRule);
    let seen = calls(&server);
    assert_eq!(
        seen[0].json(),
        json!({ "dids": [{ "scope": "acada", "name": "/ctao/acada/dl0/a.fits" },
                         { "scope": "acada", "name": "/ctao/acada/dl0/b.fits" }],
                "account": "ingest", "copies": 1, "rse_expression": "OFFSITE", "grouping": "DATASET",
                "source_replica_expression": "STORAGE-2", "activity": "dl0", "comment": "second copy" })
    );
    assert_eq!((seen[0].target.as_str(), seen[3].method.as_str()), ("/rules/", "PUT"));
    assert_eq!(seen[3].json(), json!({ "options": { "lifetime": 0, "purge_replicas": true } }));
    assert_eq!(seen[4].json(), json!({ "options": { "boost_rule": true } }));
}

#[tokio::test]
async fn ids_that_do_not_match_the_dids_are_not_taken() {
    let (_server, client) = with([Reply::new(201, "[\"a1\", \"a2\"]")]).await;
    assert_eq!(client.add_rules(&one_rule()).await.unwrap_err().kind(), Kind::Protocol);
}

#[tokio::test]
async fn attributes_of_an_account_are_a_map() {
    let server = MockServer::start(|seen: &Seen| match seen.target.as_str() {
        "/auth/userpass" => token("token-1"),
        _ => Reply::new(200, "[{\"key\": \"admin\", \"value\": true}]"),
    })
    .await;
    let (client, _) = client(settings(&server.url));
    assert_eq!(client.account_attributes("ingest").await.unwrap()["admin"], true);
}

#[tokio::test]
async fn secrets_that_a_server_repeats_are_blotted_out() {
    let words = format!("token token-1 and password {PASSWORD}\nwith two lines");
    let (_server, client) =
        with([Reply::new(401, json!({"ExceptionClass": "AccessDenied", "ExceptionMessage": words}).to_string())]).await;
    let error = client.did(&file("a.fits")).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("token … and password … with two lines"), "{text}");
    assert!(!text.contains("token-1") && !text.contains(PASSWORD), "{text}");
}

#[test]
fn calls_can_be_made_from_any_task() {
    fn is_send<T: Send>(_: T) {}
    let (client, _) = client(settings(&Url::parse("http://127.0.0.1").unwrap()));
    let did = file("a.fits");
    is_send(client.did(&did));
    is_send(client.attach(&[]));
    is_send(client.add_rules(&one_rule()));
    is_send(client.circuit().closed());
}
