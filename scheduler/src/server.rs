//! Starts a scheduler and runs it until it is told to stop.

use crate::{
    Config,
    journal::{Candidate, JournalError, Location},
    metrics::Metrics,
    outputs::Outputs,
    pools::Pools,
    programs::{ProgramError, Programs},
    queue::Tuning,
    service::{
        METHODS, Service,
        bootstrap::{self, Bootstrap},
    },
    shell::{Health, Settings, Shell},
    vault::{KeyError, Vault},
    wire::spec::Defaults,
};
use prometheus_client::registry::Registry;
use proto::{limits, v1};
use runtime::{
    Clock, Entropy, Exit, Latency, Shutdown,
    connect::ConnectError,
    serve::{Listen, ServeError, Server},
    telemetry,
};
use std::{convert::Infallible, net::SocketAddr, num::NonZeroU32, sync::Arc};
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic_health::{ServingStatus, server::HealthReporter};

/// Most shards that may wait for bots at once, over all runs: about 300 bytes of memory each.
const MOST_PENDING: usize = 2_000_000;

/// Why a scheduler cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A value of the configuration makes no sense.
    #[error("invalid configuration: {reason}")]
    Config {
        /// Which and why.
        reason: &'static str,
    },
    /// A bot program that is none.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The address of the CAS, or the certificates to trust, cannot be used.
    #[error("the CAS cannot be asked")]
    Cas(#[from] ConnectError),
    /// The key of secrets cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It cannot listen.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Its journal cannot be opened. The message says what to do.
    #[error("{message}")]
    Journal {
        /// Which directory and why.
        message: String,
        /// What the shell is told.
        exit: Exit,
    },
    /// Our own protocol descriptors cannot be served: a defect of the build.
    #[error("cannot serve reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl StartError {
    /// What the shell is told.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config { .. } | Self::Program(_) | Self::Cas(_) | Self::Key(_) | Self::Serve(_) => {
                Exit::Usage
            }
            Self::Journal { exit, .. } => *exit,
            Self::Reflection(_) => Exit::Internal,
        }
    }
}

impl From<JournalError> for StartError {
    fn from(error: JournalError) -> Self {
        let exit = match error {
            JournalError::InUse { .. }
            | JournalError::WrongKey { .. }
            | JournalError::Refused { .. }
            | JournalError::Outdated { .. } => Exit::Usage,
            JournalError::Standby { .. } | JournalError::Fenced { .. } | JournalError::Unreachable { .. } => {
                Exit::Unavailable
            }
            JournalError::NoSpace { .. } => Exit::NoSpace,
            JournalError::Damaged { .. } | JournalError::Store { .. } => Exit::Internal,
        };
        Self::Journal { message: error.to_string(), exit }
    }
}

/// Why a scheduler has stopped by itself: a defect. What it has told is in its journal; start it again.
#[derive(Debug, thiserror::Error)]
#[error("the task that owns the queue has failed: start the scheduler again")]
pub struct Stopped(#[source] tokio::task::JoinError);

/// A scheduler that is bound to its address and has opened its journal.
#[derive(Debug)]
pub struct Running {
    server: Server,
    router: axum::Router,
    shell: Shell,
    reporter: HealthReporter,
}

/// Binds the address, then opens and replays the journal.
pub async fn start(
    config: Config,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Running, StartError> {
    config.check().map_err(|reason| StartError::Config { reason })?;
    let listen = Listen {
        address: config.listen,
        tls_cert: config.tls_cert.as_deref(),
        tls_key: config.tls_key.as_deref(),
        insecure: config.insecure,
    };
    let outputs = Outputs::new(config.cas.as_deref(), config.ca_cert.as_deref())?;
    let programs = Arc::new(Programs::parse(&config.bot_program)?);
    let server = Server::bind(listen).await?;
    let mut registry = Registry::with_prefix("scheduler");
    let metrics = Metrics::new(&mut registry);
    let key = config.secret_key.clone().unwrap_or_else(|| config.data.with_added_extension("key"));
    let vault = Arc::new(Vault::new(&key, Arc::clone(&entropy))?);
    let settings = Settings {
        journal: location(&config, &server, &*entropy),
        vault: Arc::clone(&vault),
        pools: Pools::new(config.pools.clone()),
        tuning: Tuning {
            lease_ttl: config.lease_ttl,
            most_pending: MOST_PENDING,
            reuse_for: config.reuse_for,
            no_resource_after: config.no_resource_after,
            retain_for: config.retain_for,
        },
    };
    let latency = Latency::new(Arc::clone(&clock), &mut registry, METHODS);
    let (shell, handle) = Shell::open(settings, Arc::clone(&clock), entropy, metrics).await?;
    let bootstrap = Bootstrap {
        programs: Arc::clone(&programs),
        cas: config.cas.clone(),
        scheme: if config.tls_cert.is_some() { "https" } else { "http" },
    };
    let soonest = config.soonest_priority;
    let service = Service::new(handle, defaults(&config), outputs, vault, soonest, programs, clock);
    let (router, reporter) = routes(service).await?;
    let router = router.merge(bootstrap::routes(bootstrap));
    let health = shell.health();
    let check = move || health.borrow().clone().map_or(Ok(()), Err);
    let router = router.merge(telemetry::routes(Arc::new(registry), check));
    let router = latency.around(router);
    Ok(Running { server, router, shell, reporter })
}

fn location(config: &Config, server: &Server, entropy: &dyn Entropy) -> Location {
    match &config.journal {
        None => Location::Directory(config.data.clone()),
        Some(url) => Location::Postgres {
            url: Box::new(url.clone()),
            ca_cert: config.ca_cert.clone(),
            candidate: Candidate { holder: entropy.name(), address: own_url(server) },
        },
    }
}

/// Where others reach it: under the name of its host, when it listens on all addresses.
fn own_url(server: &Server) -> String {
    let (url, address) = (server.url(), server.address());
    if !address.ip().is_unspecified() {
        return url;
    }
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy();
    url.replace(&address.to_string(), &format!("{host}:{}", address.port()))
}

fn defaults(config: &Config) -> Defaults {
    Defaults {
        expiration: config.expiration,
        hard: config.hard_timeout,
        grace: config.grace,
        max_attempts: NonZeroU32::new(config.max_attempts).unwrap_or(NonZeroU32::MIN),
    }
}

async fn routes(service: Service) -> Result<(axum::Router, HealthReporter), StartError> {
    let swarm = v1::swarm_server::SwarmServer::new(service.clone())
        .max_decoding_message_size(limits::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(usize::MAX);
    let bots = v1::bots_server::BotsServer::new(service).max_decoding_message_size(limits::MAX_MESSAGE_BYTES);
    let described = || {
        // The descriptors are of other servers' services, too.
        tonic_reflection::server::Builder::configure()
            .with_service_name(v1::swarm_server::SERVICE_NAME)
            .with_service_name(v1::bots_server::SERVICE_NAME)
            .with_service_name(tonic_health::pb::health_server::SERVICE_NAME)
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (reporter, health) = tonic_health::server::health_reporter();
    let routes = Routes::new(swarm).add_service(bots).add_service(health);
    // Older tools ask the alpha version only.
    let routes = routes.add_service(described().build_v1()?).add_service(described().build_v1alpha()?);
    Ok((routes.into_axum_router(), reporter))
}

/// Tells over gRPC whether the journal can be written.
async fn report(mut health: Health, reporter: HealthReporter) -> Infallible {
    loop {
        let status = match *health.borrow_and_update() {
            None => ServingStatus::Serving,
            Some(_) => ServingStatus::NotServing,
        };
        // The empty name is the whole server.
        for service in ["", v1::swarm_server::SERVICE_NAME, v1::bots_server::SERVICE_NAME] {
            reporter.set_service_status(service, status).await;
        }
        if health.changed().await.is_err() {
            // The shell has ended, and the server is about to.
            std::future::pending::<()>().await;
        }
    }
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

    /// Serves until shutdown, then lets calls finish and closes the journal. Fails when it can serve no longer.
    pub async fn run_until(self, shutdown: Shutdown) -> Result<(), Stopped> {
        let Self { server, router, shell, reporter } = self;
        let health = shell.health();
        let stop = shutdown.child();
        let mut tasks = JoinSet::new();
        tasks.spawn(shell.run(stop.clone()));
        let ended = tokio::select! {
            () = server.run(router, stop.clone()) => None,
            ended = tasks.join_next() => ended,
            never = report(health, reporter) => match never {},
        };
        // The server is gone and with it every handle: the shell writes what it has and ends.
        stop.request();
        match ended.or(tasks.join_next().await) {
            Some(Err(error)) => Err(Stopped(error)),
            // Every handle was gone.
            Some(Ok(())) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::{SystemClock, SystemEntropy};

    #[tokio::test]
    async fn a_shell_that_fails_ends_the_program_and_says_so() {
        let dir = tempfile::TempDir::new().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listen = Listen { address, tls_cert: None, tls_key: None, insecure: false };
        let tuning = Tuning {
            lease_ttl: std::time::Duration::from_secs(30),
            most_pending: 1,
            reuse_for: std::time::Duration::ZERO,
            no_resource_after: std::time::Duration::from_secs(1),
            retain_for: None,
        };
        let vault = Vault::new(&dir.path().join("key"), SystemEntropy::shared()).unwrap();
        let settings = Settings {
            journal: Location::Directory(dir.path().join("journal")),
            tuning,
            vault: Arc::new(vault),
            pools: Pools::default(),
        };
        let metrics = Metrics::new(&mut Registry::default());
        let (shell, handle) =
            Shell::open(settings, SystemClock::shared(), SystemEntropy::shared(), metrics).await.unwrap();
        let server = Server::bind(listen).await.unwrap();
        let (reporter, _) = tonic_health::server::health_reporter();
        let running = Running { server, router: axum::Router::new(), shell, reporter };
        let mut serving = JoinSet::new();
        serving.spawn(running.run_until(Shutdown::new()));
        assert!(handle.read(|_, _| -> () { panic!("a defect") }).await.is_err());
        let error = serving.join_next().await.unwrap().unwrap().unwrap_err();
        assert!(error.to_string().contains("the task that owns the queue has failed"), "{error}");
    }
}
