//! Reading successful answers, within bounds.

use reqwest::Response;
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;

use crate::ndjson::{LineParser, StreamError};
use crate::trust::root_cause;

/// Largest list taken; the content of a dataset of a million files has about 200 MB.
const LIST_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Largest single JSON value taken.
const JSON_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How much of words that are not Rucio's is repeated, in bytes.
const WORDS_MAX: usize = 100;

/// Why a body is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the answer broke off: {}", root_cause(.0))]
    Broken(#[from] reqwest::Error),
    #[error("the answer is not Rucio's word that it was done: {0}")]
    Words(String),
    #[error("the answer is longer than {0} bytes")]
    TooLong(u64),
    #[error("the answer cannot be understood: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Stream(#[from] StreamError),
}

/// What can be read from a successful answer.
pub(crate) trait Answer: Sized {
    async fn read(response: Response) -> Result<Self, BodyError>;
}

/// Rucio's word that something was done: nothing, or "Created". Whatever else comes with a success comes from something
/// that stands in front of Rucio and has done nothing.
impl Answer for () {
    async fn read(response: Response) -> Result<Self, BodyError> {
        match read_all(response, JSON_BYTES_MAX).await?.trim_ascii() {
            b"" | b"Created" => Ok(()),
            other => Err(BodyError::Words(String::from_utf8_lossy(&other[..other.len().min(WORDS_MAX)]).into_owned())),
        }
    }
}

/// The headers matter.
pub(crate) struct Headers(pub(crate) HeaderMap);

impl Answer for Headers {
    async fn read(mut response: Response) -> Result<Self, BodyError> {
        let headers = std::mem::take(response.headers_mut());
        // read to the end, so that the connection can be used again
        read_all(response, JSON_BYTES_MAX).await?;
        Ok(Self(headers))
    }
}

/// One JSON value.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> Answer for Json<T> {
    async fn read(response: Response) -> Result<Self, BodyError> {
        Ok(Self(serde_json::from_slice(&read_all(response, JSON_BYTES_MAX).await?)?))
    }
}

/// One JSON value a line, parsed while they arrive.
pub(crate) struct Lines<T>(pub(crate) Vec<T>);

impl<T: DeserializeOwned> Answer for Lines<T> {
    async fn read(mut response: Response) -> Result<Self, BodyError> {
        let (mut parser, mut items, mut left) = (LineParser::default(), Vec::new(), LIST_BYTES_MAX);
        while let Some(chunk) = response.chunk().await? {
            left = left.checked_sub(chunk.len() as u64).ok_or(BodyError::TooLong(LIST_BYTES_MAX))?;
            parser.push(&chunk, &mut items)?;
        }
        parser.finish(&mut items)?;
        Ok(Self(items))
    }
}

/// What is kept of a list that is too long to be kept.
pub(crate) trait Gather: Default {
    /// Most bytes of an answer.
    const MAX: u64;
    /// One line of the list.
    type Line: DeserializeOwned;
    /// Takes what matters of a line.
    fn take(&mut self, line: Self::Line);
}

/// A long list, of which no more than a chunk is in memory.
pub(crate) struct Gathered<G>(pub(crate) G);

impl<G: Gather> Answer for Gathered<G> {
    async fn read(mut response: Response) -> Result<Self, BodyError> {
        let (mut parser, mut items, mut gathered) = (LineParser::default(), Vec::new(), G::default());
        let mut left = G::MAX;
        while let Some(chunk) = response.chunk().await? {
            left = left.checked_sub(chunk.len() as u64).ok_or(BodyError::TooLong(G::MAX))?;
            parser.push(&chunk, &mut items)?;
            for line in items.drain(..) {
                gathered.take(line);
            }
        }
        parser.finish(&mut items)?;
        for line in items {
            gathered.take(line);
        }
        Ok(Self(gathered))
    }
}

/// The whole body, if it has at most `max` bytes.
pub(crate) async fn read_all(mut response: Response, max: u64) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if (body.len() + chunk.len()) as u64 > max {
            return Err(BodyError::TooLong(max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
