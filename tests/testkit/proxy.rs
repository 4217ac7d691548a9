//! A proxy that stands in front of a Rucio and spoils what passes, with the faults of the embedded one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, header};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener as _};
use rucio_miniature::{Connection, Endpoint, Faults, Listener, Reply, Scissors, with_faults};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Largest request passed on.
const BODY_MAX: usize = 64 << 20;
/// Connections that have greeted and are not served yet.
const GREETED: usize = 64;
/// Rucio's server closes idle connections after 5 s; ours go before that.
const IDLE: Duration = Duration::from_secs(1);

/// What concerns one connection only, and not what is said over it.
const OF_THE_CONNECTION: [HeaderName; 4] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::HOST];

/// A running proxy, which ends when it is dropped.
pub(crate) struct Proxy {
    url: String,
    faults: Faults,
    _tasks: JoinSet<()>,
}

/// The Rucio behind it.
struct Behind {
    url: String,
    http: reqwest::Client,
    faults: Faults,
}

impl Proxy {
    /// Speaks TLS with `tls` on a free port of localhost, and `http` with the Rucio at `url`.
    pub(crate) fn start(tls: rustls::ServerConfig, url: &str, http: reqwest::ClientBuilder) -> io::Result<Self> {
        let faults = Faults::of_a_proxy();
        let listener = Listener::of_a_proxy(&faults)?;
        let address = listener.address();
        let (greeted, ready) = mpsc::channel(GREETED);
        let mut tasks = JoinSet::new();
        tasks.spawn(greet(listener, TlsAcceptor::from(Arc::new(tls)), greeted));
        let http = http.redirect(reqwest::redirect::Policy::none()).no_proxy().pool_idle_timeout(IDLE);
        let http = http.build().map_err(io::Error::other)?;
        let behind = Behind { url: url.trim_end_matches('/').to_owned(), http, faults: faults.clone() };
        let router = Router::new().fallback(pass).with_state(Arc::new(behind));
        let service = router.into_make_service_with_connect_info::<Way>();
        tasks.spawn(async move { axum::serve(Door { ready, address }, service).await.expect("it serves for ever") });
        Ok(Self { url: format!("https://localhost:{}", address.port()), faults, _tasks: tasks })
    }

    /// Where clients find it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What it does to what passes; nothing at first.
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// How many answers it has spoilt.
    pub(crate) fn spoilt(&self) -> u64 {
        self.faults.spoilt().values().sum()
    }
}

/// Shakes hands with everybody at once: one slow client must not keep the others waiting.
async fn greet(mut listener: Listener, tls: TlsAcceptor, greeted: mpsc::Sender<(TlsStream<Connection>, SocketAddr)>) {
    loop {
        let (connection, peer) = listener.accept().await;
        let (handshake, greeted) = (tls.accept(connection), greeted.clone());
        tokio::spawn(async move {
            if let Ok(stream) = handshake.await {
                // nobody listens any more: the proxy has ended
                let _ = greeted.send((stream, peer)).await;
            }
        });
    }
}

/// Where connections come in whose TLS is set up.
struct Door {
    ready: mpsc::Receiver<(TlsStream<Connection>, SocketAddr)>,
    address: SocketAddr,
}

impl axum::serve::Listener for Door {
    type Io = TlsStream<Connection>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// The way a request came.
#[derive(Clone)]
struct Way(Scissors);

impl Connected<IncomingStream<'_, Door>> for Way {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self(stream.io().get_ref().0.scissors())
    }
}

async fn pass(
    State(behind): State<Arc<Behind>>,
    ConnectInfo(Way(scissors)): ConnectInfo<Way>,
    request: Request,
) -> Response {
    let endpoint = Endpoint::of(request.method().as_str(), request.uri().path());
    with_faults(&behind.faults, endpoint, &scissors, behind.relay(request)).await
}

impl Behind {
    /// Rucio's own answer, to the last byte.
    async fn relay(&self, request: Request) -> Reply {
        match self.exchange(request).await {
            Ok((status, headers, body)) => Reply::relayed(status, headers, body),
            Err(error) => {
                println!("the proxy gets no answer: {error}");
                Reply::proxy_error(502)
            }
        }
    }

    async fn exchange(
        &self,
        request: Request<Body>,
    ) -> Result<(u16, Vec<(String, String)>, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let (mut head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, BODY_MAX).await?;
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        for name in OF_THE_CONNECTION {
            head.headers.remove(name);
        }
        let url = format!("{}{target}", self.url);
        let answer = self.http.request(head.method, url).headers(head.headers).body(body).send().await?;
        let status = answer.status().as_u16();
        let passed_on = answer.headers().iter().filter(|(name, _)| !OF_THE_CONNECTION.contains(name));
        let headers = passed_on
            .map(|(name, value)| Ok((name.to_string(), value.to_str()?.to_owned())))
            .collect::<Result<_, reqwest::header::ToStrError>>()?;
        Ok((status, headers, answer.bytes().await?))
    }
}
