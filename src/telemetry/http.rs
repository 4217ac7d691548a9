//! The daemon's own endpoint: `/metrics`, `/healthz`, `/readyz` and `/`, a page for humans.
//!
//! It answers GET only, changes nothing, and shows numbers and words but no paths, names of files or secrets.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;

use super::health::Complaint;
use super::metrics::CONTENT_TYPE;
use super::{Health, Metrics};

mod page;

pub use page::{StateRow, StatusPage};

/// A stage that shows no heartbeat for this long is stuck.
const SILENCE: Duration = Duration::from_mins(2);
/// How long a slow reader may hold up the end of the process.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

type StatusSource = Arc<dyn Fn() -> BoxFuture<'static, StatusPage> + Send + Sync>;

#[derive(Clone)]
struct Shared {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    status: StatusSource,
}

/// Serves until `shutdown` is done, then lets answers under way end for a moment. `status` is asked at each visit of `/`.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    status: impl Fn() -> BoxFuture<'static, StatusPage> + Send + Sync + 'static,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let app = router(Shared { metrics, health, status: Arc::new(status) });
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        shutdown.await;
        // nobody listens any more if the server has failed
        let _ = stopping.send(());
    });
    let deadline = async {
        if stopped.await.is_ok() {
            tokio::time::sleep(LAST_ANSWERS).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        result = server.into_future() => result,
        () = deadline => Ok(()),
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", get(front_page))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
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
    verdict("ready", shared.health.ready())
}

async fn front_page(State(shared): State<Shared>) -> Response {
    let status = (shared.status)().await;
    let page = page::render(&status, &shared.health.ready(), &shared.health.live(SILENCE));
    let mut response = plain(StatusCode::OK, "text/html; charset=utf-8", page);
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
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, body).into_response()
}

#[cfg(test)]
mod tests;
