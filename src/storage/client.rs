//! Asks one storage about one file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, LOCATION};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::digest::{Algorithm, Said, find, find_in_repr_digest};
use super::error::Error;
use super::lacking::Lacking;
use super::pfn::{forget_credentials, http_url, server};
use rucio_client::trust;

const WANT_DIGEST: HeaderName = HeaderName::from_static("want-digest");
const DIGEST: HeaderName = HeaderName::from_static("digest");
const WANT_REPR_DIGEST: HeaderName = HeaderName::from_static("want-repr-digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
/// Answers to a question for a digest that say no more than that the storage has none (XRootD before 5.5.5: 500).
const NO_SUCH_DIGEST: [u16; 7] = [400, 405, 406, 415, 422, 500, 501];

/// Redirects followed for one question; a storage sends from its door to the server that has the file.
const REDIRECTS_MAX: usize = 5;

/// Questions that one storage is asked at once. XRootD computes a few digests at a time (`xrootd.chksum max`); measured on
/// 5.5.3, a question over HTTP beyond that is never answered, and now and then ends the server.
pub const QUESTIONS: usize = 2;

/// Connections to one host that are kept for the next questions, and for how long. A busy moment opens more; they must not
/// all stay.
const IDLE_MAX: usize = 8;
const IDLE: Duration = Duration::from_secs(15);

/// A storage that delivers less than this is not waited for; in bytes per second.
const SLOWEST_BYTES_PER_SECOND: u64 = 1 << 20;

/// How to ask.
#[derive(Clone, Debug)]
pub struct Settings {
    /// PEM file of the only CAs to trust; none: those of the machine.
    pub ca_file: Option<PathBuf>,
    /// Longest wait for an answer. A storage that has to read the file for its digest answers when it is done.
    pub timeout: Duration,
    /// Longest time for connecting, TLS included.
    pub connect_timeout: Duration,
}

/// What a storage says about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Size in bytes, as the file is now.
    pub bytes: u64,
    /// A digest of one of the algorithms asked for, in lower-case hexadecimal digits; none if the storage knows none.
    pub digest: Option<(Algorithm, String)>,
    /// Host and port of the server that said so, if redirects led there from the door that was asked.
    pub led_to: Option<String>,
}

/// A file as a storage delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBack {
    /// Bytes that were read.
    pub bytes: u64,
    /// Their BLAKE3, 64 lower-case hexadecimal digits.
    pub blake3: String,
    /// Host and port of the server that delivered them, if redirects led there from the door that was asked.
    pub led_to: Option<String>,
}

/// A client of any number of storages. Clones share everything.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    timeout: Duration,
    /// Of each storage that was asked, by its door's host and port.
    turns: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
    digests: Arc<Lacking>,
}

impl Client {
    /// Sets up a client; nothing is sent yet. Fails with [`Error::Settings`] if the CA file is of no use.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let useless = |reason: String| Error::Settings { reason };
        let trust = match trust::client_config(settings.ca_file.as_deref()) {
            // a site with plain HTTP storages alone needs no CAs; with others it hears of it at the first question
            Err(trust::TrustError::NoSystemStore) => trust::config_without_trust(),
            other => other,
        };
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(trust.map_err(|error| useless(error.to_string()))?)
            .user_agent(concat!("dl0-ingest/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            // XRootD knows `Want-Digest` in this spelling alone, and otherwise answers without a digest
            .http1_title_case_headers()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(|error| useless(format!("the HTTP client cannot be set up: {error}")))?;
        Ok(Self { http, timeout: settings.timeout, turns: Arc::default(), digests: Arc::default() })
    }

    /// Asks for size and digest of the file with this physical name (`HEAD` with `Want-Digest`), for one algorithm
    /// after the other until the answer has that algorithm's own name in it. Nothing is repeated here. A storage is asked
    /// two questions at once; more wait for their turn.
    ///
    /// Whatever way a storage says that it has no such digest, the next one is asked for; it is remembered of its door for an
    /// hour. An answer that cannot be true is [`Error::Contradictory`].
    pub async fn examine(&self, pfn: &str, prefer: &[Algorithm]) -> Result<Found, Error> {
        let url = http_url(pfn)?;
        let _turn = self.turn(&url).await;
        let (mut lacking, mut without_digest) = (Vec::new(), None);
        for &algorithm in prefer.iter().filter(|algorithm| !self.digests.lacks(&url, **algorithm)) {
            let (led_to, headers) = match self.head(&url, Some(algorithm)).await {
                Err(Error::Transient { status: Some(status), .. } | Error::Protocol { status: Some(status), .. })
                    if NO_SUCH_DIGEST.contains(&status) =>
                {
                    lacking.push(algorithm);
                    continue;
                }
                answer => answer?,
            };
            let bytes = size(&url, &headers)?;
            match said(&headers, algorithm) {
                Said::Digest(digest) => {
                    self.digests.lack(&url, &lacking, true);
                    return possible(&url, Found { bytes, digest: Some((algorithm, digest)), led_to });
                }
                Said::Nothing | Said::Nonsense(_) => {
                    lacking.push(algorithm);
                    without_digest = Some(Found { bytes, digest: None, led_to });
                }
                Said::Two => {
                    let reason = format!("it states two digests {algorithm}");
                    return Err(Error::Contradictory { url: shown(&url), reason });
                }
            }
        }
        let found = if let Some(found) = without_digest {
            found
        } else {
            let (led_to, headers) = self.head(&url, None).await?;
            Found { bytes: size(&url, &headers)?, digest: None, led_to }
        };
        self.digests.lack(&url, &lacking, false);
        if found.bytes == 0 && self.delivers_something(&url).await? {
            let reason = "it says that the file has no bytes, and delivers some".to_owned();
            return Err(Error::Contradictory { url: shown(&url), reason });
        }
        Ok(found)
    }

    /// Whether anything lies under that name, be it a directory (`HEAD`).
    pub async fn is_there(&self, pfn: &str) -> Result<bool, Error> {
        let url = http_url(pfn)?;
        let _turn = self.turn(&url).await;
        match self.head(&url, None).await {
            Ok(_) | Err(Error::Protocol { status: Some(409), .. }) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn delivers_something(&self, door: &Url) -> Result<bool, Error> {
        let (url, mut response) = self.behind_redirects(door, |at| self.http.get(at)).await?;
        Ok(self.in_time(&url, response.chunk()).await?.is_some_and(|chunk| !chunk.is_empty()))
    }

    /// Reads the file with this physical name whole (`GET`). A file that goes on beyond `expected` bytes is not read
    /// further: it is another file then, and so is its digest.
    pub async fn read_back(&self, pfn: &str, expected: u64) -> Result<ReadBack, Error> {
        let patience = self.timeout + Duration::from_secs(expected / SLOWEST_BYTES_PER_SECOND);
        let door = http_url(pfn)?;
        let (url, mut response) = self.behind_redirects(&door, |at| self.http.get(at).timeout(patience)).await?;
        let mut blake3 = blake3::Hasher::new();
        while let Some(chunk) = self.in_time(&url, response.chunk()).await? {
            blake3.update(&chunk);
            if blake3.count() > expected {
                break;
            }
        }
        let led_to = led_to(&door, &url);
        Ok(ReadBack { bytes: blake3.count(), blake3: blake3.finalize().to_hex().to_string(), led_to })
    }

    /// Patience with a large file is none with a storage that delivers nothing.
    async fn in_time<T>(&self, url: &Url, part: impl Future<Output = reqwest::Result<T>>) -> Result<T, Error> {
        match tokio::time::timeout(self.timeout, part).await {
            Ok(part) => part.map_err(|error| self.no_answer(url, error)),
            Err(_) => Err(Error::Transient { url: shown(url), status: None, reason: self.silence() }),
        }
    }

    fn silence(&self) -> String {
        format!("no answer within {} s", self.timeout.as_secs_f64())
    }

    async fn turn(&self, url: &Url) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(server(url)).or_insert_with(|| Arc::new(Semaphore::new(QUESTIONS))))
        };
        // never closed
        turns.acquire_owned().await.ok()
    }

    /// The headers, and the server they came from if that is another one.
    async fn head(&self, url: &Url, want: Option<Algorithm>) -> Result<(Option<String>, HeaderMap), Error> {
        let request = |at| {
            let request = self.http.request(Method::HEAD, at);
            match want {
                Some(algorithm) => request
                    .header(WANT_DIGEST, algorithm.as_str())
                    .header(WANT_REPR_DIGEST, format!("{}=10", algorithm.name_in_repr_digest())),
                None => request,
            }
        };
        let (answered, response) = self.behind_redirects(url, request).await?;
        Ok((led_to(url, &answered), response.headers().clone()))
    }

    /// The final answer, and whose it is.
    async fn behind_redirects(
        &self,
        url: &Url,
        request: impl Fn(Url) -> RequestBuilder,
    ) -> Result<(Url, Response), Error> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.in_time(&at, request(at.clone()).send()).await?;
            if !response.status().is_redirection() {
                refuse_failures(&at, &response)?;
                return Ok((at, response));
            }
            at = redirected(&at, response.headers())?;
        }
        Err(protocol(url, None, format!("more than {REDIRECTS_MAX} redirects")))
    }

    fn no_answer(&self, url: &Url, error: reqwest::Error) -> Error {
        let url = shown(url);
        let error = error.without_url();
        if let Some(fault) = trust::fault(&error) {
            return Error::Tls { url, reason: fault.told("the RSE's protocols in Rucio", "offsite.ca_file") };
        }
        let reason = if error.is_timeout() && !error.is_connect() { self.silence() } else { trust::root_cause(&error) };
        Error::Transient { url, status: None, reason }
    }
}

fn protocol(url: &Url, status: Option<StatusCode>, reason: impl Into<String>) -> Error {
    Error::Protocol { url: shown(url), status: status.map(|status| status.as_u16()), reason: reason.into() }
}

/// Whether a final answer is one about the file.
fn refuse_failures(at: &Url, response: &Response) -> Result<(), Error> {
    let url = shown(at);
    match response.status() {
        StatusCode::OK => Ok(()),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(Error::NotFound { url }),
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            Err(Error::Refused { url, status: status.as_u16() })
        }
        status
            if status.is_server_error()
                || [StatusCode::REQUEST_TIMEOUT, StatusCode::LOCKED, StatusCode::TOO_MANY_REQUESTS]
                    .contains(&status) =>
        {
            Err(Error::Transient { url, status: Some(status.as_u16()), reason: format!("status {status}") })
        }
        // XRootD's word for a directory
        status @ StatusCode::CONFLICT => Err(protocol(at, Some(status), "it is not a file (status 409)")),
        status => Err(protocol(at, Some(status), format!("status {status}"))),
    }
}

/// The server that answered, if it is not the door.
fn led_to(door: &Url, answered: &Url) -> Option<String> {
    let answered = server(answered);
    (answered != server(door)).then_some(answered)
}

/// Where a redirect leads. Never from TLS to plain HTTP: nobody would vouch for the answer.
fn redirected(from: &Url, headers: &HeaderMap) -> Result<Url, Error> {
    let bad = |reason: &str| protocol(from, None, reason);
    let location = headers
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| bad("a redirect without a target"))?;
    let mut to = from.join(location).map_err(|_| bad("a redirect to something that is no URL"))?;
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => {}
        ("https", "http") => return Err(bad("a redirect from https to plain http, which is not followed")),
        _ => return Err(bad("a redirect away from HTTP")),
    }
    forget_credentials(&mut to);
    Ok(to)
}

fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

fn said(headers: &HeaderMap, algorithm: Algorithm) -> Said {
    texts(headers, &DIGEST)
        .map(|value| find(value, algorithm))
        .chain(texts(headers, &REPR_DIGEST).map(|value| find_in_repr_digest(value, algorithm)))
        .fold(Said::Nothing, Said::and)
}

fn texts<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
}

/// No bytes have the digest of no bytes, and no other.
fn possible(url: &Url, found: Found) -> Result<Found, Error> {
    match &found.digest {
        Some((algorithm, digest)) if found.bytes == 0 && digest != algorithm.of_nothing() => {
            let reason = format!("it says that the file has no bytes, and {algorithm} {digest}, which is that of some");
            Err(Error::Contradictory { url: shown(url), reason })
        }
        _ => Ok(found),
    }
}

/// The size a `HEAD` announces; there is no body to count.
fn size(url: &Url, headers: &HeaderMap) -> Result<u64, Error> {
    headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .ok_or_else(|| protocol(url, None, "it does not tell the size"))
}
