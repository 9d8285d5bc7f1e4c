//! Creates a run.

use super::{
    Service,
    explain::{ids, obstacle},
    status,
};
use crate::{
    queue::{Queue, Reuse, RunSpec, SliceEvaluation, Trigger},
    shell::CallError,
    wire::{
        field::{FieldError, InField},
        spec,
    },
};
use proto::{Digest, RequestId, RunId, Secret, Timestamp, v1};
use std::{collections::BTreeSet, sync::Arc};
use tonic::Status;

pub(super) async fn trigger(
    service: &Service,
    request: v1::TriggerRequest,
) -> Result<v1::TriggerResponse, Status> {
    let id: RequestId = request.request_id.parse().in_field("request_id")?;
    let run = request.run.ok_or_else(|| FieldError::new("run", "is missing"))?;
    spec::check_request(&run).map_err(|error| error.within("run"))?;
    let secret = request.secret.as_ref().map(Secret::try_from).transpose().in_field("secret")?;
    let mut spec = spec::parse_run(&run, &service.defaults).map_err(|error| error.within("run"))?;
    if spec.priority < service.soonest {
        let problem = format!(
            "{} is sooner than users may ask for here: give {} to 255",
            spec.priority, service.soonest
        );
        return Err(FieldError::new("run.priority", problem).into());
    }
    spec.secret = secret.map(|secret| service.vault.seal(&id, &secret));
    let spec = Arc::new(spec);
    let reuses = reuses(service, &id, &spec).await?;
    if request.evaluate_only {
        return evaluate(service, id, spec, reuses).await;
    }
    let triggered = service.shell.trigger(id, spec, reuses).await?;
    Ok(v1::TriggerResponse {
        run_id: triggered.run.to_string(),
        created: triggered.created,
        shards: u32::try_from(triggered.shards).unwrap_or(u32::MAX),
        deduped: u32::try_from(triggered.deduped).unwrap_or(u32::MAX),
        slices: Vec::new(),
    })
}

/// What would be created, and who is there for it.
async fn evaluate(
    service: &Service,
    request: RequestId,
    spec: Arc<RunSpec>,
    reuses: Vec<Reuse>,
) -> Result<v1::TriggerResponse, Status> {
    let deduped = reuses.len();
    // The id is for no run that will be.
    let run = RunId::new(Timestamp::default(), 0);
    let trigger = Trigger { run, request, spec, reuses };
    let evaluated = service.shell.read(move |queue, now| queue.evaluate(&trigger, now)).await?;
    let evaluation = evaluated.map_err(|refusal| status::of_refusal(&refusal))?;
    let to_wire = |slice: &SliceEvaluation| v1::SliceEvaluation {
        step: slice.step,
        slice: slice.slice.into(),
        busy_bots: ids(&slice.bots.busy),
        free_bots: ids(&slice.bots.free),
        obstacles: slice.bots.obstacles.iter().map(obstacle).collect(),
    };
    Ok(v1::TriggerResponse {
        run_id: evaluation.made.map(|run| run.to_string()).unwrap_or_default(),
        created: false,
        shards: u32::try_from(evaluation.shards).unwrap_or(u32::MAX),
        deduped: u32::try_from(deduped).unwrap_or(u32::MAX),
        slices: evaluation.slices.iter().map(to_wire).collect(),
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
        None => queue.reusable(&spec, now),
    };
    let mut reuses = service.shell.read(look).await?;
    let wanted: BTreeSet<Digest> = reuses.iter().filter_map(|reuse| reuse.outputs).collect();
    let whole = service.outputs.whole(wanted).await;
    reuses.retain(|reuse| reuse.outputs.is_none_or(|outputs| whole.contains(&outputs)));
    Ok(reuses)
}
