//! The scheduler as clients and bots call it: one file for each verb. Each parses its request, asks the shell, and maps
//! the answer; none decides anything.

pub(crate) mod bootstrap;
mod cancel;
mod cancel_runs;
mod delete_run;
mod explain;
mod get;
mod get_assignment;
mod list;
mod list_bots;
mod list_tests;
mod order_bot;
mod quarantine_test;
mod read_output;
mod status;
mod synchronize;
mod test_history;
mod trigger;
mod watch;

use crate::{outputs::Outputs, programs::Programs, shell::Handle, vault::Vault, wire::spec::Defaults};
use futures::stream::BoxStream;
use proto::v1;
use runtime::Clock;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// What can be called, for the metrics.
pub(crate) const METHODS: &[&str] = &[
    "/isoswarm.v1.Bots/Synchronize",
    "/isoswarm.v1.Swarm/Cancel",
    "/isoswarm.v1.Swarm/CancelRuns",
    "/isoswarm.v1.Swarm/DeleteRun",
    "/isoswarm.v1.Swarm/Explain",
    "/isoswarm.v1.Swarm/Get",
    "/isoswarm.v1.Swarm/GetAssignment",
    "/isoswarm.v1.Swarm/GetTestHistory",
    "/isoswarm.v1.Swarm/List",
    "/isoswarm.v1.Swarm/ListBots",
    "/isoswarm.v1.Swarm/ListQuarantines",
    "/isoswarm.v1.Swarm/ListTests",
    "/isoswarm.v1.Swarm/OrderBot",
    "/isoswarm.v1.Swarm/QuarantineTest",
    "/isoswarm.v1.Swarm/ReadOutput",
    "/isoswarm.v1.Swarm/Trigger",
    "/isoswarm.v1.Swarm/Watch",
    "/grpc.health.v1.Health/Check",
];

/// Both services over one shell.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    shell: Handle,
    defaults: Defaults,
    outputs: Outputs,
    vault: Arc<Vault>,
    /// No run may have a sooner priority.
    soonest: u8,
    programs: Arc<Programs>,
    /// For bots, which compare theirs.
    clock: Arc<dyn Clock>,
}

impl Service {
    /// What steps leave open is filled in from `defaults`; no run has a priority that is sooner than `soonest`.
    pub(crate) fn new(
        shell: Handle,
        defaults: Defaults,
        outputs: Outputs,
        vault: Arc<Vault>,
        soonest: u8,
        programs: Arc<Programs>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { shell, defaults, outputs, vault, soonest, programs, clock }
    }
}

#[tonic::async_trait]
impl v1::swarm_server::Swarm for Service {
    type WatchStream = BoxStream<'static, Result<v1::WatchResponse, Status>>;
    type ReadOutputStream = BoxStream<'static, Result<v1::ReadOutputResponse, Status>>;

    async fn trigger(
        &self,
        request: Request<v1::TriggerRequest>,
    ) -> Result<Response<v1::TriggerResponse>, Status> {
        trigger::trigger(self, request.into_inner()).await.map(Response::new)
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        watch::watch(self, &request.into_inner()).await.map(Response::new)
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        get::get(self, &request.into_inner()).await.map(Response::new)
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        list::list(self, request.into_inner()).await.map(Response::new)
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        cancel::cancel(self, &request.into_inner()).await.map(Response::new)
    }

    async fn cancel_runs(
        &self,
        request: Request<v1::CancelRunsRequest>,
    ) -> Result<Response<v1::CancelRunsResponse>, Status> {
        cancel_runs::cancel_runs(self, request.into_inner()).await.map(Response::new)
    }

    async fn delete_run(
        &self,
        request: Request<v1::DeleteRunRequest>,
    ) -> Result<Response<v1::DeleteRunResponse>, Status> {
        delete_run::delete_run(self, &request.into_inner()).await.map(Response::new)
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        explain::explain(self, &request.into_inner()).await.map(Response::new)
    }

    async fn get_assignment(
        &self,
        request: Request<v1::GetAssignmentRequest>,
    ) -> Result<Response<v1::GetAssignmentResponse>, Status> {
        get_assignment::get_assignment(self, &request.into_inner()).await.map(Response::new)
    }

    async fn read_output(
        &self,
        request: Request<v1::ReadOutputRequest>,
    ) -> Result<Response<Self::ReadOutputStream>, Status> {
        read_output::read_output(self, &request.into_inner()).await.map(Response::new)
    }

    async fn list_tests(
        &self,
        request: Request<v1::ListTestsRequest>,
    ) -> Result<Response<v1::ListTestsResponse>, Status> {
        list_tests::list_tests(self, request.into_inner()).await.map(Response::new)
    }

    async fn get_test_history(
        &self,
        request: Request<v1::GetTestHistoryRequest>,
    ) -> Result<Response<v1::GetTestHistoryResponse>, Status> {
        test_history::get_test_history(self, request.into_inner()).await.map(Response::new)
    }

    async fn quarantine_test(
        &self,
        request: Request<v1::QuarantineTestRequest>,
    ) -> Result<Response<v1::QuarantineTestResponse>, Status> {
        quarantine_test::quarantine_test(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_quarantines(
        &self,
        request: Request<v1::ListQuarantinesRequest>,
    ) -> Result<Response<v1::ListQuarantinesResponse>, Status> {
        quarantine_test::list_quarantines(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_bots(
        &self,
        request: Request<v1::ListBotsRequest>,
    ) -> Result<Response<v1::ListBotsResponse>, Status> {
        list_bots::list_bots(self, request.into_inner()).await.map(Response::new)
    }

    async fn order_bot(
        &self,
        request: Request<v1::OrderBotRequest>,
    ) -> Result<Response<v1::OrderBotResponse>, Status> {
        order_bot::order_bot(self, &request.into_inner()).await.map(Response::new)
    }
}

#[tonic::async_trait]
impl v1::bots_server::Bots for Service {
    async fn synchronize(
        &self,
        request: Request<v1::SynchronizeRequest>,
    ) -> Result<Response<v1::SynchronizeResponse>, Status> {
        synchronize::synchronize(self, request.into_inner()).await.map(Response::new)
    }
}
