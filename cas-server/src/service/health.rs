//! What the gRPC health service says: that the server serves, for as long as its store works.

use crate::engine::Engine;
use runtime::{Clock, Shutdown};
use std::{sync::Arc, time::Duration};
use tonic::server::NamedService;
use tonic_health::{ServingStatus, server::HealthReporter};

/// How often the store is looked at.
const ROUND: Duration = Duration::from_secs(1);

/// Keeps what the health service says true.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    reporter: HealthReporter,
    /// The whole server has the empty name.
    services: Vec<&'static str>,
}

impl Health {
    pub(super) fn new(reporter: HealthReporter) -> Self {
        Self { reporter, services: vec![""] }
    }

    /// One more that it tells of, which serves.
    pub(super) async fn add<S: NamedService>(&mut self) {
        self.services.push(S::NAME);
        self.reporter.set_serving::<S>().await;
    }

    /// Looks at the store until shutdown.
    pub(crate) async fn watch(self, engine: Arc<Engine>, clock: Arc<dyn Clock>, shutdown: Shutdown) {
        let mut serving = true;
        loop {
            tokio::select! {
                () = clock.sleep(ROUND) => {}
                () = shutdown.requested() => return,
            }
            let state = engine.health();
            if state.is_ok() == serving {
                continue;
            }
            serving = state.is_ok();
            match state {
                Ok(()) => tracing::info!("the store works again"),
                Err(error) => tracing::error!(%error, "the store does not work"),
            }
            let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
            for service in &self.services {
                self.reporter.set_service_status(service, status).await;
            }
        }
    }
}
