//! Logging in.

use std::time::{Duration, SystemTime};

use reqwest::Method;

use crate::stack::Stack;

pub(crate) async fn a_password_buys_a_token_and_its_end_is_told(stack: &Stack) {
    let answer = stack.anonymous.log_in("ingest", stack.password("ingest")).await.expect(200);
    let expires = answer.header("X-Rucio-Auth-Token-Expires");
    let date = expires.strip_suffix("UTC").unwrap_or_else(|| panic!("'{expires}' does not end in UTC"));
    let expires = httpdate::parse_http_date(&format!("{date}GMT")).unwrap();
    let left = expires.duration_since(SystemTime::now()).unwrap();
    assert!((Duration::from_mins(55)..=Duration::from_mins(61)).contains(&left), "{left:?}");
    let token = answer.header("X-Rucio-Auth-Token");
    stack.anonymous.with_token(Some(token)).get("/accounts/ingest").await.expect(200);
}

pub(crate) async fn a_wrong_password_is_cannot_authenticate(stack: &Stack) {
    stack.anonymous.log_in("ingest", "wrong").await.refused(401, "CannotAuthenticate");
    stack.anonymous.log_in("nobody", "wrong").await.refused(401, "CannotAuthenticate");
    stack.anonymous.get("/auth/userpass").await.refused(401, "CannotAuthenticate");
}

pub(crate) async fn a_call_without_a_token_is_400_and_with_a_bad_one_401(stack: &Stack) {
    for path in ["/rses/?expression=OFFSITE", "/accounts/whoami"] {
        match stack.major {
            ..=35 => stack.anonymous.get(path).await.refused(401, "CannotAuthenticate"),
            _ => stack.anonymous.get(path).await.refused(400, "ValueError"),
        }
        let stranger = stack.anonymous.with_token(Some("ingest-ingest-unknown-00000000000000000000000000000000"));
        stranger.get(path).await.refused(401, "CannotAuthenticate");
    }
}

pub(crate) async fn a_ping_needs_no_token(stack: &Stack) {
    assert!(stack.anonymous.get("/ping").await.expect(200).json()["version"].is_string());
}

pub(crate) async fn whoami_points_to_the_account_of_the_token(stack: &Stack) {
    let answer = stack.plain.send(Method::GET, "/accounts/whoami", &[], None).await.expect(303);
    assert_eq!(answer.header("Location"), "plain");
}
