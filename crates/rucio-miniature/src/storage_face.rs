//! The HTTP face of one RSE's storage, as far as a reader sees it: `HEAD` with `Want-Digest`, and `GET`.
//!
//! Kinder than the original in one point: `XRootD` ignores `want-digest` in lower case.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use percent_encoding::percent_decode_str;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use crate::digests::Algorithm;
use crate::faults::Outage;
use crate::listener::Listener;
use crate::shared::Shared;

/// Bytes sent at a time.
const CHUNK: usize = 1 << 18;

struct Storage {
    rse: String,
    directory: PathBuf,
    shared: Arc<Shared>,
}

/// Serves until stopped.
pub(crate) async fn serve(rse: String, listener: Listener, shared: Arc<Shared>, stop: CancellationToken) {
    let directory = shared.catalog().rses.get(&rse).map(|rse| rse.directory.clone()).unwrap_or_default();
    let storage = Arc::new(Storage { rse, directory, shared });
    let router = Router::new().fallback(answer).with_state(storage);
    tokio::select! {
        () = stop.cancelled() => {}
        result = axum::serve(listener, router).into_future() => if let Err(error) = result {
            tracing::warn!(%error, "the storage of the miniature Rucio stopped");
        }
    }
}

async fn answer(State(storage): State<Arc<Storage>>, request: Request) -> Response {
    match storage.shared.faults.outage(&storage.rse) {
        Some(Outage::Hang) => std::future::pending().await,
        Some(Outage::Unavailable) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Outage::Refuse) | None => {}
    }
    if let Some(mut to) = storage.shared.faults.leads(&storage.rse) {
        to.set_path(request.uri().path());
        return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to.to_string())]).into_response();
    }
    let Some(path) = path_below(&storage.directory, request.uri().path()) else {
        return StatusCode::FORBIDDEN.into_response();
    };
    let result = match *request.method() {
        Method::HEAD => head(&storage, path, request.headers().get("want-digest")).await,
        Method::GET if storage.shared.faults.refuses_download(&path) => return StatusCode::FORBIDDEN.into_response(),
        Method::GET => {
            storage.shared.faults.until_downloads_go_on().await;
            get(&path).await
        }
        _ => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    result.unwrap_or_else(|error| status_of(&error).into_response())
}

/// Decodes a path, ignores doubled slashes, refuses to leave the storage.
fn path_below(directory: &Path, raw: &str) -> Option<PathBuf> {
    let decoded = percent_decode_str(raw).decode_utf8().ok()?;
    let mut path = directory.to_owned();
    for component in decoded.split('/').filter(|component| !component.is_empty()) {
        if matches!(component, "." | "..") || component.contains('\0') {
            return None;
        }
        path.push(component);
    }
    Some(path)
}

fn status_of(error: &io::Error) -> StatusCode {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => StatusCode::NOT_FOUND,
        io::ErrorKind::IsADirectory => StatusCode::CONFLICT,
        io::ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn head(storage: &Arc<Storage>, path: PathBuf, wanted: Option<&HeaderValue>) -> io::Result<Response> {
    let status = tokio::fs::metadata(&path).await?;
    let bytes = status.len() + u64::from(storage.shared.faults.is_misstated());
    let mut response = Response::builder().header(header::CONTENT_LENGTH, bytes);
    if let Some(wanted) = wanted.and_then(|value| value.to_str().ok()) {
        let algorithm = Algorithm::wanted(wanted);
        let shared = Arc::clone(&storage.shared);
        // a directory opens and then fails to read, which is the error that becomes 409
        let digest = tokio::task::spawn_blocking(move || shared.digests.header(&path, algorithm));
        response = response.header("digest", digest.await.map_err(io::Error::other)??);
    }
    response.body(Body::empty()).map_err(io::Error::other)
}

async fn get(path: &Path) -> io::Result<Response> {
    let status = tokio::fs::metadata(path).await?;
    if status.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let file = File::open(path).await?;
    let chunks = stream::try_unfold(file, |mut file| async move {
        let mut chunk = vec![0; CHUNK];
        let count = file.read(&mut chunk).await?;
        chunk.truncate(count);
        Ok::<_, io::Error>((count > 0).then(|| (Bytes::from(chunk), file)))
    });
    Response::builder()
        .header(header::CONTENT_LENGTH, status.len())
        .body(Body::from_stream(chunks))
        .map_err(io::Error::other)
}
