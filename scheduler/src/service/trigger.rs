//! Creates a run.

use super::Service;
use crate::{
    queue::{Queue, Reuse, RunSpec},
    shell::CallError,
    wire::{
        field::{FieldError, InField},
        spec,
    },
};
use proto::{Digest, RequestId, v1};
use std::{collections::BTreeSet, sync::Arc};
use tonic::Status;

pub(super) async fn trigger(
    service: &Service,
    request: v1::TriggerRequest,
) -> Result<v1::TriggerResponse, Status> {
    let id: RequestId = request.request_id.parse().in_field("request_id")?;
    let run = request.run.ok_or_else(|| FieldError::new("run", "is missing"))?;
    spec::check_sizes(&run).map_err(|error| error.within("run"))?;
    let spec = spec::parse_run(&run, &service.defaults).map_err(|error| error.within("run"))?;
    let spec = Arc::new(spec);
    let reuses = reuses(service, &id, &spec).await?;
    let triggered = service.shell.trigger(id, spec, reuses).await?;
    Ok(v1::TriggerResponse {
        run_id: triggered.run.to_string(),
        created: triggered.created,
        shards: u32::try_from(triggered.shards).unwrap_or(u32::MAX),
        deduped: u32::try_from(triggered.deduped).unwrap_or(u32::MAX),
    })
}

/// The shards that can end with earlier successes, as far as those left nothing or all of it is still in the CAS.
async fn reuses(
    service: &Service,
    request: &RequestId,
    spec: &Arc<RunSpec>,
) -> Result<Vec<Reuse>, CallError> {
    if spec.steps.iter().all(|step| !step.idempotent) {
        return Ok(Vec::new());
    }
    let (request, spec) = (request.clone(), Arc::clone(spec));
    let look = move |queue: &Queue, now| match queue.run_of(&request) {
        // There will be no new run.
        Some(_) => Vec::new(),
        None => queue.reusable(&spec.steps, now),
    };
    let mut reuses = service.shell.read(look).await?;
    let wanted: BTreeSet<Digest> = reuses.iter().filter_map(|reuse| reuse.outputs).collect();
    let whole = service.outputs.whole(wanted).await;
    reuses.retain(|reuse| reuse.outputs.is_none_or(|outputs| whole.contains(&outputs)));
    Ok(reuses)
}
