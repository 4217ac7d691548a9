//! The daemon's own endpoint: `/metrics`, `/healthz`, `/readyz`, `/status` and `/`, a page for humans.
//!
//! It answers GET only, changes nothing, and shows numbers and words but no paths, names of files or secrets. Whoever asks,
//! however often, costs the daemon nothing that it needs: connections are few and short, and what they show is counted by
//! the daemon at its own pace.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::health::{Complaint, SILENCE};
use super::metrics::CONTENT_TYPE;
use super::{Health, Metrics};

mod page;
mod status;

pub use page::{StateRow, StatusPage};
pub use status::Status;

/// Connections at once; others wait until one ends.
const CONNECTIONS: usize = 32;
/// A client has sent its request by then.
const REQUEST: Duration = Duration::from_secs(5);
/// A client has read its answer by then. Each connection is for one request.
const WHOLE: Duration = Duration::from_secs(15);
/// After connections could not be accepted: no file descriptors are left, say.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);
/// How long a slow reader may hold up the end of the process.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Shared {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    counted: watch::Receiver<Arc<StatusPage>>,
}

/// Serves until `shutdown` is done, then lets answers under way end for a moment. `counted`: what the daemon has counted
/// last, for the page.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    counted: watch::Receiver<Arc<StatusPage>>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let app = router(Shared { metrics, health, counted });
    let mut connections = JoinSet::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut shutdown = pin!(shutdown);
    loop {
        let next = async {
            // never closed
            let permit = Arc::clone(&room).acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = &mut shutdown => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let answered = answer(stream, app.clone());
                connections.spawn(async move {
                    let _permit = permit;
                    answered.await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    // whoever has not read its answer by then does without
    let _ = tokio::time::timeout(LAST_ANSWERS, async { while connections.join_next().await.is_some() {} }).await;
}

/// One request, and its answer.
async fn answer(stream: TcpStream, app: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    // a client that goes away, or is too slow, is its own loss
    let _ = tokio::time::timeout(WHOLE, connection).await;
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", get(front_page))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .with_state(shared)
}

async fn metrics(State(shared): State<Shared>) -> Response {
    match shared.metrics.encode() {
        Ok(text) => plain(StatusCode::OK, CONTENT_TYPE, text),
        Err(fmt_error) => plain(StatusCode::INTERNAL_SERVER_ERROR, TEXT, fmt_error.to_string()),
    }
}

async fn healthz(State(shared): State<Shared>) -> Response {
    verdict("alive", shared.health.live(SILENCE))
}

async fn readyz(State(shared): State<Shared>) -> Response {
    let found = shared.health.verdict();
    verdict("ready", if found.is_ready() { Ok(()) } else { Err(found.troubles) })
}

async fn status(State(shared): State<Shared>) -> Response {
    let counted = shared.counted.borrow().clone();
    hardened(Json(Status::of(&shared.health, &counted)).into_response())
}

async fn front_page(State(shared): State<Shared>) -> Response {
    let counted = shared.counted.borrow().clone();
    let mut response =
        plain(StatusCode::OK, "text/html; charset=utf-8", page::render(&counted, &shared.health.verdict()));
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

const TEXT: &str = "text/plain; charset=utf-8";

/// 200 with one word, or 503 with one line per complaint.
fn verdict(good: &str, found: Result<(), Vec<Complaint>>) -> Response {
    match found {
        Ok(()) => plain(StatusCode::OK, TEXT, format!("{good}\n")),
        Err(complaints) => {
            let lines = complaints.iter().map(|complaint| format!("{}: {}\n", complaint.about, complaint.reason));
            plain(StatusCode::SERVICE_UNAVAILABLE, TEXT, lines.collect())
        }
    }
}

fn plain(status: StatusCode, content_type: &'static str, body: String) -> Response {
    hardened((status, [(header::CONTENT_TYPE, content_type)], body).into_response())
}

/// Not kept by anybody, and not taken for anything else.
fn hardened(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests;
