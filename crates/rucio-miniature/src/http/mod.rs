//! The REST face: reads requests, asks the catalogue, writes answers as Rucio does.

mod answer;
mod body;
mod call;
mod dids;
mod faulty;
mod replicas;
mod rses;
mod rules;

use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::serve::IncomingStream;
use tokio_util::sync::CancellationToken;

pub use self::answer::Reply;
use self::call::Call;
pub use self::faulty::with_faults;
use crate::dates;
use crate::endpoint::{Endpoint, Route};
use crate::listener::{Listener, Scissors};
use crate::refusal::{Class, Refusal, refuse};
use crate::shared::Shared;

/// Largest body read; 1000 files with their metadata take about a megabyte.
const BODY_MAX: usize = 64 << 20;

/// Serves until stopped.
pub(crate) async fn serve(listener: Listener, shared: Arc<Shared>, stop: CancellationToken) {
    let router = Router::new().fallback(answer).with_state(shared).into_make_service_with_connect_info::<Way>();
    tokio::select! {
        () = stop.cancelled() => {}
        result = axum::serve(listener, router).into_future() => if let Err(error) = result {
            tracing::warn!(%error, "the miniature Rucio stopped");
        }
    }
}

/// The way a request came.
#[derive(Clone)]
struct Way(Scissors);

impl Connected<IncomingStream<'_, Listener>> for Way {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        Self(stream.io().scissors())
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(Way(scissors)): ConnectInfo<Way>,
    request: Request,
) -> Response {
    let route = Route::of(request.method().as_str(), request.uri().path());
    shared.count(route.endpoint);
    with_faults(&shared.faults, route.endpoint, &scissors, work(&shared, &route, request)).await
}

async fn work(shared: &Shared, route: &Route, request: Request) -> Reply {
    let endpoint = route.endpoint;
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_MAX).await else { return Reply::proxy_error(413) };
    tokio::time::sleep(shared.faults.takes(body.len())).await;
    let call = Call { route, query: head.uri.query().unwrap_or_default(), body: &body };
    let result = match endpoint {
        Endpoint::Ping => Ok(Reply::json(&serde_json::json!({"version": "embedded"}))),
        Endpoint::AuthUserpass => log_in(shared, &head.headers),
        Endpoint::Unknown => Ok(Reply::not_found()),
        _ => issuer(shared, &head.headers).and_then(|issuer| dispatch(shared, &issuer, &call)),
    };
    result.unwrap_or_else(|Refusal { class, message }| match class {
        Class::Internal => Reply::internal(&message),
        _ => Reply::error(endpoint.status_of(class), class.name(), &message),
    })
}

fn dispatch(shared: &Shared, issuer: &str, call: &Call<'_>) -> Result<Reply, Refusal> {
    match call.route.endpoint {
        Endpoint::Account => rses::account(shared, issuer, call),
        Endpoint::AccountAttributes => rses::account_attributes(shared, call),
        Endpoint::Scopes => Ok(rses::scopes(shared)),
        Endpoint::Rses => rses::list(shared, call),
        Endpoint::Rse => rses::one(shared, call),
        Endpoint::RseAttributes => rses::attributes(shared, call),
        Endpoint::AddDids => dids::add(shared, issuer, call),
        Endpoint::Did => dids::one(shared, call),
        Endpoint::Content => dids::content(shared, call),
        Endpoint::Metadata => dids::metadata(shared, call),
        Endpoint::SetMetadata => dids::set_metadata(shared, issuer, call),
        Endpoint::SetStatus => dids::set_status(shared, issuer, call),
        Endpoint::DidRules => rules::on_did(shared, call),
        Endpoint::AssociatedRules => rules::of_file(shared, call),
        Endpoint::Attach => dids::attach(shared, issuer, call),
        Endpoint::BulkMeta => dids::bulk_metadata(shared, call),
        Endpoint::BulkDidsMeta => dids::set_bulk_metadata(shared, issuer, call),
        Endpoint::Replicas => replicas::list(shared, call),
        Endpoint::UpdateReplicas => replicas::update(shared, issuer, call),
        Endpoint::DeclareBad => replicas::declare_bad(shared, issuer, call),
        Endpoint::BadStates => Ok(replicas::bad(shared, call)),
        Endpoint::AddRules => rules::add(shared, issuer, call),
        Endpoint::Rules => rules::list(shared, call),
        Endpoint::Rule => rules::one(shared, call),
        Endpoint::RuleLocks => rules::locks(shared, call),
        Endpoint::RuleAnalysis => rules::analysis(shared, call),
        Endpoint::UpdateRule => rules::update(shared, issuer, call),
        Endpoint::DeleteRule => rules::delete(shared, issuer, call),
        Endpoint::Ping | Endpoint::AuthUserpass | Endpoint::Unknown => Ok(Reply::not_found()),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The account of the token, or what Rucio says without one and with a bad one.
fn issuer(shared: &Shared, headers: &HeaderMap) -> Result<String, Refusal> {
    let token = header(headers, "x-rucio-auth-token");
    if token.is_empty() {
        return refuse(Class::ValueError, "Token must be set.");
    }
    let account = shared.account_of(token);
    account.ok_or_else(|| Refusal::new(Class::CannotAuthenticate, "Cannot authenticate with given credentials"))
}

fn log_in(shared: &Shared, headers: &HeaderMap) -> Result<Reply, Refusal> {
    let user = header(headers, "x-rucio-username");
    let password = header(headers, "x-rucio-password");
    if user.is_empty() || password.is_empty() {
        let message = "Cannot authenticate without passing all required arguments";
        return refuse(Class::CannotAuthenticate, message);
    }
    let account = match header(headers, "x-rucio-account") {
        "" => user,
        account => account,
    };
    let Some((token, expires)) = shared.log_in(account, user, password) else {
        let message = format!("Cannot authenticate to account {account} with given credentials");
        return refuse(Class::CannotAuthenticate, message);
    };
    let reply = Reply::empty().header("X-Rucio-Auth-Account", account).header("X-Rucio-Auth-Token", &token);
    Ok(reply.header("X-Rucio-Auth-Token-Expires", &dates::rucio(expires)))
}
