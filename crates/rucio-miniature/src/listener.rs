//! A TCP listener that can go away and come back on the same port, taking its connections with it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::faults::{Faults, Outage, RUCIO};

/// Connections the kernel holds for us; far more than any client here opens.
const BACKLOG: u32 = 1024;

/// Pause after a failure to accept.
const RETRY: Duration = Duration::from_millis(10);

/// The port is always ours: a bound socket that does not listen refuses connections and keeps others off the port.
enum Socket {
    Bound(TcpSocket),
    Listening(TcpListener),
    Moving,
}

/// Accepts while its server is not [`Outage::Refuse`]d.
pub struct Listener {
    socket: Socket,
    address: SocketAddr,
    outage: watch::Receiver<Option<Outage>>,
    /// Cancelled when the server goes away.
    standing: CancellationToken,
}

impl Listener {
    /// Takes a free port on 127.0.0.1 for a proxy in front of Rucio.
    pub fn of_a_proxy(faults: &Faults) -> io::Result<Self> {
        let outage = faults.watch_outage(RUCIO).ok_or_else(|| io::Error::other("these faults are not of a Rucio"))?;
        Self::bind(outage)
    }

    /// Takes a free port on 127.0.0.1.
    pub(crate) fn bind(outage: watch::Receiver<Option<Outage>>) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = socket.local_addr()?;
        let listening = socket.listen(BACKLOG)?;
        Ok(Self { socket: Socket::Listening(listening), address, outage, standing: CancellationToken::new() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn open(&mut self) -> io::Result<()> {
        self.socket = match std::mem::replace(&mut self.socket, Socket::Moving) {
            Socket::Bound(socket) => Socket::Listening(socket.listen(BACKLOG)?),
            Socket::Moving => Socket::Listening(bound(self.address)?.listen(BACKLOG)?),
            listening @ Socket::Listening(_) => listening,
        };
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        if matches!(self.socket, Socket::Bound(_)) {
            return Ok(());
        }
        self.socket = Socket::Moving;
        self.standing.cancel();
        self.standing = CancellationToken::new();
        self.socket = Socket::Bound(bound(self.address)?);
        Ok(())
    }

    async fn next(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            let refusing = *self.outage.borrow_and_update() == Some(Outage::Refuse);
            if refusing {
                self.close()?;
                if self.outage.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            }
            self.open()?;
            let Socket::Listening(listener) = &self.socket else { continue };
            tokio::select! {
                accepted = listener.accept() => return accepted,
                changed = self.outage.changed() => if changed.is_err() { std::future::pending::<()>().await },
            }
        }
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.next().await {
                Ok((stream, peer)) => {
                    // small answers must not wait for the kernel to gather more
                    let _ = stream.set_nodelay(true);
                    return (Connection::new(stream, &self.standing), peer);
                }
                // the port is taken or descriptors ran out: neither heals faster by spinning
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Cuts the connection it was taken from.
#[derive(Clone, Debug)]
pub struct Scissors(CancellationToken);

impl Scissors {
    /// What has not been sent yet is lost.
    pub fn cut(&self) {
        self.0.cancel();
    }
}

/// A connection that can be cut from outside.
pub struct Connection {
    stream: TcpStream,
    cut: CancellationToken,
    when_cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    fn new(stream: TcpStream, standing: &CancellationToken) -> Self {
        let cut = standing.child_token();
        let when_cut = Box::pin(cut.clone().cancelled_owned());
        Self { stream, cut, when_cut }
    }

    /// With which it can be cut.
    pub fn scissors(&self) -> Scissors {
        Scissors(self.cut.clone())
    }

    fn poll_cut(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        self.when_cut.as_mut().poll(context).map(|()| io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.poll_cut(context) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(context, to)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(error) = self.poll_cut(context) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
