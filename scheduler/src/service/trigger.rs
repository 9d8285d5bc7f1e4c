//! Creates a run.

use super::Service;
use crate::wire::{
    field::{FieldError, InField},
    spec,
};
use proto::{RequestId, v1};
use tonic::Status;

pub(super) async fn trigger(
    service: &Service,
    request: v1::TriggerRequest,
) -> Result<v1::TriggerResponse, Status> {
    let id: RequestId = request.request_id.parse().in_field("request_id")?;
    let run = request.run.ok_or_else(|| FieldError::new("run", "is missing"))?;
    spec::check_sizes(&run).map_err(|error| error.within("run"))?;
    let spec = spec::parse_run(&run, &service.defaults).map_err(|error| error.within("run"))?;
    let triggered = service.shell.trigger(id, spec).await?;
    Ok(v1::TriggerResponse {
        run_id: triggered.run.to_string(),
        created: triggered.created,
        shards: u32::try_from(triggered.shards).unwrap_or(u32::MAX),
    })
}
