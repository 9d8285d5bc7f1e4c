//! `Patches`: blobs that are made of others.

use crate::engine::Engine;
use cas::{BlobStore as _, status::to_status};
use proto::{Digest, v1};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone, Debug)]
pub(super) struct PatchesService {
    engine: Arc<Engine>,
}

impl PatchesService {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl v1::patches_server::Patches for PatchesService {
    async fn write_patch(
        &self,
        request: Request<v1::WritePatchRequest>,
    ) -> Result<Response<v1::WritePatchResponse>, Status> {
        let v1::WritePatchRequest { instance_name: _, base, target, patch } = request.into_inner();
        let (base, target) = (parse("base", base)?, parse("target", target)?);
        self.engine.received(patch.len());
        let written = self.engine.write_patch(base, target, patch).await;
        written.map(|()| Response::new(v1::WritePatchResponse {})).map_err(|error| to_status(&error))
    }
}

fn parse(name: &str, wire: Option<v1::Digest>) -> Result<Digest, Status> {
    let wire = wire.ok_or_else(|| Status::invalid_argument(format!("{name}: it is missing")))?;
    Digest::try_from(&wire).map_err(|error| Status::invalid_argument(format!("{name}: {error}")))
}
