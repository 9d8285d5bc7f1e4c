//! gRPC and HTTP on one port, with or without TLS, until shutdown.

mod outgoing;
mod room;

use crate::{Shutdown, connect::MAX_FRAME, descriptors};
use axum::{Router, response::Response};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use outgoing::Outgoing;
use prometheus_client::registry::Registry;
use room::{Place, Room};
use rustix::net::sockopt;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tower::util::MapResponse;

/// Connections get this long to finish what they accepted when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// A client gets this long for its TLS handshake, or without TLS for its first byte.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// A client that there is no room for gets this long to ask for something, and to hear so.
const REFUSAL: Duration = Duration::from_secs(1);

/// A connection is closed when a piece of an answer was not taken for this long; it takes at most twice as long to see.
const STALLED: Duration = Duration::from_secs(60);

/// When the kernel asks whether a silent client is still there, how often, and how often in vain.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(15), 4);

/// Descriptors that connections leave to the rest of the program, unless it says how many it needs.
const SPARE: u64 = 64;

/// Longest pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}{}", remedy(source))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Plain text would leave the machine.
    #[error(
        "{address} can be reached from other machines: give --tls-cert and --tls-key, or --insecure to serve anybody in plain text"
    )]
    Exposed {
        /// The address.
        address: SocketAddr,
    },
    /// One of certificate and key without the other.
    #[error("--tls-cert and --tls-key go together")]
    HalfTls,
    /// Certificate or key cannot be used.
    #[error("cannot use {} for TLS: {reason}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The cause itself follows in the chain.
fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => ": the port is in use, choose another one or port 0",
        io::ErrorKind::AddrNotAvailable => ": it is no address of this machine",
        io::ErrorKind::PermissionDenied => ": choose a port from 1024 on",
        _ => "",
    }
}

/// A bound port and how to speak on it.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptorDebug>,
    room: Room,
}

struct TlsAcceptorDebug(TlsAcceptor);

impl std::fmt::Debug for TlsAcceptorDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsAcceptor")
    }
}

/// Where and how to listen.
#[derive(Debug, Clone)]
pub struct Listen<'a> {
    /// Port 0 takes a free one.
    pub address: SocketAddr,
    /// PEM file of the certificate chain.
    pub tls_cert: Option<&'a Path>,
    /// PEM file of the private key.
    pub tls_key: Option<&'a Path>,
    /// Allow plain text beyond loopback.
    pub insecure: bool,
}

impl Server {
    /// Binds. Refuses to serve other machines in plain text unless that is asked for.
    pub async fn bind(listen: Listen<'_>) -> Result<Self, ServeError> {
        let tls = match (listen.tls_cert, listen.tls_key) {
            (Some(cert), Some(key)) => Some(TlsAcceptorDebug(acceptor(cert, key)?)),
            (None, None) => None,
            _ => return Err(ServeError::HalfTls),
        };
        let address = listen.address;
        if tls.is_none() && !address.ip().is_loopback() && !listen.insecure {
            return Err(ServeError::Exposed { address });
        }
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = bound.await.map_err(|source| ServeError::Bind { address, source })?;
        Ok(Self { listener, address, tls, room: Room::new(room_beside(SPARE)) })
    }

    /// Leaves so many file descriptors to the rest of the program. More connections than that leaves are told to come
    /// back, if they are few, and cut.
    pub fn leave_descriptors(self, spare: u64) -> Self {
        Self { room: Room::new(room_beside(spare)), ..self }
    }

    /// Hands the server's metrics to whoever exports them.
    pub fn register(&self, registry: &mut Registry) {
        self.room.register(registry);
    }

    /// Where it listens, with the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, as clients write it.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// Serves `router` until shutdown, then lets what was accepted finish for up to ten seconds.
    pub async fn run(self, router: Router, shutdown: Shutdown) {
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        loop {
            let stream = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        pause(&mut connections).await;
                        continue;
                    }
                },
                Some(_) = connections.join_next() => continue,
                () = shutdown.requested() => break,
            };
            let Some(place) = self.room.take() else { continue };
            prepare(&stream);
            let served = Served { place, router: router.clone(), watcher: graceful.watcher() };
            let shutdown = shutdown.clone();
            match &self.tls {
                None => connections.spawn(async move {
                    let opened = async { stream.readable().await.map(|()| stream) };
                    if let Some(stream) = first_word(opened, shutdown).await {
                        served.run(stream).await;
                    }
                }),
                Some(TlsAcceptorDebug(acceptor)) => {
                    let opened = acceptor.accept(stream);
                    connections.spawn(async move {
                        if let Some(stream) = first_word(opened, shutdown).await {
                            served.run(stream).await;
                        }
                    })
                }
            };
        }
        drop(self.listener);
        if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
            tracing::warn!("connections were cut at shutdown: they did not finish in time");
        }
        connections.shutdown().await;
    }
}

/// Connections that there is room for beside `spare` descriptors.
fn room_beside(spare: u64) -> usize {
    usize::try_from(descriptors::limit().saturating_sub(spare)).unwrap_or(usize::MAX)
}

/// Best effort: without the one the connection is only slower, without the other it may outlive its client's machine.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let (idle, interval, count) = KEEP_ALIVE;
    let _ = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, idle))
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, interval))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, count));
}

/// Out of file descriptors, most likely: waits for a connection to end, or a moment.
async fn pause(connections: &mut JoinSet<()>) {
    let ended = async {
        if connections.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    };
    // Either way it is time to try again.
    let _ = tokio::time::timeout(ACCEPT_PAUSE, ended).await;
}

/// A client that says nothing must neither keep a connection for ever nor hold up a stop.
async fn first_word<S>(opened: impl Future<Output = io::Result<S>>, shutdown: Shutdown) -> Option<S> {
    let opened = tokio::select! {
        opened = tokio::time::timeout(FIRST_WORD, opened) => opened,
        () = shutdown.requested() => return None,
    };
    match opened {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::debug!(%error, "a client left before its first request"),
        Err(_) => tracing::debug!("a client said nothing in time"),
    }
    None
}

/// A connection that has a place.
struct Served {
    place: Place,
    router: Router,
    watcher: Watcher,
}

impl Served {
    async fn run<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { place, router, watcher } = self;
        match place {
            Place::Served(_permit) => connection(stream, router, watcher).await,
            Place::Refused(_permit) => {
                let mut builder = builder();
                builder.http1().keep_alive(false);
                let service = TowerToHyperService::new(room::refusing());
                let told = builder.serve_connection(TokioIo::new(stream), service);
                // Either way it is cut now.
                let _ = tokio::time::timeout(REFUSAL, told).await;
            }
        }
    }
}

async fn connection<S>(stream: S, router: Router, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let outgoing = Arc::new(Outgoing::default());
    let counting = Arc::clone(&outgoing);
    let count = move |response: Response| response.map(|body| Arc::clone(&counting).count(body));
    let service = TowerToHyperService::new(MapResponse::new(router, count));
    let served = builder().serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    let mut served = std::pin::pin!(watcher.watch(served));
    loop {
        match tokio::time::timeout(STALLED, &mut served).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => return tracing::debug!(error, "connection ended"),
            Err(_) if outgoing.end_round() => {
                return tracing::debug!("closed a connection whose client does not read what it asked for");
            }
            Err(_) => {}
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024)
        .max_frame_size(MAX_FRAME)
        .max_concurrent_streams(1024);
    builder
}

fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, ServeError> {
    let refuse = |path: &Path, reason: String| ServeError::Tls { path: path.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refuse(cert, error.to_string()))?;
    if chain.is_empty() {
        return Err(refuse(cert, "it contains no certificate".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| refuse(key, error.to_string()))?;
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
            .map_err(|error| refuse(cert, error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests;
