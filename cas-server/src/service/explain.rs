//! `Store`: questions of operators.

use super::wire;
use crate::engine::Engine;
use cas::status::to_status;
use proto::{Digest, v1};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone, Debug)]
pub(super) struct StoreService {
    engine: Arc<Engine>,
}

impl StoreService {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl v1::store_server::Store for StoreService {
    async fn explain_blob(
        &self,
        request: Request<v1::ExplainBlobRequest>,
    ) -> Result<Response<v1::BlobExplanation>, Status> {
        let digest = request.into_inner().digest.unwrap_or_default();
        let digest =
            Digest::try_from(&digest).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let explanation = self.engine.explain(digest).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(wire::explanation(&explanation)))
    }
}
