//! RSEs, their expressions and attributes; accounts.

use serde_json::json;

use crate::client::encode;
use crate::stack::Stack;

pub(crate) async fn an_account_attribute_tells_who_is_admin(stack: &Stack) {
    let attributes = stack.ingest.get("/accounts/ingest/attr/").await.expect(200).json();
    assert!(attributes.as_array().unwrap().contains(&json!({"key": "admin", "value": true})), "{attributes}");
    assert_eq!(stack.plain.get("/accounts/plain/attr/").await.expect(200).json(), json!([]));
}

pub(crate) async fn an_expression_selects_rses(stack: &Stack) {
    for (expression, expected) in [
        ("OFFSITE", "2 3"),
        ("OFFSITE=True", "2 3"),
        ("ONSITE", "1"),
        ("STORAGE-2", "2"),
        ("site=CSCS", "3"),
        (r"OFFSITE\STORAGE-2", "3"),
        (r"OFFSITE\site=PIC", "3"),
        (r"(OFFSITE\STORAGE-2)\site=PIC", "3"),
        (r"(OFFSITE=True)\(STORAGE-2|site=PIC)", "3"),
        ("STORAGE-1|STORAGE-3", "1 3"),
        ("OFFSITE&site=PIC", "2"),
        ("STORAGE-1|STORAGE-2&OFFSITE", "2"),
        (r"*\(site=PIC|site=CSCS)", "1"),
        ("*", "1 2 3"),
    ] {
        let answer = stack.ingest.get(&format!("/rses/?expression={}", encode(expression))).await.expect(200);
        let mut found: Vec<_> = answer.lines().iter().map(|line| line["rse"].as_str().unwrap().to_owned()).collect();
        found.sort();
        assert_eq!(found.join(" ").replace("STORAGE-", ""), expected, "{expression}");
    }
}

pub(crate) async fn a_wrong_expression_or_an_empty_selection_is_400(stack: &Stack) {
    for expression in ["NOWHERE", r"OFFSITE\OFFSITE", "site=MARS", "A&&B", "(OFFSITE", "OFFSITE)", "A B", "="] {
        let answer = stack.ingest.get(&format!("/rses/?expression={}", encode(expression))).await;
        answer.refused(400, "InvalidRSEExpression");
    }
}

pub(crate) async fn an_rse_tells_its_attributes(stack: &Stack) {
    let attributes = stack.ingest.get("/rses/STORAGE-2/attr/").await.expect(200).json();
    assert_eq!(attributes["OFFSITE"], true);
    assert_eq!(attributes["site"], "PIC");
    assert_eq!(attributes["STORAGE-2"], true, "its own name, so that none is without attributes");
    assert!(attributes.get("tombstone_delay").is_none());
    let rse = stack.ingest.get("/rses/STORAGE-2").await.expect(200).json();
    assert_eq!(
        (&rse["rse"], &rse["deterministic"], &rse["volatile"]),
        (&json!("STORAGE-2"), &json!(true), &json!(false))
    );
}

pub(crate) async fn an_rse_tells_what_it_may_be_used_for_and_how_it_is_reached(stack: &Stack) {
    let rse = stack.ingest.get("/rses/STORAGE-2").await.expect(200).json();
    for key in ["availability_read", "availability_write", "availability_delete"] {
        assert_eq!(rse[key], true, "{key}");
    }
    let protocols = rse["protocols"].as_array().unwrap();
    assert!(!protocols.is_empty(), "{rse}");
    for protocol in protocols {
        assert!(protocol["scheme"].is_string() && protocol["hostname"].is_string(), "{protocol}");
        assert!(protocol["port"].is_u64() && protocol["prefix"].is_string(), "{protocol}");
    }
}

pub(crate) async fn all_scopes_are_listed(stack: &Stack) {
    let scopes = stack.ingest.get("/scopes/").await.expect(200).json();
    let scopes: Vec<&str> = scopes.as_array().unwrap().iter().map(|scope| scope.as_str().unwrap()).collect();
    assert!(scopes.contains(&"acada") && scopes.contains(&"test"), "{scopes:?}");
}

pub(crate) async fn an_unknown_rse_or_account_is_404(stack: &Stack) {
    stack.ingest.get("/rses/NOWHERE").await.refused(404, "RSENotFound");
    stack.ingest.get("/rses/NOWHERE/attr/").await.refused(404, "RSENotFound");
    stack.ingest.get("/accounts/nobody").await.refused(404, "AccountNotFound");
    stack.ingest.get("/accounts/nobody/attr/").await.refused(404, "AccountNotFound");
}
