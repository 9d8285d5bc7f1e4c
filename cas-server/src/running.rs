//! A server from its configuration to its end.

use crate::{
    Config,
    engine::{Engine, OpenError, store_descriptors},
    service::{self, Health, Service},
};
use axum::Router;
use prometheus_client::registry::Registry;
use runtime::{
    Clock, Entropy, Exit, Latency, Shutdown,
    serve::{Listen, ServeError, Server},
    telemetry,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio_util::task::TaskTracker;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store does not open.
    #[error("cannot open the store")]
    Open(#[from] OpenError),
    /// The port cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The descriptions of the protocols cannot be served: a defect of the build.
    #[error("cannot serve reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl StartError {
    /// What the program says to the shell.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Serve(_) | Self::Open(OpenError::InUse { .. } | OpenError::Format { .. }) => Exit::Usage,
            Self::Open(OpenError::Io { source, .. }) => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Exit::NoSpace,
                io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory | io::ErrorKind::NotFound => {
                    Exit::Usage
                }
                _ => Exit::Internal,
            },
            Self::Open(
                OpenError::Full { .. } | OpenError::Replay { source: cas::Error::Exhausted { .. }, .. },
            ) => Exit::NoSpace,
            Self::Open(OpenError::Index { .. } | OpenError::Replay { .. }) | Self::Reflection(_) => {
                Exit::Internal
            }
        }
    }
}

/// A server that is bound and has not served yet.
#[derive(Debug)]
pub struct Running {
    server: Server,
    router: Router,
    engine: Arc<Engine>,
    health: Health,
    uploads: TaskTracker,
    clock: Arc<dyn Clock>,
}

/// Clients that watch a tree take what they were told for true for half of that, and have the other half to use it.
const SHORTEST_LEASE: Duration = cas::tree::TRUSTED.saturating_mul(2);

/// What uploads whose connections are gone have left to do is little.
const UPLOADS_END: Duration = Duration::from_secs(10);

/// Opens the store and binds the port.
pub async fn start(
    config: Config,
    clock: Arc<dyn Clock>,
    _entropy: Arc<dyn Entropy>,
) -> Result<Running, StartError> {
    let listen = Listen {
        address: config.listen,
        tls_cert: config.tls_cert.as_deref(),
        tls_key: config.tls_key.as_deref(),
        insecure: config.insecure,
    };
    let server = Server::bind(listen).await?.leave_descriptors(store_descriptors());
    if config.lease < SHORTEST_LEASE {
        tracing::warn!(
            lease = ?config.lease,
            "what clients were told is there may go while they rely on it: those that watch trees ask about all blobs every \
             10 minutes only; 20 minutes are the least that is safe"
        );
    }
    let engine = Arc::new(Engine::open(&config.data, config.engine_options(), Arc::clone(&clock))?);
    let mut registry = Registry::with_prefix("cas");
    engine.register(&mut registry);
    server.register(&mut registry);
    let latency = Latency::new(Arc::clone(&clock), &mut registry, service::METHODS);
    let Service { router, health, uploads } =
        service::router(Arc::clone(&engine), &config, Arc::clone(&clock)).await?;
    let checked = Arc::clone(&engine);
    let telemetry = telemetry::routes(Arc::new(registry), move || checked.health());
    let router = latency.around(router.merge(telemetry));
    Ok(Running { server, router, engine, health, uploads, clock })
}

impl Running {
    /// Where it listens, with the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its URL, as clients write it.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Serves until shutdown, then closes the store.
    pub async fn run_until(self, shutdown: Shutdown) {
        let Self { server, router, engine, health, uploads, clock } = self;
        let watching = health.watch(Arc::clone(&engine), clock, shutdown.clone());
        futures::join!(server.run(router, shutdown), watching);
        uploads.close();
        if tokio::time::timeout(UPLOADS_END, uploads.wait()).await.is_err() {
            tracing::warn!("uploads were cut at shutdown: they did not end in time");
        }
        // Connections are gone by now, and with them all other references; if one is left, dropping does nearly as well.
        if let Some(engine) = Arc::into_inner(engine) {
            engine.close().await;
        }
    }
}
