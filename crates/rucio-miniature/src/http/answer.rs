//! Answers as Rucio writes them.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream::{self, Stream, StreamExt};
use serde_json::{Value, json};

/// Longest message in the `ExceptionMessage` header; the body has it whole.
const MESSAGE_MAX: usize = 125;

/// An answer before it is sent.
#[derive(Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    /// Break the connection after this many bytes.
    cut_at: Option<usize>,
}

impl Reply {
    fn new(status: u16, kind: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![(header::CONTENT_TYPE.to_string(), kind.to_owned())];
        Self { status, headers, body: body.into(), cut_at: None }
    }

    /// What another server has answered.
    pub fn relayed(status: u16, headers: Vec<(String, String)>, body: Bytes) -> Self {
        Self { status, headers, body, cut_at: None }
    }

    /// 200 without a body.
    pub(crate) fn empty() -> Self {
        Self::new(200, "text/html; charset=utf-8", "")
    }

    /// 201 with the word Rucio says.
    pub(crate) fn created() -> Self {
        Self::new(201, "text/html; charset=utf-8", "Created")
    }

    /// 201 with ids.
    pub(crate) fn created_ids(ids: &[String]) -> Self {
        Self::new(201, "text/html; charset=utf-8", json!(ids).to_string())
    }

    /// 201 with one JSON value.
    pub(crate) fn created_json(value: &Value) -> Self {
        Self::new(201, "application/json", value.to_string())
    }

    /// 200 with one JSON value.
    pub(crate) fn json(value: &Value) -> Self {
        Self::new(200, "application/json", value.to_string())
    }

    /// 200 with one JSON value a line.
    pub(crate) fn lines(values: impl IntoIterator<Item = Value>) -> Self {
        let mut body = String::new();
        for value in values {
            body.push_str(&value.to_string());
            body.push('\n');
        }
        Self::new(200, "application/x-json-stream", body)
    }

    /// 303 to another place.
    pub(crate) fn see_other(location: &str) -> Self {
        Self::new(303, "text/html; charset=utf-8", "").header("Location", location)
    }

    /// 404 of the web framework, without any exception class.
    pub(crate) fn not_found() -> Self {
        Self::new(404, "text/html; charset=utf-8", "<!doctype html>\n<title>404 Not Found</title>\n")
    }

    /// A refusal in Rucio's form.
    pub(crate) fn error(status: u16, class: &str, message: &str) -> Self {
        let body = json!({"ExceptionClass": class, "ExceptionMessage": message}).to_string();
        let mut short: String = message.replace(['\n', '\r'], " ").chars().take(MESSAGE_MAX).collect();
        if message.chars().count() > MESSAGE_MAX {
            short.push_str("...");
        }
        Self::new(status, "application/octet-stream", body)
            .header("ExceptionClass", class)
            .header("ExceptionMessage", &short)
    }

    /// 500 with the bare text of an exception nobody caught.
    pub(crate) fn internal(message: &str) -> Self {
        Self::new(500, "text/html; charset=utf-8", message.to_owned())
    }

    /// An error page of a proxy, which knows nothing of Rucio's exceptions.
    pub fn proxy_error(status: u16) -> Self {
        Self::new(status, "text/html", format!("<html><body><h1>{status}</h1>The proxy has no answer.</body></html>"))
    }

    /// Success that makes no sense.
    pub(crate) fn garbage() -> Self {
        Self::new(200, "application/json", "{\"half\": [1, <html>\n")
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends half of the body and breaks the connection.
    pub(crate) fn truncated(mut self) -> Self {
        self.cut_at = Some(self.body.len() / 2);
        self
    }

    /// Leaves out the last of several lines, or the only one.
    pub(crate) fn without_last_line(mut self) -> Self {
        let whole = self.body.strip_suffix(b"\n").unwrap_or(&self.body);
        let end = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.body.truncate(end);
        self
    }

    pub(crate) fn into_response(self) -> Response {
        let body = match self.cut_at {
            None => Body::from(self.body),
            Some(at) => Body::from_stream(broken_after(self.body.slice(..at))),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// The bytes, then an error that makes the server cut the connection.
fn broken_after(bytes: Bytes) -> impl Stream<Item = io::Result<Bytes>> {
    stream::iter([Ok(bytes)]).chain(stream::once(async {
        // gives the server a moment to send what it has, head included
        tokio::task::yield_now().await;
        Err(io::ErrorKind::BrokenPipe.into())
    }))
}
