//! Starts a scheduler and runs it until it is told to stop.

use crate::Config;
use prometheus_client::registry::Registry;
use runtime::{
    Clock, Entropy, Exit, Shutdown,
    serve::{Listen, ServeError, Server},
    telemetry,
};
use std::{net::SocketAddr, sync::Arc};
use tonic::service::Routes;

/// Why a scheduler cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A value of the configuration makes no sense.
    #[error("invalid configuration: {reason}")]
    Config {
        /// Which and why.
        reason: &'static str,
    },
    /// It cannot listen.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Our own protocol descriptors cannot be served: a defect of the build.
    #[error("cannot serve reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl StartError {
    /// What the shell is told.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config { .. } | Self::Serve(_) => Exit::Usage,
            Self::Reflection(_) => Exit::Internal,
        }
    }
}

/// A scheduler that is bound to its address.
#[derive(Debug)]
pub struct Running {
    server: Server,
    router: axum::Router,
}

/// Opens the journal, binds the address.
pub async fn start(
    config: Config,
    _clock: Arc<dyn Clock>,
    _entropy: Arc<dyn Entropy>,
) -> Result<Running, StartError> {
    config.check().map_err(|reason| StartError::Config { reason })?;
    let listen = Listen {
        address: config.listen,
        tls_cert: config.tls_cert.as_deref(),
        tls_key: config.tls_key.as_deref(),
        insecure: config.insecure,
    };
    let server = Server::bind(listen).await?;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .build_v1()?;
    let (_, health) = tonic_health::server::health_reporter();
    let router = Routes::new(reflection)
        .add_service(health)
        .into_axum_router()
        .merge(telemetry::routes(Arc::new(Registry::default())));
    Ok(Running { server, router })
}

impl Running {
    /// Its URL, as clients write it.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Where it listens, with the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Serves until shutdown, then lets calls finish and closes the journal.
    pub async fn run_until(self, shutdown: Shutdown) {
        self.server.run(self.router, shutdown).await;
    }
}
