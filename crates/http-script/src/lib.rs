//! An HTTP/1.1 server for tests of HTTP clients: it does what a test tells it, bad manners included, and keeps what
//! it was asked.
//!
//! A server that cannot do its part panics: it serves tests alone.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use url::Url;

pub use rcgen;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query, as on the wire.
    pub target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Seen {
    /// The value of a header, whatever its spelling.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether there is a header of exactly this spelling.
    pub fn spells(&self, name: &str) -> bool {
        self.headers.iter().any(|(key, _)| key == name)
    }

    /// The body, which must be JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What to do with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answer properly.
    Answer {
        /// HTTP status.
        status: u16,
        /// Headers; `Content-Length` is added if it is missing.
        headers: Vec<(&'static str, String)>,
        /// Body; left out in an answer to `HEAD`.
        body: String,
    },
    /// Write these bytes and hang up.
    Raw(String),
    /// Answer 200 and go on with this for ever.
    Endless(&'static str),
    /// Never answer.
    Hang,
    /// Write these bytes and nothing more.
    Stall(String),
}

impl Reply {
    /// A proper answer.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.into() }
    }

    /// Adds a header to a proper answer.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.into()));
        }
        self
    }
}

/// Gives the replies one after the other; then 501s.
pub fn queue(replies: impl IntoIterator<Item = Reply>) -> impl FnMut(&Seen) -> Reply {
    let mut left: VecDeque<Reply> = replies.into_iter().collect();
    move |_| left.pop_front().unwrap_or_else(|| Reply::new(501, "nothing more was planned"))
}

/// A server on 127.0.0.1 that stops when it is dropped.
pub struct MockServer {
    /// Where it is reached.
    pub url: Url,
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    tasks: JoinSet<()>,
}

type Handler = Arc<Mutex<dyn FnMut(&Seen) -> Reply + Send>>;

impl MockServer {
    /// Serves plain HTTP on a free port.
    pub async fn start(handler: impl FnMut(&Seen) -> Reply + Send + 'static) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), handler).await
    }

    /// Serves plain HTTP on a certain port.
    pub async fn start_at(address: SocketAddr, handler: impl FnMut(&Seen) -> Reply + Send + 'static) -> Self {
        Self::serve(address, Arc::new(Mutex::new(handler)), None).await
    }

    /// Serves HTTPS on a free port.
    pub async fn start_tls(tls: rustls::ServerConfig, handler: impl FnMut(&Seen) -> Reply + Send + 'static) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        Self::serve(([127, 0, 0, 1], 0).into(), Arc::new(Mutex::new(handler)), Some(acceptor)).await
    }

    async fn serve(address: SocketAddr, handler: Handler, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let record = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (handler, record, tls) = (Arc::clone(&handler), Arc::clone(&record), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => converse(stream, &handler, &record).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                converse(stream, &handler, &record).await;
                            }
                        }
                    }
                });
            }
        });
        Self { url: Url::parse(&format!("{scheme}://{address}")).unwrap(), address, seen, tasks }
    }

    /// Stops listening; the port is free, and refuses, when this returns.
    pub async fn stop(mut self) -> SocketAddr {
        self.tasks.shutdown().await;
        self.address
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// One request, one reply; a client that hangs up early is no failure of the test.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, handler: &Handler, record: &Mutex<Vec<Seen>>) {
    let Some(request) = read_request(&mut stream).await else { return };
    record.lock().unwrap().push(request.clone());
    let reply = (handler.lock().unwrap())(&request);
    match reply {
        Reply::Hang => std::future::pending().await,
        Reply::Stall(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            std::future::pending::<()>().await;
        }
        Reply::Raw(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Reply::Endless(text) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await;
            let block = text.repeat(64 * 1024 / text.len());
            while stream.write_all(block.as_bytes()).await.is_ok() {}
        }
        Reply::Answer { status, headers, body } => {
            let mut text = format!("HTTP/1.1 {status} -\r\nConnection: close\r\n");
            if !headers.iter().any(|(name, _)| *name == "Content-Length") {
                text.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
            }
            for (name, value) in headers {
                text.extend([name, ": ", &value, "\r\n"]);
            }
            text += "\r\n";
            if request.method != "HEAD" {
                text += &body;
            }
            let _ = stream.write_all(text.as_bytes()).await;
        }
    }
    let _ = stream.shutdown().await;
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Seen> {
    let mut text = Vec::new();
    let end = loop {
        if let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut text).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(text[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let mut request = Seen { method, target, headers, body: text[end + 4..].to_vec() };
    let length = request.header("content-length").map_or(0, |value| value.parse().unwrap());
    while request.body.len() < length {
        if stream.read_buf(&mut request.body).await.ok()? == 0 {
            return None;
        }
    }
    Some(request)
}

/// A certification authority, and a server certified by it for 127.0.0.1.
pub struct TestCa {
    /// The CA's certificate as PEM.
    pub pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}

impl TestCa {
    /// A new one: its name is that of all others, its key is its own.
    pub fn new() -> Self {
        Self::named("Test CA")
    }

    /// A new one with a name.
    pub fn named(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::default();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { pem, issuer: rcgen::Issuer::new(parameters, key) }
    }

    /// The TLS side of a server with a certificate of this CA for `name`.
    pub fn server(&self, name: &str) -> rustls::ServerConfig {
        self.server_with(name, |_| {})
    }

    /// The same, with a certificate that is changed before it is signed.
    pub fn server_with(&self, name: &str, change: impl FnOnce(&mut rcgen::CertificateParams)) -> rustls::ServerConfig {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut parameters);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        tls_server(certificate.der().clone(), &PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }
}

/// The TLS side of a server with this certificate, whether or not it is one that anybody would accept.
pub fn tls_server(certificate: CertificateDer<'static>, key: &PrivateKeyDer<'_>) -> rustls::ServerConfig {
    let key = rustls::crypto::ring::sign::any_supported_type(key).unwrap();
    let pair = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(vec![certificate], key));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(pair))
}
